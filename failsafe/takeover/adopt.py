"""Takes over what the lost controller had: its repositories by their known ids, its journal from the newest export in any of them, its domains.

Order of safety: the journal comes with the mark that every domain is only observed, in one transaction; only then is anything judged.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from failsafe.app import App
from failsafe.backup.archive.layout import generation_path, path_of
from failsafe.backup.archive.reader import Archive
from failsafe.backup.kit import Kit
from failsafe.backup.own_files import Knowledge, read_knowledge
from failsafe.backup.snapshot import host_of, read_tags
from failsafe.domains import Domains
from failsafe.errors import ArchiveError, ExternalError, FailsafeError, Refused
from failsafe.events import Event
from failsafe.failover.takeover import Takeover, acknowledge, judge_takeover
from failsafe.model import DomainState, MxSet, Outcome, Side, SnapshotInfo
from failsafe.ports import Narrator, Repository
from failsafe.store.lease import Lease
from failsafe.store.portable import Row, is_empty, write_holdings
from failsafe.store.schema import INSTANT_FORMAT
from failsafe.store.version import HEAD

DUTY = "takeover"
HIGHER = 1000  # added to the epoch of lease and domains: the lost machine may have gone on after its last backup
SNAPSHOTS_ASKED = 5  # of a server, newest first, for one that holds a journal


@dataclass(frozen=True, slots=True)
class Adopted:
    """A repository of the kit. `error` "" where it is ours; `refused`: another one lies at its address."""

    name: str
    restic_id: str
    error: str = ""
    mend: str = ""
    refused: bool = False
    found: str = ""  # the id of what lies there


@dataclass(frozen=True, slots=True)
class TakenDomain:
    domain: str
    state: DomainState
    serving: Side
    found: MxSet | None  # what the zone holds now; None where it cannot be read
    unreadable: str
    unfinished: str
    must_do: str  # "" where a person has acknowledged it already


@dataclass(slots=True)
class Journal:
    """Where the journal came from; `snapshot` "" where none was found."""

    snapshot: str = ""
    repository: str = ""
    at: datetime | None = None
    rows: int = 0


# ---------------------------------------------------------------- repositories


def open_repositories(app: App, kit: Kit) -> tuple[Adopted, ...]:
    """Opens each one and compares its id with the kit's. What cannot be opened is told in the answer."""
    return tuple(_adopted(app, each.name, each.restic_id) for each in kit.repositories if each.name in app.config.repository)


def _adopted(app: App, name: str, known: str) -> Adopted:
    try:
        found = reading(app, name).open()
    except FailsafeError as error:
        return Adopted(name, known, str(error), error.mend, refused=getattr(error, "kind", "") == "unexpected-repository")
    return _compared(app, Adopted(name, known, found=found), known)


def _compared(app: App, one: Adopted, known: str) -> Adopted:
    if not one.found or not known or one.found == known:
        return Adopted(one.name, one.found or known, one.error, one.mend, one.refused, one.found)
    text = f"repository {one.name}: another repository ({one.found[:10]}…) is where {known[:10]}… was"
    server = min(app.config.mail_server, default="SERVER")
    mend = f"bring the right one back; or, if you put it there: failsafe accept {server} --what repository --reason TEXT"
    return Adopted(one.name, known, text, mend, refused=True, found=one.found)


def settle_ids(app: App, adopted: Sequence[Adopted], knowledge: Knowledge | None) -> tuple[Adopted, ...]:
    """The journal may be younger than the kit: a repository that the lost controller knew by this id is its own, whatever the kit says."""
    rows = () if knowledge is None else knowledge.rows
    known = {str(row["repository"]): str(row.get("restic_id", "")) for row in rows if row["table"] == "repository_state"}
    settled = []
    for one in adopted:
        ours = known.get(one.name, "")
        is_ours = ours and one.found == ours
        settled.append(Adopted(one.name, ours, found=ours) if is_ours else _compared(app, one, one.restic_id or ours))
    return tuple(settled)


def reading(app: App, name: str) -> Repository:
    """With the credential for restores."""
    return app.repository(name, environment_file=app.config.repository[name].restore_environment_file, alone=True)


# ---------------------------------------------------------------- the journal


def find_journal(app: App, names: Sequence[str], narrate: Narrator) -> tuple[Journal, Knowledge | None]:
    """The newest export in any of these repositories, of any server."""
    best: tuple[Journal, Knowledge] | None = None
    with tempfile.TemporaryDirectory(dir=app.state_dir, prefix="takeover-") as work:
        for server in sorted(app.config.archived):
            found = _newest_of(app, server, names, Path(work), narrate)
            if found is not None and (best is None or found[1].at > best[1].at):
                best = found
    return (Journal(), None) if best is None else best


def _newest_of(app: App, server: str, names: Sequence[str], work: Path, narrate: Narrator) -> tuple[Journal, Knowledge] | None:
    listed: list[tuple[int, datetime, str, SnapshotInfo]] = []
    for name in names:
        try:
            snapshots = reading(app, name).snapshots(host_of(server))
        except ExternalError as error:
            narrate(f"repository {name}: {error}")
            continue
        listed += [(read_tags(info.tags).generation or 0, info.at, name, info) for info in snapshots]
    for number, _at, name, info in sorted(listed, key=lambda each: each[:3], reverse=True)[:SNAPSHOTS_ASKED]:
        try:
            known = fetch_knowledge(reading(app, name), info.id, number, work / info.id)
        except ExternalError as error:
            narrate(f"snapshot {info.id[:8]} in {name} gives no journal: {error}")
            continue
        if known is not None:
            return Journal(info.id, name, known.at), known
    return None


def fetch_knowledge(repository: Repository, snapshot_id: str, number: int, work: Path) -> Knowledge | None:
    """Only the files of it, a few kilobytes. Raises ResticError, ArchiveError."""
    work.mkdir(mode=0o700, exist_ok=True)
    archive = Archive(work)
    repository.fetch(snapshot_id, [generation_path(number)], work)
    generation = archive.generation(number)
    if generation.controller is None:
        return None
    repository.fetch(snapshot_id, [path_of("lists", generation.controller)], work)
    files = {path_of("files", file.digest) for file in archive.controller_files(generation)}
    repository.fetch(snapshot_id, sorted(files), work)
    return read_knowledge(archive, generation)


def import_journal(app: App, kit: Kit, journal: Journal, knowledge: Knowledge | None, adopted: Sequence[Adopted]) -> int:
    """Everything in one transaction: a kill leaves either nothing, or a controller that only observes. Gives how many rows came.

    Raises Refused where this machine has a journal of its own, ArchiveError where that of the archive is of a later version.
    """
    if knowledge is not None and knowledge.schema > HEAD:
        raise ArchiveError(
            f"the journal was written by a newer failsafe (schema {knowledge.schema}, known here {HEAD})",
            mend="install the version of failsafe that the lost machine had, or a newer one",
        )
    now = app.clock.now()
    ids = {each.name: each.restic_id for each in adopted if each.restic_id}
    fresh = is_empty(app.store)
    if not fresh and app.config.controller.database == "sqlite":
        raise Refused(
            f"{app.state_dir} has the journal of a controller already; nothing was changed",
            mend="if this machine is the controller, nothing is to be done: failsafe status; else name another folder with --prefix",
        )
    rows = list(_observed(app, () if knowledge is None or not fresh else knowledge.rows, now))
    held = next((int(row["epoch"]) for row in rows if row["table"] == "lease"), 0)
    with app.store.together():
        lease = app.leases.take_over(app.holder, now, held + HIGHER)
        count = write_holdings(app.store, rows) if fresh else 0
        if not fresh:
            _mark_all(app, lease, now)
        for name, restic_id in ids.items():
            app.duties.change_repository(name, restic_id=restic_id)
        guards = [dict(row) for row in rows if row["table"] == "guard"]
        came = {"snapshot": journal.snapshot, "repository": journal.repository, "rows": count}
        details = {"phase": "imported", "kit": kit.made_at.isoformat(), "guards": guards, **came}
        app.record(_taken_over_event(app, journal, now))
        app.duties.ended(DUTY, now, ok=False, result="under way", details=details)
    return count


def _taken_over_event(app: App, journal: Journal, now: datetime) -> Event:
    found = "no repository holds a journal"
    if journal.at is not None:
        found = f"the journal of {journal.at:%Y-%m-%d %H:%M} UTC came from {journal.repository}"
    return Event("controller.taken-over", app.config.controller.id, f"taken over from a recovery kit; {found}", now)


def _observed(app: App, rows: Sequence[Mapping[str, Any]], now: datetime) -> Iterator[Row]:
    """Every domain with the mark, those too of which the journal knows nothing."""
    at = now.strftime(INSTANT_FORMAT)
    left = set(app.config.domain)
    for row in rows:
        if row["table"] != "domain_state":
            yield dict(row)
            continue
        left.discard(str(row["domain"]))
        details = {**row.get("details", {}), "taken_over_at": at}
        yield {**row, "epoch": int(row["epoch"]) + HIGHER, "details": details}
    for domain in sorted(left):
        state = {"state": "normal", "since_at": at, "serving": "primary", "epoch": HIGHER, "changed_at": at}
        yield {"table": "domain_state", "domain": domain, **state, "details": {"taken_over_at": at}}


def _mark_all(app: App, lease: Lease, now: datetime) -> None:
    """A shared database outlived its controller: its journal is the newest there is, and is kept."""
    journal = Domains(app, lease, now).journal
    for domain in sorted(app.config.domain):
        record = journal.load(domain, now)
        journal.change(record, replace(record, taken_over_at=now), [])


# ---------------------------------------------------------------- domains


def take_domains(app: App, now: datetime) -> tuple[TakenDomain, ...]:
    """Reads where each domain's mail goes now, and writes it down with what the journal says. One that was acknowledged already is left alone."""
    lease = app.leases.acquire(app.holder, now)
    if lease is None:
        raise Refused("another controller leads", mend="stop it; then run this again")
    desk = Domains(app, lease, now)
    return tuple(_take_domain(desk, domain, now) for domain in sorted(app.config.domain))


def _take_domain(desk: Domains, domain: str, now: datetime) -> TakenDomain:
    facts = desk.gather(domain, now, fresh_zone=True)
    record, plan, zone = facts.record, facts.unfinished, facts.zone
    if record.taken_over_at is None:
        return TakenDomain(domain, record.state, record.serving, zone.agreed, zone.unreadable or zone.disagreement, "", "")
    made = judge_takeover(record, plan, zone.agreed, facts.policy.layout, now)
    made = Takeover(replace(made.record, taken_over_at=record.taken_over_at), made.event, made.unfinished, made.seen)
    if plan is not None:
        kept = desk.journal.finish(record, made.record, plan, Outcome.FAILED, made.unfinished, [made.event])
    elif desk.app.events.last("domain.taken-over", domain) is None or made.record != record:
        kept = desk.journal.change(record, made.record, [made.event])
    else:
        kept = record
    return TakenDomain(
        domain, kept.state, kept.serving, zone.agreed, zone.unreadable or zone.disagreement, made.unfinished,
        acknowledge(domain, made.seen),
    )  # fmt: skip
