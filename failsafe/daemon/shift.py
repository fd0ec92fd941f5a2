"""One shift of work: everything that follows from one configuration, from taking the lease to giving it back. `run` and `tick` both drive it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta

from failsafe.app import App
from failsafe.daemon.people import People
from failsafe.daemon.watch import Watch
from failsafe.domains import Domains
from failsafe.errors import FailsafeError
from failsafe.events import Event
from failsafe.logs import get_log
from failsafe.store.lease import Lease

RENEW_SHARED = timedelta(minutes=1)  # a shared database: others wait for the lease to expire, after three minutes
RENEW_ALONE = timedelta(days=1)  # an SQLite file has one controller, kept alone by a lock: its disk may sleep
RETRY_LEASE = timedelta(seconds=30)
TIDY_EVERY = timedelta(days=1)


class Shift:
    """Steps are quick; what takes time is under way in threads. Raises nothing from `step`."""

    def __init__(self, app: App, started_at: datetime, *, announce: bool = True) -> None:
        self.app = app
        self.started_at = started_at
        self._announce = announce  # a tick from cron begins every minute: that is no news
        self.domains = Domains(app, None, started_at, watching=True)
        self.watch = Watch(app, self.domains)
        self.people = People.of(app)
        self._telling = ThreadPoolExecutor(1, thread_name_prefix="people")
        self._told: Future[None] | None = None
        self._lease_at: datetime | None = None
        self._tidied_at: datetime | None = None
        self.led = False  # whether it ever held the lease

    @property
    def lease(self) -> Lease | None:
        return self.domains.lease

    def step(self, now: datetime) -> None:
        """Everything that is due but long jobs. Never raises: one fault must not stop the rest."""
        self._do(now, self._keep_lease, self.watch.step, self._tell, self._tidy)

    def step_without_looks(self, now: datetime) -> None:
        """For a pass that ends: goes on with what was begun."""
        self._do(now, self._decide, self._tell)

    def _do(self, now: datetime, *parts: Callable[[datetime], None]) -> None:
        for part in parts:
            try:
                part(now)
            except FailsafeError as error:
                get_log().error("tick", part=part.__name__.strip("_"), error=str(error), mend=error.mend)
            except Exception as error:  # noqa: BLE001 - the ticker never dies of one of its parts
                get_log().error("tick", part=part.__name__.strip("_"), kind=type(error).__name__, exc_info=error)

    def wait_for_people(self, seconds: float) -> None:
        """Until what is being told has been told, for a pass that ends."""
        if self._told is not None:
            try:
                self._told.result(seconds)
            except TimeoutError:
                get_log().warning("tick", part="tell", error="notices are still being sent")

    def close(self, now: datetime) -> None:
        """Finishes what is under way, writes what is only in memory, gives the lease back."""
        self.watch.finish(now)
        self._telling.shutdown(wait=True, cancel_futures=True)
        if self.lease is not None and self.app.config.controller.database != "sqlite":
            self.app.leases.release(self.lease, now)
        self.domains.take(None)

    def _decide(self, now: datetime) -> None:
        self.watch.step(now, looks=False)

    # -- parts -----------------------------------------------------------------------------------------------------------

    def _keep_lease(self, now: datetime) -> None:
        every = RENEW_ALONE if self.app.config.controller.database == "sqlite" else RENEW_SHARED
        wait = every if self.lease is not None else RETRY_LEASE
        if self._lease_at is not None and timedelta(0) <= now - self._lease_at < wait:
            return
        self._lease_at = now
        before, lease = self.lease, self.app.leases.acquire(self.app.holder, now)
        self.app.history.following = lease is None  # two controllers have one name for what each sees from where it is
        if lease == before:
            return
        self.domains.take(lease)
        self.led = self.led or lease is not None
        if lease is None:
            get_log().warning("lease", text="another controller leads; this one only watches")
        elif before is None and self._announce:
            self.app.record(Event("controller.started", self.app.config.controller.id, "leads, and watches from now on", now))

    def _tell(self, now: datetime) -> None:
        if self._told is not None and not self._told.done():
            return
        if self._told is not None and (error := self._told.exception()) is not None:
            get_log().error("people", kind=type(error).__name__, exc_info=error)
        self._told = self._telling.submit(self.people.step, now, leader=self.lease is not None)

    def _tidy(self, now: datetime) -> None:
        if self._tidied_at is None:
            row = self.app.duties.all().get("tidy")
            self._tidied_at = row.ended_at if row is not None and row.ended_at is not None else now - TIDY_EVERY
        if timedelta(0) <= now - self._tidied_at < TIDY_EVERY:
            return
        self._tidied_at = now
        self.app.events.tidy(now)
        self.app.history.tidy(now)
        self.app.vitals.tidy(now)
        self.app.duties.ended("tidy", now, ok=True)
