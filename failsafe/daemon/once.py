"""`failsafe tick`: one pass of everything that is due, for cron. It watches and decides first, then starts due jobs and waits for them.

A tick that comes while an earlier one still waits for its jobs does everything but jobs. Kill it whenever you like: the locks are the
kernel's, and what is due is derived from what was written down.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from failsafe.adapters.lock import FileLock, LockBusy
from failsafe.app import App
from failsafe.daemon.jobs import Jobs
from failsafe.daemon.loop import DAEMON_LOCK, JOBS_LOCK, migrate
from failsafe.daemon.shift import Shift

WHAT_TICK = "failsafe tick"
WATCH_SECONDS = 240.0  # for looking and deciding; every part has shorter deadlines of its own
LOCK_WAIT = 20.0  # for an earlier tick that is still looking
START_EVERY = 5.0  # seconds between two looks at what is due, while jobs run


@dataclass(frozen=True, slots=True)
class TickReport:
    """What a pass did. `busy`: who was at work instead; then nothing was done here."""

    busy: str = ""
    looked: int = 0
    jobs: tuple[str, ...] = ()
    jobs_elsewhere: bool = False


def run_tick(app: App) -> TickReport:
    """Raises what opening the store raises; a busy daemon is no error."""
    clock = app.clock
    try:
        with FileLock(app.lock_file(DAEMON_LOCK), WHAT_TICK).hold(wait_seconds=LOCK_WAIT if _is_tick(app) else 0.0):
            migrate(app, clock.now())
            shift = Shift(app, clock.now(), announce=False)
            try:
                _watch(shift)
            finally:
                shift.close(clock.now())
            looked, leads = len(shift.watch.looked_at), shift.led
    except LockBusy as busy:
        return TickReport(busy=str(busy.holder) if busy.holder is not None else "another failsafe")
    if not leads:
        return TickReport(looked=looked)
    try:
        with FileLock(app.lock_file(JOBS_LOCK), WHAT_TICK).hold():
            return TickReport(looked=looked, jobs=_work(app))
    except LockBusy:
        return TickReport(looked=looked, jobs_elsewhere=True)


def _is_tick(app: App) -> bool:
    holder = FileLock(app.lock_file(DAEMON_LOCK)).holder()
    return holder is not None and holder.what == WHAT_TICK


def _watch(shift: Shift) -> None:
    """Looks once at everything that is due, decides until nothing is under way, tells people."""
    clock, deadline = shift.app.clock, time.monotonic() + WATCH_SECONDS
    shift.step(clock.now())
    while shift.watch.busy and time.monotonic() < deadline:
        time.sleep(0.1)
        shift.step_without_looks(clock.now())
    shift.wait_for_people(60.0)
    shift.step_without_looks(clock.now())  # what the last decisions have to say
    shift.wait_for_people(60.0)


def _work(app: App) -> tuple[str, ...]:
    """Each job once: what takes longer than the time to its next run would be due for ever, and the tick would never end.

    A snapshot across a network may take days: while it does, this tick is all there is, and goes on starting what comes due.
    """
    jobs, done = Jobs(app), dict[str, None]()
    try:
        while True:
            before = set(jobs.running)
            lasts = any(_is_snapshot(name) for name in before)
            jobs.start_due(app.clock.now(), except_for=[name for name in done if _is_snapshot(name) or not lasts])
            done |= dict.fromkeys(sorted(set(jobs.running) - before))
            if not jobs.running:
                return tuple(done)
            jobs.wait(START_EVERY)
            jobs.poll(app.clock.now())
    finally:
        jobs.stop(app.clock.now())


def _is_snapshot(duty: str) -> bool:
    return duty.startswith("snapshot:")
