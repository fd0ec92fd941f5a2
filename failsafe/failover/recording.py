"""What was recorded of a server over a stretch of time: how much of it was seen, and what it says, in hindsight, of a flip. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta

from failsafe.failover.health import ACCEPTING, FAILING, STALE_AFTER_INTERVALS, EvidenceRun

REAL, FALSE, UNPROVEN = "real", "false", "unproven"
MEANING = (
    "false: the recording shows that it was not the primary: another vantage saw it take mail while those that voted still said down, or our own line was down",
    "real: two vantages or more said down, and nothing recorded says otherwise",
    "unproven: one vantage alone said down; nobody else looked, so nobody can know",
)
GAPS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class LineRun:
    """Our own line, the same from `first_at` to `last_at`."""

    up: bool
    answered: int
    asked: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Recording:
    """Evidence of inbound mail of one server, by `first_at`, and of our own line. `cut`: more was recorded than is read."""

    server: str
    runs: tuple[EvidenceRun, ...]
    lines: tuple[LineRun, ...]
    since: datetime
    until: datetime
    cut: bool = False

    @property
    def vantages(self) -> tuple[str, ...]:
        return tuple(sorted({run.evidence.vantage for run in self.runs if run.last_at >= self.since}))


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of one vantage: shares of the time, and where nothing was seen, the longest first."""

    vantage: str
    known: float  # 0…1: it said something
    unknown: float  # it looked, and could not tell
    gaps: tuple[tuple[datetime, datetime], ...]


def judge_coverage(recording: Recording, interval: timedelta) -> tuple[Coverage, ...]:
    """How much of the time each vantage looked. Two looks further apart than a verdict lasts have a gap between them."""
    whole = (recording.until - recording.since) / timedelta(seconds=1)
    return tuple(_coverage(recording, vantage, interval, max(whole, 1.0)) for vantage in recording.vantages)


def _coverage(recording: Recording, vantage: str, interval: timedelta, whole: float) -> Coverage:
    known = unknown = 0.0
    gaps: list[tuple[datetime, datetime]] = []
    reached = recording.since
    stale = interval * STALE_AFTER_INTERVALS
    for run in (run for run in recording.runs if run.evidence.vantage == vantage and run.last_at >= recording.since):
        if run.first_at - reached > stale:
            gaps.append((reached, run.first_at))
            reached = run.first_at
        end = min(run.last_at, recording.until)
        seconds = max((end - reached) / timedelta(seconds=1), 0.0)
        says = run.evidence.seen in ACCEPTING or run.evidence.seen in FAILING
        known, unknown = known + seconds * says, unknown + seconds * (not says)
        reached = max(reached, end)
    if recording.until - reached > stale:
        gaps.append((reached, recording.until))
    longest = sorted(gaps, key=lambda gap: gap[0] - gap[1])
    return Coverage(vantage, known / whole, unknown / whole, tuple(longest))


class Hindsight:
    """Judges flips by all that was recorded. What lies around a flip is looked up, so that each costs the same however long the recording is."""

    def __init__(self, recording: Recording, interval: timedelta) -> None:
        self._interval = interval
        self._runs = {name: [run for run in recording.runs if run.evidence.vantage == name] for name in recording.vantages}
        self._starts = {name: [run.first_at for run in runs] for name, runs in self._runs.items()}
        self._down = [line for line in recording.lines if not line.up]
        self._down_ends = [line.last_at for line in self._down]

    def judge(self, since: datetime, at: datetime) -> tuple[str, str]:
        """(real | false | unproven, why) of a failover at `at` for an outage that was first seen at `since`."""
        line = self._line_down(since, at)
        if line is not None:
            answered = f"{line.answered} of {line.asked} references answered"
            return FALSE, f"our own line was down at {line.first_at:%Y-%m-%d %H:%M} UTC ({answered})"
        found = {vantage: self._down_until(vantage, at) for vantage in self._runs}
        voters = {vantage: end for vantage, end in found.items() if end is not None}
        for vantage, end in voters.items():
            seen = self._seen_up(vantage, since + 2 * self._interval, end - 2 * self._interval)
            if seen is not None:
                when, other = seen
                return (
                    FALSE,
                    f"{other} saw it take mail at {when:%Y-%m-%d %H:%M} UTC, while {vantage} said down until {end:%H:%M}",
                )
        if len(voters) > 1:
            return REAL, f"{' and '.join(voters)} said down, and nobody saw it up"
        return UNPROVEN, f"{', '.join(voters) or 'one vantage'} alone said down"

    def _line_down(self, since: datetime, at: datetime) -> LineRun | None:
        place = bisect_left(self._down_ends, since)
        return self._down[place] if place < len(self._down) and self._down[place].first_at <= at else None

    def _down_until(self, vantage: str, at: datetime) -> datetime | None:
        """The last failing look of the stretch in which `at` lies; None where this vantage did not fail then."""
        runs, place = self._runs[vantage], bisect_right(self._starts[vantage], at) - 1
        if place < 0 or runs[place].evidence.seen not in FAILING:
            return None
        while place + 1 < len(runs) and runs[place + 1].evidence.seen in FAILING:
            place += 1
        end = runs[place].last_at
        return end if end + self._interval * STALE_AFTER_INTERVALS >= at else None

    def _seen_up(self, but: str, begin: datetime, end: datetime) -> tuple[datetime, str] | None:
        """When another vantage first saw it up in that time, and which."""
        others = (name for name in self._runs if name != but)
        found = ((when, name) for name in others if (when := self._first_up(name, begin, end)) is not None)
        return min(found, default=None)

    def _first_up(self, vantage: str, begin: datetime, end: datetime) -> datetime | None:
        runs, place = self._runs[vantage], max(0, bisect_right(self._starts[vantage], begin) - 1)
        while place < len(runs) and runs[place].first_at <= end:
            if runs[place].evidence.seen in ACCEPTING and runs[place].last_at >= begin:
                return max(runs[place].first_at, begin)
            place += 1
        return None
