"""Judges what one vantage saw over time: evidence in, a verdict with its reasons out. Pure.

The rules, in the order in which they matter:
- unknown is not down: no evidence, old evidence, evidence that says "I cannot look" and evidence gathered while our own line was down are unknown;
- a vantage that has never seen this target up is no witness: a home line on which port 25 is blocked, or a recipient with a typing error in it,
  looks exactly like a dead or a lying server, for ever. (Where the block is known, having seen the server's other doors open is enough: `Sign.STANDS`.);
- a run is unbroken only if its evidence is dense: a gap of more than three intervals ends it;
- degraded is up, until nothing but degraded, down and lying has been seen for `down_for`: then it is down, since the first of them. It keeps mail
  where it is, both ways: a primary that only says "later" is no reason to go home (`taking_since_at`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from failsafe.model import TESTIMONY, Axis, Evidence, OwnLine, ProbeClass, Sign, Verdict

STALE_AFTER_INTERVALS = 3
ACCEPTING = frozenset({ProbeClass.UP, ProbeClass.GREYLISTED})
FAILING = frozenset({ProbeClass.DOWN, ProbeClass.LYING, ProbeClass.DEGRADED})


@dataclass(frozen=True, slots=True)
class EvidenceRun:
    """The same thing seen `count` times from `first_at` to `last_at` without a gap; `evidence` is the newest of them."""

    evidence: Evidence
    first_at: datetime
    last_at: datetime
    count: int = 1

    @classmethod
    def of(cls, evidence: Evidence) -> EvidenceRun:
        return cls(evidence, evidence.at, evidence.at)


@dataclass(frozen=True, slots=True)
class JudgePolicy:
    """`interval` between probes; `down_for` as configured for the domain.

    `slack` is how much later than stored the newest evidence may be: zero for the process that probes, the history's flush interval for any other reader.
    """

    interval: timedelta
    down_for: timedelta
    slack: timedelta = timedelta(0)

    @property
    def stale_after(self) -> timedelta:
        return self.interval * STALE_AFTER_INTERVALS + self.slack


@dataclass(frozen=True, slots=True)
class VantageView:
    """What one vantage concludes about one axis. `since_at` is the first evidence of the unbroken run, `last_at` the newest evidence."""

    vantage: str
    verdict: Verdict
    since_at: datetime | None
    last_at: datetime | None
    reasons: tuple[str, ...] = ()
    axis: Axis = Axis.INBOUND
    blocked: bool = False  # the prober itself is refused or banned there
    taking_since_at: datetime | None = (
        None  # of one that says up: the first time since then that mail was taken, not put off with a 4xx
    )
    lying_since_at: datetime | None = (
        None  # of one that says lying: since when it has seen nothing but 5xx to the known-good recipient
    )
    degraded: bool = False  # the newest evidence is a 4xx to the known-good recipient
    answered: bool = False  # the newest evidence is of a call that was taken and not served
    port_works: bool | None = None  # whether port 25 works from there at all; None: nobody has tried another server


def discount(evidence: Evidence, before: OwnLine, after: OwnLine, *, whose: str = "our own") -> Evidence:
    """Evidence seen through a line while it was down says nothing, unless it says up: that, a dead line cannot fake.

    What the look brought upon itself (a login that was refused, a recipient that may count for a ban) was brought all the same, and stays with it.
    """
    if (before.up and after.up) or evidence.seen in ACCEPTING:
        return evidence
    worse = before if not before.up else after
    text = f"{whose} line was down ({worse.answered} of {worse.asked} references answered), so this says nothing: {evidence.text}"
    return replace(evidence, seen=ProbeClass.UNKNOWN, text=text, signs=evidence.signs - TESTIMONY)


def judge(history: Iterable[EvidenceRun], now: datetime, policy: JudgePolicy) -> VantageView | None:
    """The view of one (vantage, axis); None where there is no evidence at all. All runs of `history` are of that one pair."""
    runs = sorted(history, key=lambda run: (run.last_at, run.first_at))
    assert len({(run.evidence.server, run.evidence.vantage, run.evidence.axis) for run in runs}) <= 1, "one vantage, one axis"
    judging = Judging(policy)
    for run in runs:
        judging.see(run)
    return judging.view(now)


class Judging:
    """Judges one (vantage, axis) while its runs come, each seen once, the oldest first."""

    def __init__(
        self, policy: JudgePolicy, seen: tuple[_Fold, EvidenceRun | None, set[tuple[str, Verdict]]] | None = None
    ) -> None:
        """`seen`: what another one knows; see `branch`."""
        self._policy = policy
        self._fold, self._newest, self._witnessed = seen or (
            _Fold(policy),
            None,
            set(),
        )  # the last: what it may witness, of which targets

    def see(self, run: EvidenceRun) -> None:
        self._fold.see(run)
        self._newest = run
        if run.evidence.seen in ACCEPTING:
            self._witnessed |= {(run.evidence.target, Verdict.DOWN), (run.evidence.target, Verdict.LYING)}
        elif Sign.STANDS in run.evidence.signs:
            self._witnessed.add((run.evidence.target, Verdict.DOWN))

    def branch(self) -> Judging:
        """Another one that has seen the same."""
        return Judging(self._policy, (self._fold.branch(), self._newest, set(self._witnessed)))

    def view(self, now: datetime) -> VantageView | None:
        """What is to be concluded now; None where nothing was seen."""
        newest, fold, policy = self._newest, self._fold, self._policy
        if newest is None:
            return None
        verdict, since_at, reasons = fold.verdict, fold.since_at, (newest.evidence.text,)
        if now - newest.last_at > policy.stale_after:
            verdict, since_at = Verdict.UNKNOWN, newest.last_at + policy.stale_after
            reasons = (f"nothing was seen for {_spoken(now - newest.last_at)}; the last was: {newest.evidence.text}",)
        elif newest.last_at - now > policy.stale_after:
            verdict, since_at, reasons = Verdict.UNKNOWN, now, ("the clock went back: the newest evidence lies in the future",)
        elif verdict in {Verdict.DOWN, Verdict.LYING} and (newest.evidence.target, verdict) not in self._witnessed:
            verdict = Verdict.UNKNOWN
            reasons = (
                f"it has never seen {newest.evidence.target or 'this server'} up, so it is no witness: {newest.evidence.text}",
            )
        blocked = newest.evidence.seen in {ProbeClass.PROBE_BLOCKED, ProbeClass.BANNED}
        taking = fold.taking_since_at if verdict is Verdict.UP else None
        lying = fold.lying_since_at if verdict is Verdict.LYING else None
        degraded = newest.evidence.seen is ProbeClass.DEGRADED
        return VantageView(
            newest.evidence.vantage,
            verdict,
            since_at,
            newest.last_at,
            reasons,
            newest.evidence.axis,
            blocked,
            taking,
            lying,
            degraded,
            Sign.ANSWERED in newest.evidence.signs,
            _port_works(newest.evidence),
        )


def judge_all(history: Iterable[EvidenceRun], now: datetime, policy: JudgePolicy) -> tuple[VantageView, ...]:
    """One view for every (axis, vantage) in the history of one server, sorted."""
    groups: dict[tuple[Axis, str], list[EvidenceRun]] = {}
    for run in history:
        groups.setdefault((run.evidence.axis, run.evidence.vantage), []).append(run)
    views = (judge(groups[pair], now, policy) for pair in sorted(groups))
    return tuple(view for view in views if view is not None)


class _Fold:
    """Walks the runs from the oldest to the newest and knows the verdict at the end of each."""

    def __init__(self, policy: JudgePolicy) -> None:
        self._policy = policy
        self._last_at: datetime | None = None
        self._target = ""
        self._failing_since: datetime | None = None  # nothing but FAILING since then
        self._hard_since: datetime | None = None  # nothing but down and lying since then
        self.verdict = Verdict.UNKNOWN
        self.since_at: datetime | None = None
        self.taking_since_at: datetime | None = None
        self.lying_since_at: datetime | None = None

    def branch(self) -> _Fold:
        other = _Fold(self._policy)
        other.__dict__.update(self.__dict__)
        return other

    def see(self, run: EvidenceRun) -> None:
        gap = self._last_at is not None and run.first_at - self._last_at > self._policy.stale_after
        if gap or run.evidence.target != self._target:
            self._failing_since = self._hard_since = self.since_at = self.taking_since_at = self.lying_since_at = None
        self._last_at, self._target = run.last_at, run.evidence.target
        seen = run.evidence.seen
        self.lying_since_at = (self.lying_since_at or run.first_at) if seen is ProbeClass.LYING else None
        if seen not in FAILING:
            self._failing_since = self._hard_since = None
            self.taking_since_at = (self.taking_since_at or run.first_at) if seen in ACCEPTING else None
            self._conclude(Verdict.UP if seen in ACCEPTING else Verdict.UNKNOWN, run.first_at)
            return
        self._failing_since = self._failing_since or run.first_at
        hard = seen is not ProbeClass.DEGRADED
        self._hard_since = (self._hard_since or run.first_at) if hard else None
        verdict = Verdict.LYING if seen is ProbeClass.LYING else Verdict.DOWN
        if run.last_at - self._failing_since >= self._policy.down_for:
            self.verdict, self.since_at, self.taking_since_at = verdict, self._failing_since, None
        elif self._hard_since is not None:
            self.verdict, self.since_at, self.taking_since_at = verdict, self._hard_since, None
        else:
            self._conclude(Verdict.UP, run.first_at)

    def _conclude(self, verdict: Verdict, first_at: datetime) -> None:
        if verdict is not self.verdict or self.since_at is None:
            self.since_at = first_at
        self.verdict = verdict


def _port_works(evidence: Evidence) -> bool | None:
    return False if Sign.PORT_25_BLOCKED in evidence.signs else True if Sign.PORT_25_WORKS in evidence.signs else None


def _spoken(duration: timedelta) -> str:
    minutes = int(duration.total_seconds() // 60)
    if minutes < 2:
        return f"{int(duration.total_seconds())} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
