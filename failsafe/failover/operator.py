"""What a person says: hold, release, acknowledge. Each is one journalled change with its event."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from failsafe.errors import Refused
from failsafe.events import Event
from failsafe.failover.machine import Trigger, possible, step
from failsafe.failover.runner import at_primary
from failsafe.failover.zone import MxLayout, describe, serving
from failsafe.model import DomainRecord, DomainState, MxSet, Side
from failsafe.ports import FlipJournal


def run_hold(journal: FlipJournal, record: DomainRecord, until: datetime, reason: str, now: datetime) -> DomainRecord:
    """Nothing flips by itself before `until`. Raises Refused for an instant that is past."""
    if until <= now:
        raise Refused(f"a hold of {record.domain} until {until:%Y-%m-%d %H:%M} UTC is over already", mend="--for 2h")
    event = Event(
        "domain.held",
        record.domain,
        f"held until {until:%Y-%m-%d %H:%M} UTC: {reason}",
        now,
        {"until": until.isoformat(), "reason": reason},
    )
    return journal.change(record, replace(record, held_until=until, hold_reason=reason), [event])


def run_release(journal: FlipJournal, record: DomainRecord, now: datetime) -> DomainRecord:
    """Ends a hold; one that is not there is no error."""
    if record.held_until is None:
        return record
    event = Event("domain.released", record.domain, "the hold was released", now)
    return journal.change(record, replace(record, held_until=None, hold_reason=""), [event])


def run_acknowledge(
    journal: FlipJournal, record: DomainRecord, side: Side, found: MxSet | None, layout: MxLayout, now: datetime
) -> DomainRecord:
    """A person says which side serves; what the zone holds now becomes what failsafe expects there.

    Raises Refused while a plan runs, where the zone cannot be read, or where it plainly says the other side.
    """
    trigger = Trigger.ACKNOWLEDGED_PRIMARY if side is Side.PRIMARY else Trigger.ACKNOWLEDGED_SECONDARY
    if journal.unfinished(record.domain) is not None or not possible(record.state, trigger):
        raise Refused(
            f"{record.domain} is {record.state}: a plan is being carried out",
            mend="wait until it ends; it is bounded by verify_for",
        )
    if found is None:
        raise Refused(
            f"the MX records of {record.domain} cannot be read, or the servers disagree", mend="try again when they answer alike"
        )
    seen = serving(found, layout)
    if seen is not None and seen is not side:
        raise Refused(
            f"the zone holds {describe(found)}: senders go to the {seen} first, not to the {side}", mend=f"--serving {seen}"
        )
    changed = replace(
        record,
        state=step(record.state, trigger).to,
        since_at=now,
        reason=f"a person says that the {side} serves",
        retried=None,
        taken_over_at=None,
    )
    if side is Side.PRIMARY:
        changed = (
            at_primary(changed, now)
            if record.serving is Side.SECONDARY
            else replace(at_primary(changed, now), draining_until=record.draining_until)
        )
    else:
        changed = replace(changed, serving=side, written=found, attempted=None, failures=0, retry_at=None, told="")
        if record.state is DomainState.NORMAL:
            changed = replace(changed, suspected_at=now)
    event = Event(
        "domain.acknowledged", record.domain, f"a person says that the {side} serves ({describe(found)})", now, {"serving": side}
    )
    return journal.change(record, changed, [event])
