"""What is said of records that failsafe did not write, while nothing else goes on. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from failsafe.events import Event
from failsafe.failover.facts import DomainFacts
from failsafe.failover.zone import serving
from failsafe.model import DomainState, Guard, Notice, Severity

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
    notice = Notice(
        subject=f"{policy.domain}: the MX records are not what failsafe expects",
        losing_mail="no" if side is not None else "perhaps: look at once",
        mail_goes=f"to the {side}" if side is not None else "unclear: to an exchange that is not configured",
        must_do=f"put the records back, or say what is true: failsafe acknowledge {policy.domain} --serving primary|secondary",
        since=now,
        thread=f"{policy.domain}:drift",
        severity=Severity.WARN if side is not None else Severity.FAIL,
        details=f"{seen}\nSomebody else has changed them. failsafe leaves them alone, and flips nothing until they fit again.\n"
        f"where the layout is meant to be another one: failsafe adopt-mx {policy.domain} --dry-run",
    )
    return Event("zone.drift", policy.domain, seen, now, {}, notice)


def drift_over_event(facts: DomainFacts, now: datetime) -> Event:
    return Event("zone.fits", facts.policy.domain, "the MX records are what failsafe expects again", now)
