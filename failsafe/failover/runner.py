"""Carries out a decision through ports: intent, act, read back, outcome.

Theory. The plan is committed to the journal before the provider hears of it, so a crash at any point leaves either nothing or an
unfinished intent. What an intent has come to is never remembered, always read back: from the provider and from every authoritative
server. `resume` does that after a crash, after a lost answer and between two polls alike; it is the only way a plan ends. A write whose
answer was lost is sent a second time only if the zone still holds exactly what it held before, the plan is still wanted and its time is
not over; it is never sent a third time. A write that the provider took is not sent again at all: where nobody shows it, that is an alarm
of its own. A process that was stopped (SIGSTOP, a suspended NAS) between the journal's word and the request
does not send it: meanwhile another controller may have ended the plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from failsafe.errors import DnsError, OutcomeUnknown, Refused, SecretError, ZoneChanged
from failsafe.failover import notices
from failsafe.failover.decide import Decision, Order
from failsafe.failover.facts import DomainFacts, Policy, ZoneReading
from failsafe.failover.gather import read_zone
from failsafe.failover.machine import Trigger, possible, step
from failsafe.failover.observed import end_observed, note_observed
from failsafe.failover.plan import FlipPlan, mark
from failsafe.failover.verify import Progress, judge_progress
from failsafe.model import DomainRecord, DomainState, FlipKind, Intent, MxChange, NewIntent, Outcome, Side, Verdict
from failsafe.ports import Authorities, Clock, DnsZone, FlipJournal

DRAIN_FOR = timedelta(hours=72)  # how long senders' caches and queues keep sending late mail to the secondary
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(minutes=30)
SEND_WITHIN = timedelta(
    minutes=1
)  # from the journal's word to the request; a process that was stopped in between must look again
FIRST_POLL, LONGEST_POLL = 0.25, 5.0  # seconds between two looks while waiting for the servers to agree


@dataclass(frozen=True, slots=True)
class Ending:
    """What a run came to. `intent` has no outcome while the plan is unfinished (`resume` goes on)."""

    record: DomainRecord
    intent: Intent | None = None
    text: str = ""

    @property
    def unfinished(self) -> bool:
        return self.intent is not None and self.intent.outcome is None

    @property
    def done(self) -> bool:
        return self.intent is not None and self.intent.outcome is Outcome.DONE


class FlipRunner:
    """Carries out decisions about domains of one DNS provider. `zone` is None where none is configured: then nothing is ever written."""

    def __init__(self, zone: DnsZone | None, authorities: Authorities, journal: FlipJournal, clock: Clock) -> None:
        self._zone = zone
        self._authorities = authorities
        self._journal = journal
        self._clock = clock

    def act(
        self,
        facts: DomainFacts,
        decision: Decision,
        *,
        by: str,
        reason: str = "",
        patience: timedelta = timedelta(seconds=20),
        wanted: bool | None = False,
    ) -> Ending:
        """Does what was decided. `patience` bounds how long a flip is waited for here; an unfinished one is gone on with by `resume`.

        `wanted` is decide.still_wanted(facts, now), for an unfinished plan. Raises Refused, LeaseLost, StoreError; never DnsError.
        """
        if Order.RESUME in decision.orders:
            assert facts.unfinished is not None
            return self.resume(facts.policy, facts.record, facts.unfinished, wanted=wanted, patience=patience)
        if Order.FLIP in decision.orders:
            assert decision.plan is not None
            return self.flip(
                facts.policy,
                facts.record,
                decision.plan,
                decision.trigger,
                by=by,
                reason=reason or "; ".join(decision.reasons),
                patience=patience,
                bouncing=any(view.verdict is Verdict.LYING for view in facts.views),
            )
        if decision.trigger is not None:
            return Ending(self._move(facts, decision, decision.trigger))
        if decision.told and decision.told not in facts.record.told.split():
            return Ending(self._tell(facts, decision))
        return Ending(facts.record)

    def flip(
        self,
        policy: Policy,
        record: DomainRecord,
        plan: FlipPlan,
        trigger: Trigger | None,
        *,
        by: str,
        reason: str,
        patience: timedelta,
        bouncing: bool = False,
    ) -> Ending:
        """Journals the plan, then writes it once, then waits up to `patience` until it is verified."""
        if self._zone is None:
            raise Refused(f"no DNS provider is configured for {policy.domain}", mend=f"by hand: {'; '.join(plan.sentences)}")
        now, send_by = self._clock.now(), self._clock.monotonic() + SEND_WITHIN.total_seconds()
        change = plan.change
        new = NewIntent(
            policy.domain, plan.kind, by, reason, now, now + policy.verify_for, change.expected, change.desired, plan.digest
        )
        record, intent = self._journal.begin(
            record, replace(_begun(record, new, trigger), bouncing=bouncing), new, [notices.planned_event(new, plan.sentences)]
        )
        return self._send(policy, record, intent, change, patience, send_by)

    def resume(
        self, policy: Policy, record: DomainRecord, intent: Intent, *, wanted: bool | None, patience: timedelta = timedelta(0)
    ) -> Ending:
        """Goes on with an unfinished plan, by reading back first. With `wanted` False a plan that wrote nothing is given up; None: later."""
        send_by = self._clock.monotonic() + (patience + SEND_WITHIN).total_seconds()
        accepted = record.accepted == intent.id
        final = (Progress.DONE, Progress.DRIFT) if accepted else (Progress.DONE, Progress.DRIFT, Progress.NOT_WRITTEN)
        progress, text = self._settle(policy, intent, patience, until=final)
        if accepted or progress is not Progress.NOT_WRITTEN:
            return self._conclude(policy, record, intent, progress, text)
        in_time = self._clock.now() < intent.deadline_at
        if wanted and in_time and self._zone is not None and record.retried != intent.id:
            record = self._journal.change(record, replace(record, retried=intent.id), [])
            change = MxChange(policy.domain, policy.zone, intent.before, intent.desired, mark(intent.kind, record))
            return self._send(policy, record, intent, change, patience, send_by)
        if wanted is None and in_time:
            return Ending(record, intent, text)
        if wanted and in_time:  # sent twice; the second answer was lost too: it may still arrive
            return Ending(record, intent, text)
        outcome = Outcome.FAILED if wanted else Outcome.VOID
        return self._postpone(record, intent, outcome, text if wanted else f"{text}; the plan is no longer wanted", "")

    def _send(
        self, policy: Policy, record: DomainRecord, intent: Intent, change: MxChange, patience: timedelta, send_by: float
    ) -> Ending:
        assert self._zone is not None
        if self._clock.monotonic() > send_by:
            return Ending(
                record, intent, "this process was stopped before the request; the zone is read first, and the plan judged anew"
            )
        try:
            self._zone.apply(change)
        except OutcomeUnknown:
            progress, text = self._settle(policy, intent, patience, until=(Progress.DONE, Progress.DRIFT))
            return (
                Ending(record, intent, text)
                if progress is Progress.NOT_WRITTEN
                else self._conclude(policy, record, intent, progress, text)
            )
        except (DnsError, SecretError) as error:  # a key that cannot be read is found before anything is sent
            return self._refused(policy, record, intent, error, patience)
        progress, text = self._settle(policy, intent, patience, until=(Progress.DONE, Progress.DRIFT))
        if progress not in (Progress.DONE, Progress.DRIFT):  # it has its time to show it, then a person must look
            record = self._journal.change(record, replace(record, accepted=intent.id), [])
        return self._conclude(policy, record, intent, progress, text)

    def _refused(
        self, policy: Policy, record: DomainRecord, intent: Intent, error: DnsError | SecretError, patience: timedelta
    ) -> Ending:
        """The provider says that nothing was written by us. Reality decides whether that is all there is to it."""
        progress, text = self._settle(policy, intent, timedelta(0), until=tuple(Progress))
        if progress is Progress.DRIFT or (isinstance(error, ZoneChanged) and progress in (Progress.WAITING, Progress.UNSHOWN)):
            progress, text = self._settle(policy, intent, patience, until=(Progress.DONE, Progress.NOT_WRITTEN, Progress.DRIFT))
        if progress in (Progress.DONE, Progress.DRIFT):
            return self._conclude(policy, record, intent, progress, f"{text} ({error})")
        return self._postpone(record, intent, Outcome.FAILED, str(error), error.mend)

    def _settle(self, policy: Policy, intent: Intent, patience: timedelta, until: tuple[Progress, ...]) -> tuple[Progress, str]:
        """Looks until one of `until` is seen (drift: twice running, since a provider may show a change half-way) or patience ends."""
        deadline, wait = self._clock.monotonic() + patience.total_seconds(), FIRST_POLL
        drifted = False
        while True:
            progress, text = judge_progress(intent, self._read(policy))
            if progress in until and (progress is not Progress.DRIFT or drifted):
                return progress, text
            left = deadline - self._clock.monotonic()
            if left <= 0 and (progress is not Progress.DRIFT or drifted):
                return progress, text
            drifted = progress is Progress.DRIFT
            self._clock.sleep(min(wait, max(left, FIRST_POLL)))
            wait = min(wait * 1.5, LONGEST_POLL)

    def _conclude(self, policy: Policy, record: DomainRecord, intent: Intent, progress: Progress, text: str) -> Ending:
        if progress is Progress.DONE:
            return self._finished(policy, record, intent, text)
        if progress is Progress.DRIFT or self._clock.now() >= intent.deadline_at:
            late = "" if progress is Progress.DRIFT else f"not verified within {policy.verify_for}: "
            taken = progress is Progress.NOT_WRITTEN  # here only where the provider took the write
            late += "the provider took the change and does not show it: " if taken else ""
            return self._stuck(record, intent, late + text, unshown=taken or progress is Progress.UNSHOWN)
        return Ending(record, intent, text)

    def _finished(self, policy: Policy, record: DomainRecord, intent: Intent, text: str) -> Ending:
        now = self._clock.now()
        silent = self._read(policy).silent
        changed = _verified(record, intent, text, now)
        event = notices.done_event(record, intent, text, silent, now)
        record = self._journal.finish(record, changed, intent, Outcome.DONE, text, [event])
        return Ending(record, replace(intent, outcome=Outcome.DONE, outcome_at=now, outcome_text=text), text)

    def _postpone(self, record: DomainRecord, intent: Intent, outcome: Outcome, text: str, mend: str) -> Ending:
        """Back to where the plan began. `attempted` stays: after a lost answer the change may still appear, and is then recognised."""
        now = self._clock.now()
        failures = record.failures + 1
        wait = min(FIRST_RETRY * 2 ** min(failures - 1, 10), LONGEST_RETRY)
        row = step(record.state, Trigger.PLAN_REFUSED) if possible(record.state, Trigger.PLAN_REFUSED) else None
        changed = replace(
            record,
            state=row.to if row else record.state,
            since_at=now if row else record.since_at,
            reason=text,
            failures=failures,
            retry_at=now + wait,
            retried=None,
        )
        event = notices.postponed_event(record, intent, text, mend, now)
        record = self._journal.finish(record, changed, intent, outcome, text, [event])
        return Ending(record, replace(intent, outcome=outcome, outcome_at=now, outcome_text=text), text)

    def _stuck(self, record: DomainRecord, intent: Intent, text: str, *, unshown: bool = False) -> Ending:
        now = self._clock.now()
        row = step(record.state, Trigger.PLAN_STUCK)
        changed = replace(record, state=row.to, since_at=now, reason=text, retried=None, store_lost=False)
        stuck = notices.stuck_event(record, intent.kind, text, now)
        events = [notices.unshown_event(record, intent, text, now), replace(stuck, notice=None)] if unshown else [stuck]
        record = self._journal.finish(record, changed, intent, Outcome.FAILED, text, events)
        return Ending(record, replace(intent, outcome=Outcome.FAILED, outcome_at=now, outcome_text=text), text)

    def _move(self, facts: DomainFacts, decision: Decision, trigger: Trigger) -> DomainRecord:
        now, record = self._clock.now(), facts.record
        changed = _moved(facts, trigger, decision.reasons, now)
        if trigger is Trigger.STORE_LOST:
            event = notices.restore_event(record, changed.reason, facts.policy.server, now)
        elif changed.state is DomainState.HALTED:
            event = notices.stuck_event(record, decision.kind or FlipKind.FAILOVER, changed.reason, now)
        else:
            event = notices.state_event(record, trigger, decision.reasons, now)
        return self._journal.change(record, changed, [event])

    def _tell(self, facts: DomainFacts, decision: Decision) -> DomainRecord:
        now, record = self._clock.now(), facts.record
        coming, observed = Order.TELL_COMING in decision.orders, record.observed
        event = notices.coming_event(facts, decision, now) if coming else notices.told_event(facts, decision, now)
        if Order.TELL_OBSERVED in decision.orders:
            observed = note_observed(record, decision, now)
        told = " ".join([*record.told.split(), decision.told][-20:])
        return self._journal.change(record, replace(record, told=told, observed=observed), [event])

    def _read(self, policy: Policy) -> ZoneReading:
        return read_zone(self._zone, self._authorities, policy)


def _begun(record: DomainRecord, new: NewIntent, trigger: Trigger | None) -> DomainRecord:
    changed = replace(record, attempted=new.desired, attempted_at=new.planned_at, reason=new.reason, retried=None)
    if trigger is not None:
        changed = replace(changed, state=step(record.state, trigger).to, since_at=new.planned_at)
    if new.kind is FlipKind.FAILOVER:
        changed = replace(changed, previous=new.before, suspected_at=record.suspected_at or new.planned_at)
    return changed


def _verified(record: DomainRecord, intent: Intent, text: str, now: datetime) -> DomainRecord:
    """The record after a plan was verified; the incident ends with a failback."""
    changed = replace(record, attempted=None, retried=None, failures=0, retry_at=None, told="", reason=text)
    if intent.kind is FlipKind.ADOPT_MX:
        return replace(changed, previous=None)
    to = step(record.state, Trigger.PLAN_VERIFIED).to
    if intent.kind is FlipKind.FAILOVER:
        return replace(changed, state=to, since_at=now, serving=Side.SECONDARY, written=intent.desired, draining_until=None)
    return at_primary(replace(changed, state=to, since_at=now), now)


def at_primary(record: DomainRecord, now: datetime) -> DomainRecord:
    """Peace again: the incident is over, and late mail at the secondary is brought home for a while."""
    return replace(
        record, serving=Side.PRIMARY, written=None, previous=None, attempted=None, suspected_at=None, failures=0, retry_at=None, told="",
        draining_until=now + DRAIN_FOR, observed=end_observed(record.observed, now),
    )  # fmt: skip


def _moved(facts: DomainFacts, trigger: Trigger, reasons: tuple[str, ...], now: datetime) -> DomainRecord:
    record, found = facts.record, facts.zone.agreed
    lost = trigger is Trigger.STORE_LOST
    changed = replace(record, state=step(record.state, trigger).to, since_at=now, reason="; ".join(reasons), store_lost=lost)
    if trigger is Trigger.PRIMARY_SUSPECT:
        if record.state is DomainState.NORMAL:
            previous = found if found is not None else record.previous
            return replace(changed, suspected_at=now, previous=previous, failures=0, retry_at=None, told="")
        return replace(changed, failures=0, retry_at=None, told="")
    if trigger is Trigger.PRIMARY_WELL and changed.state is DomainState.NORMAL:
        # `attempted` is kept: a request whose answer was lost may still arrive, and must then be recognised.
        previous = record.previous if record.attempted is not None else None
        observed = end_observed(record.observed, now)
        return replace(changed, suspected_at=None, previous=previous, failures=0, retry_at=None, told="", observed=observed)
    if trigger is Trigger.SEEN_AT_SECONDARY:
        changed = replace(changed, suspected_at=record.suspected_at or now, attempted=None, failures=0, retry_at=None, told="")
        return replace(changed, serving=Side.SECONDARY, written=found)
    return at_primary(changed, now) if trigger is Trigger.SEEN_AT_PRIMARY else changed
