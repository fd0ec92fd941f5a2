"""What is due. Pure: duties and what is known of their last runs in, names in the order to do them out.

Nothing is kept in memory: a restart neither skips nor repeats. Runs that were missed while the machine was off collapse into one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from typing import Any

# After a run that failed or was killed; doubled for each further failure, up to the duty's own interval.
FIRST_RETRY = timedelta(seconds=30)
SELDOM = 12  # counted as so many failures: a run that is not worth repeating within some 17 hours
LONGEST_SEARCH = timedelta(days=2)  # a daily window opens within that, whatever the clocks do


@dataclass(frozen=True, slots=True)
class Window:
    """When in the day a duty may begin, in local time; it may pass midnight. Equal ends mean the whole day."""

    begin: time
    end: time

    def holds(self, moment: time) -> bool:
        if self.begin < self.end:
            return self.begin <= moment < self.end
        return moment >= self.begin or moment < self.end

    def __str__(self) -> str:
        return f"{self.begin:%H:%M}-{self.end:%H:%M}"


@dataclass(frozen=True, slots=True)
class Duty:
    """A piece of work that is repeated. `name` is the row it is remembered under: "backup:vps", "check:offsite", "doctor"."""

    name: str
    every: timedelta
    rank: int = 0  # of several that are due, the lowest goes first
    heavy: bool = True  # only one heavy duty at a time: the NAS has other work
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class LastRun:
    """What is known of a duty. All None: it never ran. `failures` counts the runs since the last good one."""

    started_at: datetime | None = None
    ended_at: datetime | None = None
    ok_at: datetime | None = None
    failures: int = 0
    moved_at: datetime | None = None  # of a run that takes long: when it last got on

    @classmethod
    def of(
        cls, started_at: datetime | None, ended_at: datetime | None, ok_at: datetime | None, details: Mapping[str, Any]
    ) -> LastRun:
        """From a row of the duty table."""
        moved_at = details.get("moved_at")
        moved = None if moved_at is None else datetime.fromisoformat(moved_at)
        return cls(started_at, ended_at, ok_at, int(details.get("failures", 0)), moved)

    @property
    def is_open(self) -> bool:
        """It began and its end was never written: it is running, or it was killed."""
        return self.started_at is not None and (self.ended_at is None or self.ended_at < self.started_at)

    @property
    def is_failed(self) -> bool:
        return self.ended_at is not None and not self.is_open and (self.ok_at is None or self.ok_at < self.ended_at)


NEVER = LastRun()


def next_due_at(duty: Duty, last: LastRun, now: datetime, zone: tzinfo) -> datetime:
    """When the duty should begin next; `now` where it is late, where it never ran, and where its last run lies in the future."""
    if last.started_at is None or last.started_at > now:
        return _opening(duty, now, zone)
    wait = duty.every
    if last.is_open:
        wait = min(FIRST_RETRY, duty.every)
    elif last.is_failed and last.failures == 0:  # stopped on purpose, or tried by a person: no reason to wait
        wait = timedelta()
    elif last.is_failed:
        wait = min(FIRST_RETRY * 2 ** min(last.failures - 1, 16), duty.every)
    return _opening(duty, max(last.started_at + wait, now), zone)


def plan_due(
    duties: Iterable[Duty], last: Mapping[str, LastRun], now: datetime, zone: tzinfo, *, running: Collection[str] = ()
) -> tuple[Duty, ...]:
    """What to begin now, in order. At most one heavy duty, and none while one is running; light ones at once.

    Among those of one rank the one that has waited longest is first, so that no server starves another.
    """
    duties = tuple(duties)
    names = set(running)
    due = [duty for duty in duties if duty.name not in names and next_due_at(duty, last.get(duty.name, NEVER), now, zone) <= now]
    due.sort(key=lambda duty: (duty.rank, _waited_since(last.get(duty.name, NEVER), now), duty.name))
    busy = any(duty.heavy and duty.name in names for duty in duties)
    chosen: list[Duty] = []
    for duty in due:
        if duty.heavy and busy:
            continue
        chosen.append(duty)
        busy = busy or duty.heavy
    return tuple(chosen)


def wake_at(duties: Iterable[Duty], last: Mapping[str, LastRun], now: datetime, zone: tzinfo) -> datetime | None:
    """The earliest moment at which a duty will be due; None without duties."""
    return min((next_due_at(duty, last.get(duty.name, NEVER), now, zone) for duty in duties), default=None)


def _waited_since(last: LastRun, now: datetime) -> datetime:
    return datetime.min.replace(tzinfo=now.tzinfo) if last.started_at is None else last.started_at


def _opening(duty: Duty, at: datetime, zone: tzinfo) -> datetime:
    """`at`, or the first moment after it at which the duty's window is open."""
    if duty.window is None or duty.window.holds(at.astimezone(zone).time()):
        return at
    moment = at.replace(second=0, microsecond=0)
    for _ in range(int(LONGEST_SEARCH / timedelta(minutes=1))):
        moment += timedelta(minutes=1)
        if duty.window.holds(moment.astimezone(zone).time()):
            return moment
    return moment  # not reached: every window is open for at least a minute a day
