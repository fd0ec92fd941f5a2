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
from failsafe.failover.facts import AGAINST, DomainFacts, Policy, PrimaryProof, Readiness, ZoneReading
from failsafe.failover.gather import read_zone
from failsafe.failover.health import FAILING, STALE_AFTER_INTERVALS, EvidenceRun, JudgePolicy, Judging, VantageView
from failsafe.failover.memory_journal import MemoryJournal, MemoryStore
from failsafe.failover.recording import Hindsight, Recording
from failsafe.failover.runner import FlipRunner
from failsafe.failover.weigh import weigh
from failsafe.failover.zone import plan_peace
from failsafe.model import (
    DomainRecord,
    DomainState,
    FlipKind,
    Intent,
    Mode,
    MxChange,
    MxSet,
    OwnLine,
    ServerAnswer,
    Side,
    Verdict,
    ZonePromises,
)

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
    """One vantage's runs, played forward: each is judged once, however long the recording is."""

    def __init__(self, runs: list[EvidenceRun], judging: JudgePolicy) -> None:
        self._runs = runs
        self._starts = [run.first_at for run in runs]
        self._over = 0  # so many runs have ended, and `_judging` has seen them
        self._judging = Judging(judging)

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

    def view(self, now: datetime) -> VantageView | None:
        """What the vantage concludes from what was recorded up to now. `now` never goes back."""
        while self._over < len(self._runs) and self._runs[self._over].last_at <= now:
            self._judging.see(self._runs[self._over])
            self._over += 1
        begun = bisect_right(self._starts, now)
        if begun <= self._over:
            return self._judging.view(now)
        judging = self._judging.branch()
        for place in range(self._over, begun):
            run = self._runs[place]
            judging.see(EvidenceRun(run.evidence, run.first_at, min(run.last_at, now), run.count))
        return judging.view(now)


def _is_calm(record: DomainRecord, views: tuple[VantageView, ...]) -> bool:
    """Whether `decide` finds nothing to do and nothing to wait for: most of a long recording, where gathering all facts would take most of the time."""
    against = any(view.verdict in AGAINST for view in views)
    if record.attempted is not None:
        return False
    if record.state is DomainState.NORMAL:
        return not against
    return record.state is DomainState.FAILED_OVER and (against or not any(view.verdict is Verdict.UP for view in views))


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
        judging = JudgePolicy(policy.probe_every, policy.down_for)
        self._tapes = [
            _Tape([run for run in recording.runs if run.evidence.vantage == name], judging) for name in _names(recording)
        ]
        self._hindsight = Hindsight(recording, policy.probe_every)
        self._done: tuple[Intent, ...] = ()  # flips, as far back as anybody asks
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
            due = self._decide(now)
            place = bisect_right(boundaries, now)
            ahead = [boundaries[place]] if place < len(boundaries) else []
            ahead += [at for at in due if at > now]
            if not ahead:
                break
            now, count = min(ahead), count + 1
        return self._result(cut_short=count >= MOST_MOMENTS)

    def _decide(self, now: datetime) -> tuple[datetime, ...]:
        """Decides until nothing changes any more at this moment; gives the times at which somebody's wait is over."""
        seen = (view for tape in self._tapes if (view := tape.view(now)) is not None)
        views = weigh(seen, self._policy.standing)
        due: tuple[datetime, ...] = ()
        for _ in range(6):
            before = self._record
            if _is_calm(before, views):
                return ()
            facts = self._facts(now, views)
            decision = decide(facts, now)
            self._note(facts, decision, now)
            self._runner.act(facts, decision, by="replay", patience=timedelta(0))
            if Order.FLIP in decision.orders:
                self._done = self._journal.flips(self._policy.domain, self._oldest(now))
            due = tuple(self._due(facts))
            if self._record.state is before.state:
                break
        return due

    def _oldest(self, now: datetime) -> datetime:
        return now - max(DAY, self._policy.min_dwell)

    def _facts(self, now: datetime, views: tuple[VantageView, ...]) -> DomainFacts:
        policy, record = self._policy, self._record
        zone: ZoneReading = read_zone(self._paper, self._paper, policy)
        oldest = self._oldest(now)
        self._done = tuple(flip for flip in self._done if flip.outcome_at is not None and flip.outcome_at >= oldest)
        return DomainFacts(
            policy=policy,
            record=record,
            views=views,
            own_line=self._line(now),
            zone=zone,
            readiness=Readiness(),
            leader=True,
            started_at=self._recording.since - DAY,
            unfinished=self._journal.unfinished(policy.domain),
            flips=self._done,
            primary=PrimaryProof(now, ()),
        )

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
            verdict, why = self._hindsight.judge(since, now)
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
