"""What stops forgetting and pruning, each with the command that ends it. Pure: facts in, guards out. What is not known stops it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from failsafe.backup.guards import Standing
from failsafe.backup.retention import Pin, find_pinned
from failsafe.model import DomainState, Guard, SnapshotInfo

NAMED = 3  # guards told one by one
DAMAGED, DRILL, ELSEWHERE, UNKNOWN = "damaged", "drill-failed", "maintenance-elsewhere", "unknown"
REPAIR = "docs/retention.md says how to repair it; then: failsafe verify --repository {0} --whole"


@dataclass(frozen=True, slots=True)
class ServerView:
    """What is known of a mail server. `guards` None: they could not be read, and `error` says why; a domain's state likewise."""

    server: str
    guards: Sequence[Standing] | None = ()
    error: str = ""
    domains: Mapping[str, DomainState | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RepositoryView:
    """What is known of a repository without asking it."""

    repository: str
    is_known: bool  # by its id, from a backup of ours
    damaged_at: datetime | None = None  # a check found damage that no later one has shown to be mended
    maintenance_here: bool = True
    drill_failed_at: datetime | None = None  # the last drill did not bring mail back as it should be


def judge_server(view: ServerView) -> tuple[Guard, ...]:
    """Stops forgetting this server's snapshots, and pruning wherever they lie."""
    found: list[Guard] = []
    if view.guards is None:
        text = f"nobody knows what guards stand for {view.server}: {view.error}"
        found.append(Guard(UNKNOWN, text, f"failsafe backup {view.server}"))
    found += [Guard(one.code, describe(one, view.server), one.guard(view.server).mend) for one in (view.guards or ())[:NAMED]]
    if len(view.guards or ()) > NAMED:
        text = f"{len(view.guards or ()) - NAMED} more guards stand for {view.server}"
        found.append(Guard("guards", text, "failsafe status"))
    for domain, state in view.domains.items():
        if state is None:
            found.append(Guard(UNKNOWN, f"the state of {domain} cannot be read", "failsafe status"))
        elif state is not DomainState.NORMAL:
            found.append(Guard("domain-state", f"{domain} is {state}, not normal", _mend_of_state(domain, state)))
    return tuple(found)


def judge_repository(view: RepositoryView) -> tuple[Guard, ...]:
    """Stops forgetting and pruning in this repository."""
    found: list[Guard] = []
    name = view.repository
    if not view.maintenance_here:
        text = f'maintenance of {name} is "elsewhere": this machine never forgets or prunes there'
        found.append(Guard(ELSEWHERE, text, "run restic forget and prune where the credential for it is; docs/retention.md"))
    elif not view.is_known:
        text = f"repository {name} is not known yet: no backup from here has ended in it"
        found.append(Guard("repository-unknown", text, "failsafe backup"))
    if view.damaged_at is not None:
        text = f"a check of {name} found damage on {view.damaged_at:%Y-%m-%d}"
        found.append(Guard(DAMAGED, text, REPAIR.format(name)))
    if view.drill_failed_at is not None:
        text = f"the restore drill of {view.drill_failed_at:%Y-%m-%d} failed, so older snapshots may be needed"
        found.append(Guard(DRILL, text, f"failsafe drill restore --repository {name}"))
    return tuple(found)


def pins_of(guards: Sequence[Standing] | None, server: str) -> tuple[Pin, ...]:
    """While a guard stands, the last complete snapshot from before it is the one that a person may need."""
    return tuple(Pin(one.raised_at, describe(one, server)) for one in guards or ())


def pinned_by_guards(listed: Sequence[SnapshotInfo], guards: Sequence[Standing], server: str) -> dict[str, str]:
    """{id: why} of one server's snapshots in one repository, as `forget` sees them."""
    return find_pinned(listed, pins_of(guards, server))


def describe(one: Standing, server: str) -> str:
    """ "mass-loss of anna@example.org, raised 2026-11-20"."""
    return f"{one.code} of {one.place or server}, raised {one.raised_at:%Y-%m-%d}"


def _mend_of_state(domain: str, state: DomainState) -> str:
    if state is DomainState.HALTED:
        return f"failsafe acknowledge {domain} --serving primary|secondary"
    if state is DomainState.SUSPECT:
        return "nothing yet; it ends with the doubt"
    return f"it ends when mail goes to the primary again (failsafe failback {domain})"
