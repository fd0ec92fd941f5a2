"""Carries out what a person approved, domain by domain: what one comes to keeps no other waiting for ever, and what was approved is what is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from failsafe.errors import FailsafeError, LeaseLost, Refused
from failsafe.failover.decide import decide_by_hand
from failsafe.failover.guards import PROOF_STALE
from failsafe.failover.ways_out import told_guards
from failsafe.model import DomainState, FlipKind

if TYPE_CHECKING:
    from failsafe.domains import Domains
    from failsafe.failover.decide import Decision
    from failsafe.failover.facts import DomainFacts
    from failsafe.failover.runner import Ending

FACTS_LAST = timedelta(minutes=1)  # from reading them to acting on them: a person may think for long before saying yes
TRIED = 3  # times an order is begun, if the daemon writes of the same domain in between
THERE = {
    FlipKind.FAILOVER: (DomainState.FAILED_OVER, DomainState.RECOVERING),
    FlipKind.FAILBACK: (DomainState.NORMAL,),
    FlipKind.ADOPT_MX: (),
}  # where an order leads, so that there is nothing left to do


@dataclass(frozen=True, slots=True)
class Planned:
    """One domain's order as it was shown. `read_at`: monotonic seconds."""

    facts: DomainFacts
    decision: Decision
    read_at: float


@dataclass(frozen=True, slots=True)
class Carried:
    """What it came to; `error` where nothing was begun, or how it ended is not known."""

    planned: Planned
    ending: Ending | None = None
    error: FailsafeError | None = None

    @property
    def done(self) -> bool:
        return self.ending is not None and self.ending.done


def is_there(facts: DomainFacts, kind: FlipKind) -> bool:
    """Whether mail goes already where the order would send it."""
    return facts.unfinished is None and facts.record.state in THERE[kind]


def carry_out_each(desk: Domains, planned: Sequence[Planned], kind: FlipKind, reason: str, *, force: bool) -> list[Carried]:
    """One after the other. What stands against one is in its result, and the others are carried out all the same."""
    results = []
    for each in planned:
        try:
            results.append(Carried(each, ending=_carry_out(desk, each, kind, reason, force=force)))
        except FailsafeError as error:
            results.append(Carried(each, error=error))
    return results


def _carry_out(desk: Domains, planned: Planned, kind: FlipKind, reason: str, *, force: bool) -> Ending:
    """Raises Refused, LeaseLost, StoreError."""
    if desk.app.clock.monotonic() - planned.read_at > FACTS_LAST.total_seconds():
        planned = _read_again(desk, planned, kind, force=force)
    for _ in range(TRIED - 1):
        try:
            return desk.carry_out(planned.facts, planned.decision, reason)
        except LeaseLost:  # the daemon has noted something of this domain in the meantime
            planned = _read_again(desk, planned, kind, force=force)
    return desk.carry_out(planned.facts, planned.decision, reason)


def _read_again(desk: Domains, planned: Planned, kind: FlipKind, *, force: bool) -> Planned:
    """The same order from what is true now. Raises Refused where something stands against it, or it would write something else."""
    clock, domain = desk.app.clock, planned.facts.policy.domain
    read_at, now = clock.monotonic(), clock.now()
    facts = desk.gather(domain, now, fresh_zone=True)
    primary = planned.facts.primary
    if primary is not None and not _is_fresh(primary.at, now):
        primary = desk.prove(domain, now)
    facts = replace(facts, primary=primary)
    decision = decide_by_hand(facts, kind, now, force=force)
    if decision.refusing:
        raise Refused(f"the {kind} of {domain} is refused", told_guards(decision.refusing, domain))
    shown = planned.decision.plan
    if decision.plan is None or shown is None or decision.plan.digest != shown.digest:
        raise Refused(
            f"the MX records of {domain} have changed since the plan was shown; nothing was written",
            mend=f"failsafe {kind} {domain} shows what would be written now",
        )
    return Planned(facts, decision, read_at)


def _is_fresh(at: datetime, now: datetime) -> bool:
    return timedelta(0) <= now - at <= PROOF_STALE / 2
