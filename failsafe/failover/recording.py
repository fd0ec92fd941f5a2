"""What was recorded of a server over a stretch of time: how much of it was seen, and what it says, in hindsight, of a flip. Pure."""

from __future__ import annotations

from collections.abc import Iterable
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


def judge_flip(recording: Recording, since: datetime, at: datetime, interval: timedelta) -> tuple[str, str]:
    """(real | false | unproven, why) of a failover at `at` for an outage that was first seen at `since`, from all that was recorded since."""
    line = next((line for line in recording.lines if not line.up and line.first_at <= at and line.last_at >= since), None)
    if line is not None:
        return (
            FALSE,
            f"our own line was down at {line.first_at:%Y-%m-%d %H:%M} UTC ({line.answered} of {line.asked} references answered)",
        )
    stale = interval * STALE_AFTER_INTERVALS
    found = {vantage: _down_until(recording.runs, vantage, at, stale) for vantage in recording.vantages}
    voters = {vantage: end for vantage, end in found.items() if end is not None}
    for vantage, end in voters.items():
        seen = _seen_up(recording.runs, vantage, since + 2 * interval, end - 2 * interval)
        if seen is not None:
            other, when = seen
            return FALSE, f"{other} saw it take mail at {when:%Y-%m-%d %H:%M} UTC, while {vantage} said down until {end:%H:%M}"
    if len(voters) > 1:
        return REAL, f"{' and '.join(voters)} said down, and nobody saw it up"
    return UNPROVEN, f"{', '.join(voters) or 'one vantage'} alone said down"


def _down_until(runs: Iterable[EvidenceRun], vantage: str, at: datetime, stale: timedelta) -> datetime | None:
    """The last failing look of the stretch in which `at` lies; None where this vantage did not fail then."""
    end: datetime | None = None
    for run in (run for run in runs if run.evidence.vantage == vantage):
        if run.first_at > at and (end is None or run.evidence.seen not in FAILING):
            break
        end = run.last_at if run.evidence.seen in FAILING else None
    return end if end is not None and end + stale >= at else None


def _seen_up(runs: Iterable[EvidenceRun], but: str, begin: datetime, end: datetime) -> tuple[str, datetime] | None:
    for run in runs:
        if run.evidence.vantage != but and run.evidence.seen in ACCEPTING and run.last_at >= begin and run.first_at <= end:
            return run.evidence.vantage, max(run.first_at, begin)
    return None
