"""What is said of records that failsafe did not write, while nothing else goes on. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from failsafe.events import Event
from failsafe.failover.facts import DomainFacts
from failsafe.failover.guards import way_out_of_drift
from failsafe.failover.zone import serving
from failsafe.model import DomainState, FlipKind, Guard, MxSet, Notice, Severity, Side

RESTING = frozenset({DomainState.NORMAL, DomainState.FAILED_OVER, DomainState.RECOVERING})


def drift_seen(facts: DomainFacts, guards: Iterable[Guard]) -> str | None:
    """The drift in words; "" where the zone holds what is expected; None where that cannot be said now.

    It cannot while a plan runs, in an incident (whose notices list it), or while the servers differ: that may be a transfer under way.
    """
    if facts.record.state not in RESTING or facts.unfinished is not None or not facts.leader or facts.zone.agreed is None:
        return None
    return next((guard.text for guard in guards if guard.code == "drift"), "")


def drift_told_event(facts: DomainFacts, seen: str, now: datetime) -> Event:
    policy, found = facts.policy, facts.zone.agreed
    side = serving(found, policy.layout) if found is not None else None
    kind = FlipKind.FAILOVER if facts.record.serving is Side.PRIMARY else FlipKind.FAILBACK  # the next flip
    notice = Notice(
        subject=f"{policy.domain}: the MX records are not what failsafe expects",
        losing_mail="no" if side is not None else "perhaps: look at once",
        mail_goes=f"to the {side}" if side is not None else "unclear: to an exchange that is not configured",
        must_do=way_out_of_drift(facts, kind, found if found is not None else MxSet(())),
        since=now,
        thread=f"{policy.domain}:drift",
        severity=Severity.WARN if side is not None else Severity.FAIL,
        details="\n".join((seen, *_explained(facts))),
    )
    return Event("zone.drift", policy.domain, seen, now, {}, notice)


def _explained(facts: DomainFacts) -> tuple[str, ...]:
    """A new peace layout is for peace: while the secondary serves `adopt-mx` is refused."""
    record, found, domain = facts.record, facts.zone.agreed, facts.policy.domain
    if record.written is not None and found is not None and found.same_records(record.written):
        return (
            f'Nobody has changed them since the failover: the strategy or the exchanges of [domain."{domain}"] do not fit them any more.',
        )
    said = ("Somebody else has changed them. failsafe leaves them alone, and flips nothing until they fit again.",)
    if record.serving is Side.SECONDARY:
        return said
    return (*said, f"where the layout is meant to be another one: failsafe adopt-mx {domain} --dry-run")


def drift_over_event(facts: DomainFacts, now: datetime) -> Event:
    return Event("zone.fits", facts.policy.domain, "the MX records are what failsafe expects again", now)
