"""What a new machine makes of a domain that came to it from a lost controller. Pure.

Theory. The journal that came back may be older than the last flip, and the lost machine may wake up. So nothing is believed but what the zone
says now, nothing is gone on with, and nothing is written until a person has looked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from failsafe.events import Event
from failsafe.failover.zone import MxLayout, describe, serving
from failsafe.model import DomainRecord, DomainState, Intent, MxSet, Notice, Severity, Side


@dataclass(frozen=True, slots=True)
class Takeover:
    """`unfinished`: why a plan of the lost controller is given up, "" where there is none. `seen`: the side that the zone sends mail to."""

    record: DomainRecord
    event: Event
    unfinished: str
    seen: Side | None


def judge_takeover(
    record: DomainRecord, unfinished: Intent | None, found: MxSet | None, layout: MxLayout, now: datetime
) -> Takeover:
    """`found`: what the zone holds, None where it cannot be read. A domain whose journal disagrees with it, or has an open plan, is halted."""
    seen = None if found is None else serving(found, layout)
    given_up = ""
    changed = replace(record, taken_over_at=now, retried=None, retry_at=None)
    if unfinished is not None:
        given_up = (
            f"the {unfinished.kind} that the lost controller began at {unfinished.planned_at:%Y-%m-%d %H:%M} UTC was not finished"
        )
        changed = replace(
            changed, state=DomainState.HALTED, since_at=now, reason=given_up, serving=seen or record.serving, store_lost=False
        )
    elif seen is not None and seen is not record.serving:
        text = f"the journal that came back says that the {record.serving} serves, the zone sends mail to the {seen}"
        changed = replace(changed, state=DomainState.HALTED, since_at=now, reason=text, serving=seen, store_lost=False)
    return Takeover(changed, _event(changed, found, seen, now), given_up, seen)


def _event(record: DomainRecord, found: MxSet | None, seen: Side | None, now: datetime) -> Event:
    holds = "cannot be read" if found is None else f"holds {describe(found)}"
    goes = f"to the {seen}" if seen is not None else "not known: look at the MX records"
    notice = Notice(
        subject=f"{record.domain}: a new controller took over, and waits for you",
        losing_mail="not by this: nothing was changed",
        mail_goes=goes,
        must_do=acknowledge(record.domain, seen),
        since=now,
        thread=f"{record.domain}:takeover",
        severity=Severity.WARN,
        details=record.reason,
    )
    details: dict[str, object] = {"state": record.state, "serving": record.serving, "seen": seen}
    text = f"taken over as {record.state}, serving {record.serving}; the zone {holds}; nothing is written until a person acknowledges"
    return Event("domain.taken-over", record.domain, text, now, details, notice)


def acknowledge(domain: str, seen: Side | None) -> str:
    """The command that ends it."""
    return f"failsafe acknowledge {domain} --serving {seen or 'primary|secondary'}"
