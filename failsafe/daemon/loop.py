"""`failsafe run`: one never-raising ticker, driven by `schedule`, that sleeps until something is due, a look or a child ends, or a signal comes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import schedule

from failsafe.adapters.lock import FileLock, LockBusy
from failsafe.app import App
from failsafe.clock import SystemClock
from failsafe.daemon import systemd
from failsafe.daemon.jobs import Jobs
from failsafe.daemon.shift import Shift
from failsafe.daemon.waking import Waker
from failsafe.errors import ConfigError, FailsafeError, Interrupted
from failsafe.events import Event
from failsafe.logs import get_log

if TYPE_CHECKING:
    from failsafe.web.server import WebServer

DAEMON_LOCK = "daemon"  # held by `run` for its life, by `tick` while it watches and decides
JOBS_LOCK = "jobs"  # held by whoever starts long jobs
WHAT_RUN = "failsafe run"
MIGRATED = "FAILSAFE_MIGRATED"  # set when the program has begun anew after a migration, so that it does so once
LONGEST_SLEEP = 15.0  # seconds; a manual backup, a changed clock or a resumed laptop is noticed within that
SHORTEST_SLEEP = 0.05  # a failover is decided the moment its wait is over
BUSY_SLEEP = 0.5  # while looks, decisions or children are under way; when one ends, the sleep does
JOBS_EVERY = timedelta(seconds=5)  # how often the database is asked what is due
OTHER_JOBS_WAIT = 2.0  # seconds for a `tick` that is just ending


class Daemon:
    """Owns the locks, the signals and the shift; a shift ends with a reload and a new one begins."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._clock = SystemClock()
        self._started_at = self._clock.now()
        self._scheduler = schedule.Scheduler()
        self._stop_signal: int | None = None
        self._reload = False
        self._jobs_at: datetime | None = None
        self._beat_at = 0.0
        self._locks = contextlib.ExitStack()
        self._may_start_jobs = False
        self._web: WebServer | None = None
        self._waker = Waker()

    def run(self) -> None:
        """Until SIGTERM (returns) or SIGINT (Interrupted). Raises LockBusy where another one runs, StoreError, SchemaMismatch."""
        with self._locks, FileLock(self._app.lock_file(DAEMON_LOCK), WHAT_RUN).hold(wait_seconds=OTHER_JOBS_WAIT):
            if migrate(self._app, self._started_at) and MIGRATED not in os.environ:
                self._begin_anew()
            self._use(Shift(self._app, self._started_at))
            self._jobs = Jobs(self._app)
            self._start_web()
            with _signals(self._on_signal, self._waker):
                self._scheduler.every(1).seconds.do(self._tick)
                self._tick()
                systemd.notify("READY=1")
                while self._stop_signal is None:
                    self._waker.sleep(self._seconds_to_sleep())
                    self._scheduler.run_all()  # whatever ended the sleep (an ended child, a signal, the time) is looked at now
            self._end()
        if self._stop_signal == signal.SIGINT:
            raise Interrupted("stopped; nothing is left half-done")

    # -- the ticker ------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Never raises: `schedule` forgets the jobs after one that does."""
        try:
            if self._reload:
                self._reload = False
                self._new_shift()
            now = self._clock.now()
            self._shift.step(now)
            self._step_jobs(now)
            self._beat()
        except FailsafeError as error:
            get_log().error("tick", error=str(error), mend=error.mend)
        except Exception as error:  # noqa: BLE001 - the ticker outlives every fault of its parts
            get_log().error("tick", kind=type(error).__name__, exc_info=error)

    def _step_jobs(self, now: datetime) -> None:
        ended = self._jobs.poll(now)
        if ended:
            self._shift.watch.forget_decision_times()  # what a backup or the doctor found counts from now on
        if not ended and self._jobs_at is not None and timedelta(0) <= now - self._jobs_at < JOBS_EVERY:
            return
        self._jobs_at = now
        if self._shift.lease is not None and self._take_jobs_lock():
            self._jobs.start_due(now)

    def _take_jobs_lock(self) -> bool:
        """Once taken it is kept; a `tick` from cron may still be waiting for its jobs when we start."""
        if not self._may_start_jobs:
            try:
                self._locks.enter_context(FileLock(self._app.lock_file(JOBS_LOCK), WHAT_RUN).hold())
            except LockBusy:
                return False
            self._may_start_jobs = True
        return True

    def _seconds_to_sleep(self) -> float:
        if self._stop_signal is not None:
            return 0.0
        longest = BUSY_SLEEP if self._shift.watch.busy or self._jobs.running else LONGEST_SLEEP
        now = self._clock.now()
        wakes = [at for at in (self._shift.watch.wake_at(now),) if at is not None]
        seconds = min([(at - now).total_seconds() for at in wakes], default=longest)
        return min(max(seconds, SHORTEST_SLEEP), longest, systemd.watchdog_seconds() or longest)

    def _beat(self) -> None:
        every = systemd.watchdog_seconds()
        if every is not None and self._clock.monotonic() - self._beat_at >= every / 2:
            self._beat_at = self._clock.monotonic()
            systemd.notify("WATCHDOG=1")

    def _begin_anew(self) -> None:
        """The same program once more: migrating takes a library of some 15 MB that a daemon would keep for months. The lock is taken anew."""
        self._app.unchecked_store.close()
        argv = [sys.executable, "-m", "failsafe", "--config", str(self._app.config_file), "run"]
        os.execve(sys.executable, argv, {**os.environ, MIGRATED: "1"})  # noqa: S606 - our own program, no shell wanted

    def _use(self, shift: Shift) -> None:
        self._shift = shift
        shift.watch.nudge = self._waker.nudge

    # -- beginning and ending --------------------------------------------------------------------------------------------

    def _start_web(self) -> None:
        if self._app.config.web is None:
            return
        from failsafe.web.server import WebServer

        try:
            self._web = WebServer(self._app)
            self._web.start()
        except FailsafeError as error:
            self._web = None
            get_log().error("web", error=str(error), mend=error.mend)  # the dashboard is missed less than the watching

    def _new_shift(self) -> None:
        """SIGHUP: the configuration is read again; one that cannot be used changes nothing."""
        from failsafe.config.load import load_config

        old = self._app
        try:
            config = load_config(old.config_file)
        except ConfigError as error:
            get_log().error("reload", error=str(error), text="the configuration in use stays")
            return
        if (config.controller, config.web) != (old.config.controller, old.config.web):
            get_log().error(
                "reload", error="[controller] or [web] changed", mend="restart failsafe; the configuration in use stays"
            )
            return
        now, app = self._clock.now(), App(config, old.config_file)
        try:
            shift = Shift(app, now)
        except FailsafeError as error:  # before the old one ends: there is always one that watches
            get_log().error("reload", error=str(error), text="the configuration in use stays")
            return
        try:
            self._shift.close(now)
        except FailsafeError as error:
            get_log().error("reload", error=str(error), text="what the last looks saw could not be written")
        self._use(shift)
        self._app, self._jobs = app, self._jobs.with_app(app)
        if self._web is not None:
            self._web.use(app)
        old.store.close()
        get_log().info("reload", text="the new configuration is in use")

    def _end(self) -> None:
        systemd.notify("STOPPING=1")
        if self._web is not None:
            self._web.stop()
        self._jobs.stop(self._clock.now())
        led = self._shift.lease is not None
        self._shift.close(self._clock.now())
        if led:
            with contextlib.suppress(FailsafeError):
                controller = self._app.config.controller.id
                self._app.record(
                    Event("controller.stopped", controller, "stopped cleanly; nobody watches now", self._clock.now())
                )
        self._app.store.close()

    def _on_signal(self, number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            self._reload = True
        elif number in (signal.SIGTERM, signal.SIGINT):
            self._stop_signal = number


def migrate(app: App, now: datetime) -> bool:
    """Under the daemon's lock only. True if anything was done."""
    found = app.unchecked_store.revision()
    done = app.unchecked_store.upgrade(now)
    if done and found is not None:
        app.record(
            Event("schema.upgraded", app.config.controller.id, f"the database was migrated from {found}; a copy was kept", now)
        )
    return done


@contextmanager
def _signals(handler: object, waker: Waker) -> Iterator[None]:
    """Installs the handlers; every signal ends a sleep (a flag alone would wait for its end)."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    before = {number: signal.signal(number, handler) for number in numbers}  # type: ignore[arg-type]
    old = signal.set_wakeup_fd(waker.open(), warn_on_full_buffer=False)
    try:
        yield
    finally:
        signal.set_wakeup_fd(old)
        for number, previous in before.items():
            signal.signal(number, previous)
        waker.close()
