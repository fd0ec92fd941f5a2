"""Which duties are late. Pure. An overdue duty is red whatever the others say, and silences the heartbeat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from failsafe.backup.due import NEVER, Duty, LastRun

ALLOWANCE = timedelta(minutes=30)  # for the work itself and for waiting behind another heavy duty
ON_COURSE = timedelta(hours=1)  # a long run that got on within that is not late; restic may be silent for 45 minutes
NOT_LATER: Mapping[str, datetime | None] = MappingProxyType({})
WINDOW_ALLOWANCE = timedelta(days=1)  # a duty with a window may have missed today's by a minute


@dataclass(frozen=True, slots=True)
class Overdue:
    """A duty that has not gone well for too long. `ok_at` None: it never has."""

    name: str
    ok_at: datetime | None
    deadline_at: datetime

    def late_by(self, now: datetime) -> timedelta:
        return now - self.deadline_at


def deadline_at(duty: Duty, ok_at: datetime) -> datetime:
    """Until when the next good run must have ended: one interval may be missed, two may not."""
    return ok_at + duty.every * 2 + ALLOWANCE + (WINDOW_ALLOWANCE if duty.window is not None else timedelta())


def is_on_course(run: LastRun, now: datetime) -> bool:
    """Whether a run is under way and got on lately."""
    return run.is_open and run.moved_at is not None and timedelta() <= now - run.moved_at <= ON_COURSE


def judge_freshness(
    duties: Iterable[Duty],
    last: Mapping[str, LastRun],
    now: datetime,
    known_since: datetime | None,
    begun: Mapping[str, datetime | None] = NOT_LATER,
) -> tuple[Overdue, ...]:
    """Every overdue duty, in the order given.

    `known_since` is when this controller began to work: a duty that never went well is measured from then, so that a fresh
    installation is not red at once, and a backup that never worked does not stay green for ever. None: nothing has ever run.
    `begun`: duties that could be done only from then on, None: not yet; a new repository is not late on its first day.
    A last good run in the future (the clock went back) counts as never.
    """
    late = []
    for duty in duties:
        run = last.get(duty.name, NEVER)
        if is_on_course(run, now):
            continue  # a first upload takes days, and is on course
        ok_at = run.ok_at
        if ok_at is not None and ok_at > now + ALLOWANCE:
            ok_at = None
        since = ok_at if ok_at is not None else begun.get(duty.name, known_since)
        if since is None:
            continue
        if (deadline := deadline_at(duty, since)) < now:
            late.append(Overdue(duty.name, ok_at, deadline))
    return tuple(late)


def may_send_heartbeat(
    duties: Iterable[Duty],
    last: Mapping[str, LastRun],
    now: datetime,
    known_since: datetime | None,
    begun: Mapping[str, datetime | None] = NOT_LATER,
) -> bool:
    """True only while every duty is fresh and has gone well at least once: silence is how the outside learns that we are not well.

    What begins later, in `begun`, may wait for its first time as long as it is not late.
    """
    duties = tuple(duties)
    never = any(last.get(duty.name, NEVER).ok_at is None for duty in duties if duty.name not in begun)
    return not never and not judge_freshness(duties, last, now, known_since, begun)
