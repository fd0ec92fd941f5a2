"""Recorded evidence run through other thresholds: how many flips, how many of them false? Pure.

Theory. Moment by moment, what was recorded up to then is shown to the code that decides (`judge_all`, `decide`, the runner) in a world on paper
where every write succeeds at once and the secondary is ready. Between two moments nothing can change: a moment is where a run of
evidence begins, ends or goes stale, or where a time that somebody waits for is over. A flip is found to within one probe interval.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import zip_longest

from failsafe.failover.decide import Decision, Order, decide
from failsafe.failover.evidence import lying_for, recovery_time
from failsafe.failover.facts import DomainFacts, Policy, PrimaryProof, Readiness, ZoneReading
from failsafe.failover.gather import read_zone
from failsafe.failover.health import ACCEPTING, FAILING, STALE_AFTER_INTERVALS, EvidenceRun, JudgePolicy, judge_all
from failsafe.failover.memory_journal import MemoryJournal, MemoryStore
from failsafe.failover.recording import Recording, judge_flip
from failsafe.failover.runner import FlipRunner
from failsafe.failover.zone import plan_peace
from failsafe.model import DomainRecord, DomainState, FlipKind, Mode, MxChange, MxSet, OwnLine, ServerAnswer, Side, ZonePromises

TICK = timedelta(microseconds=1)
DAY = timedelta(days=1)
MOST_MOMENTS = 500_000
ANSWERED = frozenset({Order.TELL_BLOCKED, Order.TELL_PREPARED})


@dataclass(frozen=True, slots=True)
class ReplayedFlip:
    """One failover. `verdict`: real | false | unproven; `why` is a sentence. `back_at` None: the recording ends before its failback."""

    at: datetime
    since: datetime
    said: tuple[str, ...]
    verdict: str
    why: str
    back_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """`asked`: outages in which a person would have been asked; `blocked`: in which guards stood against it; `blips`: that ended by themselves."""

    policy: Policy
    flips: tuple[ReplayedFlip, ...]
    asked: int
    blocked: int
    blips: int
    at_secondary: timedelta
    cut_short: bool = False

    def count(self, verdict: str) -> int:
        return sum(flip.verdict == verdict for flip in self.flips)


def replay(recording: Recording, policy: Policy) -> Replay:
    """What `auto` would have done with these thresholds."""
    return _Player(recording, replace(policy, mode=Mode.AUTO, auto_failback=True, writable=True, ssh=True)).play()


@dataclass(slots=True)
class _Paper:
    """A provider, its servers and a clock, where every write succeeds at once."""

    held: MxSet
    at: datetime
    promises: ZonePromises = field(default_factory=lambda: ZonePromises(atomic=True, compare_and_set=True, minimum_ttl_seconds=0))

    def read(self, zone: str, domain: str) -> MxSet:  # noqa: ARG002 - the port's signature
        return self.held

    def preview(self, change: MxChange) -> tuple[str, ...]:  # noqa: ARG002
        return ()

    def apply(self, change: MxChange) -> None:
        self.held = change.desired

    def clear(self, zone: str, name: str) -> None:  # noqa: ARG002
        raise AssertionError("nothing is cleared on paper")

    def mx(self, domain: str) -> tuple[ServerAnswer, ...]:  # noqa: ARG002
        return (ServerAnswer("paper", self.held),)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:  # noqa: ARG002
        raise AssertionError("nobody waits on paper")


def _names(recording: Recording) -> list[str]:
    return sorted({run.evidence.vantage for run in recording.runs})


class _Tape:
    """One vantage's runs, played forward."""

    def __init__(self, runs: list[EvidenceRun]) -> None:
        self._runs = runs
        self._starts = [run.first_at for run in runs]
        self._from = 0  # what lies before is of long ago
        self._witnesses: dict[str, EvidenceRun] = {}  # of long ago: by target, what last said up

    def boundaries(self, stale: timedelta, down_for: timedelta) -> set[datetime]:
        found, failing = set[datetime](), None
        for run, after in zip_longest(self._runs, self._runs[1:]):
            found.add(run.first_at)
            if after is None or after.first_at - run.last_at > stale:
                found.add(run.last_at + stale + TICK)
            failing = None if run.evidence.seen not in FAILING else failing or run.first_at
            if failing is not None and run.first_at < failing + down_for <= run.last_at:
                found.add(failing + down_for)
        return found

    def seen(self, late: datetime, now: datetime) -> Iterator[EvidenceRun]:
        while self._from < len(self._runs) and self._runs[self._from].last_at < late:
            run = self._runs[self._from]
            if run.evidence.seen in ACCEPTING:
                self._witnesses[run.evidence.target] = run
            self._from += 1
        yield from self._witnesses.values()
        for run in self._runs[self._from : bisect_right(self._starts, now)]:
            yield run if run.last_at <= now else replace(run, last_at=now, evidence=replace(run.evidence, at=now))


class _Player:
    def __init__(self, recording: Recording, policy: Policy) -> None:
        self._recording, self._policy = recording, policy
        layout = policy.layout
        peace = plan_peace(MxSet.of(*((10 + place, name) for place, name in enumerate(layout.primaries))), layout)
        self._paper = _Paper(peace, recording.since)
        self._journal = MemoryJournal(
            MemoryStore({policy.domain: DomainRecord(policy.domain, DomainState.NORMAL, recording.since, Side.PRIMARY)})
        )
        self._runner = FlipRunner(self._paper, self._paper, self._journal, self._paper)
        self._tapes = [_Tape([run for run in recording.runs if run.evidence.vantage == name]) for name in _names(recording)]
        self._line_starts = [line.first_at for line in recording.lines]
        self._flips: list[ReplayedFlip] = []
        self._incidents: dict[str, set[datetime]] = {"asked": set(), "blocked": set(), "blips": set()}

    @property
    def _record(self) -> DomainRecord:
        return self._journal.load(self._policy.domain, self._paper.at)

    def play(self) -> Replay:
        boundaries = self._boundaries()
        now, count = self._recording.since, 0
        while now <= self._recording.until and count < MOST_MOMENTS:
            self._paper.at = now
            facts = self._decide(now)
            place = bisect_right(boundaries, now)
            ahead = [boundaries[place]] if place < len(boundaries) else []
            ahead += [at for at in self._due(facts) if at > now]
            if not ahead:
                break
            now, count = min(ahead), count + 1
        return self._result(cut_short=count >= MOST_MOMENTS)

    def _decide(self, now: datetime) -> DomainFacts:
        """Decides until nothing changes any more at this moment."""
        for _ in range(6):
            facts, before = self._facts(now), self._record
            decision = decide(facts, now)
            self._note(facts, decision, now)
            self._runner.act(facts, decision, by="replay", patience=timedelta(0))
            if self._record.state is before.state:
                break
        return facts

    def _facts(self, now: datetime) -> DomainFacts:
        policy, record = self._policy, self._record
        judging = JudgePolicy(policy.probe_every, policy.down_for)
        zone: ZoneReading = read_zone(self._paper, self._paper, policy)
        flips = self._journal.flips(policy.domain, now - max(DAY, policy.min_dwell))
        return DomainFacts(
            policy=policy,
            record=record,
            views=judge_all(self._seen(now, recovery_time(policy.up_for, flips, now)), now, judging),
            own_line=self._line(now),
            zone=zone,
            readiness=Readiness(),
            leader=True,
            started_at=self._recording.since - DAY,
            unfinished=self._journal.unfinished(policy.domain),
            flips=flips,
            primary=PrimaryProof(now, ()),
        )

    def _seen(self, now: datetime, recovery: timedelta) -> Iterator[EvidenceRun]:
        """What was recorded up to now: of late all of it, and of each vantage and target what last said up (as `HistoryStore.runs`)."""
        policy = self._policy
        late = now - 2 * max(policy.down_for, recovery) - 4 * policy.probe_every
        for tape in self._tapes:
            yield from tape.seen(late, now)

    def _line(self, now: datetime) -> OwnLine | None:
        place = bisect_right(self._line_starts, now)
        if place == 0:
            return None
        line = self._recording.lines[place - 1]
        return OwnLine(min(line.last_at, now), line.answered, line.asked)

    def _boundaries(self) -> list[datetime]:
        """Where what was recorded changes: a run begins, the last one before a gap goes stale, or a run has been degraded for long enough."""
        policy, found = self._policy, set[datetime]()
        stale = policy.probe_every * STALE_AFTER_INTERVALS
        for tape in self._tapes:
            found |= tape.boundaries(stale, policy.down_for)
        for line, after in zip_longest(self._recording.lines, self._recording.lines[1:]):
            found.add(line.first_at)
            if after is None or after.first_at - line.last_at > stale:
                found.add(line.last_at + stale + TICK)
        return sorted(at for at in found if self._recording.since < at <= self._recording.until)

    def _due(self, facts: DomainFacts) -> Iterator[datetime]:
        """When a time is over that somebody waits for."""
        policy, record = self._policy, self._record
        if record.state not in (DomainState.SUSPECT, DomainState.RECOVERING):
            return
        recovery = recovery_time(policy.up_for, facts.flips, self._paper.at)
        wait = policy.down_for if record.state is DomainState.SUSPECT else recovery
        yield record.since_at + wait
        for view in facts.views:
            if view.since_at is not None:
                yield view.since_at + wait
            if view.lying_since_at is not None:
                yield view.lying_since_at + lying_for(policy)
        for flip in facts.flips:
            if flip.outcome_at is not None:
                yield flip.outcome_at + policy.min_dwell
                yield flip.outcome_at + DAY

    def _note(self, facts: DomainFacts, decision: Decision, now: datetime) -> None:
        record = facts.record
        if Order.FLIP in decision.orders and decision.kind is FlipKind.FAILOVER:
            since = record.suspected_at or now
            verdict, why = judge_flip(self._recording, since, now, self._policy.probe_every)
            self._flips.append(ReplayedFlip(now, since, decision.reasons, verdict, why))
        elif Order.FLIP in decision.orders and self._flips:
            self._flips[-1] = replace(self._flips[-1], back_at=now)
        elif record.state is DomainState.SUSPECT and record.suspected_at is not None:
            self._incidents["blips"].add(record.suspected_at)
            for order in ANSWERED & set(decision.orders):
                self._incidents["asked" if order is Order.TELL_PREPARED else "blocked"].add(record.suspected_at)

    def _result(self, *, cut_short: bool) -> Replay:
        until = self._recording.until
        away = sum(((flip.back_at or until) - flip.at for flip in self._flips), timedelta(0))
        flipped = {flip.since for flip in self._flips}
        blocked = self._incidents["blocked"] - flipped
        asked = self._incidents["asked"] - flipped
        blips = self._incidents["blips"] - flipped - blocked - asked
        return Replay(self._policy, tuple(self._flips), len(asked), len(blocked), len(blips), away, cut_short)
