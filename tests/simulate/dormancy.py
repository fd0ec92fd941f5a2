"""Skipping idle ticks. A process that would decide the same nothing at every tick goes dormant, at most until a time at which that could change.

Whatever happens in the world, in the journal or to the machine wakes it first; it then catches up with the looks it would have made meanwhile.
A test compares whole runs with and without this.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from failsafe.daemon.watch import DECIDE_WITHOUT_LOOK
from failsafe.domains import Round
from failsafe.failover.decide import Order
from failsafe.failover.delivery import CANARY, INSIDE, lost_delivery
from failsafe.failover.evidence import against, for_it, lying_for, recovery_time, votes_needed
from failsafe.failover.facts import AGAINST
from failsafe.failover.guards import DAY, PROOF_STALE
from failsafe.failover.health import discount
from failsafe.model import Axis, DomainState, Evidence, FlipKind, ProbeClass
from tests.simulate.looks import SERVER, axis_of
from tests.simulate.machine import Sighting, kind_of
from tests.simulate.scenario import DOMAIN, HERE

if TYPE_CHECKING:
    from tests.simulate.process import Process

NEVER = timedelta(days=1000)
STANDING = frozenset(
    {"held", "dwell", "flip-budget", "no-quorum", "secondary-not-ready", "store-suspect", "drift", "monitor-banned"}
)


class Dormancy:
    """The half of a process that sleeps."""

    def __init__(self) -> None:
        self._dormant = False
        self._sights: dict[str, ProbeClass | None] = {}

    def go_dormant(self: Process, round_: Round) -> bool:
        """False where the next tick matters."""
        now = self.clock.now()
        if self.machine.armed or self.machine.frozen or round_.facts.unfinished is not None:
            return False
        sights = self._constant_sights()
        delivery = self._constant_delivery(round_) if sights is not None else None
        if sights is None or delivery is None:
            return False
        until = self._idle_until(round_, sights)
        if until is None or until <= now + 2 * self.world.scenario.interval:
            return False
        sights |= delivery
        self._dormant, self._sights = True, sights
        self.token += 1
        if until < now + NEVER:
            self.world.engine.at(until - self.machine.offset - timedelta(microseconds=1), self._wake_by_time, self.token)
        return True

    def _constant_sights(self: Process) -> dict[str, ProbeClass | None] | None:
        """What each vantage goes on seeing; None unless each of them has seen it already."""
        line = self.line_now(self.clock.now())
        found: dict[str, ProbeClass | None] = {}
        for vantage in self.world.scenario.vantages:
            seen = self.world.sight(vantage, self.machine)
            if seen is not None and vantage == HERE:
                seen = discount(Evidence(SERVER, vantage, Axis.INBOUND, seen, line.at, ""), line, line).seen
            if seen is not None and not self._has_seen(vantage, seen, self.machine.sightings.get(vantage)):
                return None
            found[vantage] = seen
        return found

    def _has_seen(self: Process, looker: str, seen: ProbeClass, known: Sighting | None) -> bool:
        """Lately, and nothing else since."""
        recent = max(self.started_at, self.machine.jumped_at, self.world.engine.now - 2 * self.world.scenario.every(looker))
        newest = self.history.newest(SERVER, looker, axis_of(looker))
        return bool(newest) and newest[-1].evidence.seen is seen and known is not None and known.last >= recent

    def _constant_delivery(self: Process, round_: Round) -> dict[str, ProbeClass | None] | None:
        """The same of the lookers at delivery. While mail is lost, or nobody but the quorum keeps it from being so, nobody sleeps."""
        if not self.world.scenario.lookers:
            return {}
        inside = (view for view in round_.facts.delivery if view.vantage == INSIDE)
        if lost_delivery(round_.facts) or any(view.verdict in AGAINST for view in inside):
            return None
        sights, line = self.machine.canaries.constant(self.world.engine.now), self.line_now(self.clock.now())
        if sights is None:
            return None
        found: dict[str, ProbeClass | None] = {}
        for looker, sight in sights.items():
            found[looker] = discount(Evidence(SERVER, looker, Axis.DELIVERY, sight, line.at, ""), line, line).seen
            if not self._has_seen(looker, found[looker], self.machine.delivery.get(looker)):
                return None
        return found

    def _idle_until(self: Process, round_: Round, sights: dict[str, ProbeClass | None]) -> datetime | None:  # noqa: PLR0911 - a table of states
        """Until when every decision is the same nothing, as long as every vantage goes on seeing what it sees; None if not even the next one."""
        facts, decision = round_.facts, round_.decision
        state, forever = facts.record.state, self.clock.now() + NEVER
        kinds = [kind_of(seen) if seen is not None else "unknown" for seen in sights.values()]
        known_epoch = (facts if round_.ending is None else round_.ending).record.epoch
        kept = self.world.store.records.get(DOMAIN)
        if kept is not None and kept.epoch != known_epoch:  # somebody changed it while this process was stopped in its decision
            return None
        if state is DomainState.HALTED or self.domains.lease is None:
            return forever
        if decision.trigger is not None or {Order.FLIP, Order.CHECK_PRIMARY} & {*decision.orders} or "degraded" in kinds:
            return None
        bad, good = against(facts), for_it(facts)
        if state is DomainState.NORMAL:
            return forever if "failing" not in kinds and not bad else None
        if state is DomainState.FAILED_OVER:
            return forever if "ok" not in kinds and not good else None
        if any(sights[view.vantage] is None for view in (*bad, *good)):  # what it said grows stale
            return None
        if state is DomainState.SUSPECT:
            known = len(bad) == kinds.count("failing") and len(good) == kinds.count("ok")
            if not known or (good and not bad):
                return None
            if good or len(bad) < votes_needed(facts):
                return forever
        elif bad or not good:
            return forever if not bad and {*kinds} == {"unknown"} else None
        return min(self._times(round_), default=None)

    def _times(self: Process, round_: Round) -> Iterator[datetime]:
        """When something that waits for time alone may be over; nothing at all where a decision depends on more than time."""
        facts, decision, policy = round_.facts, round_.decision, round_.facts.policy
        now, record = self.clock.now(), facts.record
        codes = {guard.code for guard in decision.guards}
        away = decision.kind is FlipKind.FAILOVER
        span = policy.down_for if away else recovery_time(facts.policy.up_for, facts.flips, now)
        ends = [view.since_at + span for view in (against(facts) if away else for_it(facts)) if view.since_at is not None]
        if away:
            lies = [view.lying_since_at for view in against(facts) if view.lying_since_at is not None]
            ends += [end - span / 2 for end in ends]  # the warning at half of down_for
            ends += [since + lying_for(policy) for since in lies]
            ends += [since + lying_for(policy) - span / 2 for since in lies]
        ends.append(record.since_at + span)
        if not away:  # then the recovery time is shorter again
            ends += [flip.outcome_at + DAY for flip in facts.flips if flip.outcome_at is not None]
        due = bool({*decision.orders} - {Order.TELL_COMING}) or decision.plan is not None
        if due and codes - STANDING:
            return
        if decision.told and decision.told not in record.told.split():
            return
        if away and self.world.primary not in ("dead", "silent", "lying"):  # strangers' mail may arrive
            return
        if due:
            ends += [flip.outcome_at + policy.min_dwell for flip in facts.flips if flip.outcome_at is not None]
            ends += [flip.outcome_at + DAY for flip in facts.flips if flip.outcome_at is not None]
            ends += [at for at in (record.held_until, record.retry_at) if at is not None]
            if not away:
                ends.append(facts.primary.at + PROOF_STALE if facts.primary is not None else now)
        later = [end for end in ends if end > now]
        waits = Order.TELL_PREPARED in decision.orders or (record.retry_at is not None and record.retry_at > now)
        if due and not codes and not waits:
            return
        yield from later or ([now + timedelta(hours=1)] if due else [])

    # -- waking ----------------------------------------------------------------------------------------------------------

    def _wake_by_time(self: Process, token: int) -> None:
        if token == self.token:
            self.wake()

    def wake(self: Process) -> None:
        """Catches up with the looks of the time asleep, and goes on."""
        if not self._dormant or not self.alive:
            return
        self._dormant = False
        now = self.clock.now()
        written = self._last_writing(now)
        if written is not None:
            self._catch_up(written)
            self.history.flush(written)
        newest = self._catch_up(now)
        if newest is not None:
            self.decided_at = newest - self.machine.offset
        self.token += 1
        for vantage in self.looks:
            self.schedule(vantage)
        passed = (self.world.engine.now - self.decided_at) // DECIDE_WITHOUT_LOOK
        self.decided_at += passed * DECIDE_WITHOUT_LOOK
        self.schedule_decision(self.decided_at + DECIDE_WITHOUT_LOOK - self.world.engine.now)

    def _last_writing(self: Process, now: datetime) -> datetime | None:
        """The last look of the time asleep that would have written everything to the disk: see MemoryHistory."""
        asleep_at = self.decided_at + self.machine.offset
        last = max(looks.at(looks.last_until(now)) for looks in self.looks.values())
        if last <= asleep_at:
            return None
        found = None
        begun = self.history.slot_begins(last)
        if begun is not None:
            found = min(looks.at(looks.first_after(begun - timedelta(microseconds=1))) for looks in self.looks.values())
        for vantage, end in self.history.urgent_until().items():
            if self._sights[vantage] is None:
                continue
            at = self.looks[vantage].at(self.looks[vantage].last_until(min(end, now)))
            if at > asleep_at:
                found = max(found or at, at)
        return found

    def _send_canaries(self: Process, after: datetime, until: datetime) -> None:
        """The looks between: each may send one, and find others."""
        looks, line = self.looks[CANARY], self.line_now(until)
        for number in range(looks.first_after(after), looks.last_until(until) + 1):
            seen = self.machine.canaries.see(CANARY, looks.at(number) - self.machine.offset)
            seen = discount(Evidence(SERVER, CANARY, Axis.DELIVERY, seen, line.at, ""), line, line).seen
            assert seen is self._sights[CANARY], f"the canary sees {seen}, not {self._sights[CANARY]}"

    def _catch_up(self: Process, end: datetime) -> datetime | None:
        """The looks until then; gives the newest."""
        seen, newest = [], None
        for vantage, looks in self.looks.items():
            made = looks.at(looks.last_until(end))
            if made <= self.decided_at + self.machine.offset:
                continue
            newest = made if newest is None else max(newest, made)
            if self._sights[vantage] is None:
                continue
            run = self.history.newest(SERVER, vantage, axis_of(vantage))[-1]
            if made > run.last_at:
                seen.append(replace(run.evidence, at=made))
                books = self.machine.delivery if vantage in self.world.scenario.lookers else self.machine.sightings
                if vantage == CANARY:
                    self._send_canaries(run.last_at, made)
                books[vantage] = replace(books[vantage], last=made - self.machine.offset)
        if newest is not None:
            line = self.line_now(newest)
            self.history.extend(seen, line)
            self.machine.line = (newest - self.machine.offset, line.up)
        return newest
