"""Looks from inside a mail server, over SSH while it is up: its room, queue, services, certificates, load, and what its mail log says.

One session answers both axes. Where nobody can log in nothing is known: a server that is down says so to the probes, not here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from failsafe.app import LOOK_SILENCE, App
from failsafe.canaries import read_book
from failsafe.errors import FailsafeError
from failsafe.failover.canary import looked_for_until, lost_from
from failsafe.failover.delivery import INSIDE, INSIDE_ROUNDS
from failsafe.looks.look import Look
from failsafe.model import Axis, Evidence, ProbeClass

if TYPE_CHECKING:
    from failsafe.failover.vitals import Vitals

LOG_SHARE = (
    1.5  # intervals: what a look tells of may have happened that long before it, when an earlier canary was taken and found
)
REMEMBERED = timedelta(days=1)  # a service that ran within this time and does not run now is missed


@dataclass(frozen=True, slots=True)
class Reading:
    """`seen` None where the server could not be asked; `why` says why."""

    at: datetime
    seen: Vitals | None
    why: str = ""


class Inside:
    """Both axes of one server, from one session. `interval` between sessions."""

    def __init__(self, app: App, server: str, interval: timedelta) -> None:
        self._app, self._server, self._interval = app, server, interval
        self._lock = threading.Lock()
        self._reading: Reading | None = None
        self._log_position = ""
        self._ran: dict[str, datetime] | None = None  # service -> when it was last seen to run

    @property
    def target(self) -> str:
        table = self._app.server(self._server)
        return str(table.ssh) if table.ssh is not None else "this machine"

    def host(self, now: datetime) -> Evidence:
        from failsafe.failover.vitals import judge_host

        reading = self._read(now, fresh=True)
        if reading.seen is None:
            return self._evidence(Axis.HOST, ProbeClass.UNKNOWN, reading.why, now)
        seen, text = judge_host(reading.seen, self._ran_before(reading), now)
        return self._evidence(Axis.HOST, seen, text, now)

    def delivery(self, now: datetime) -> Evidence:
        from failsafe.failover.vitals import judge_queue

        reading = self._read(now, fresh=False)
        if reading.seen is None:
            return self._evidence(Axis.DELIVERY, ProbeClass.UNKNOWN, reading.why, now)
        lost_from = self._lost_from(now)
        taken = None if lost_from is None else self._has_taken(lost_from, now)
        seen, text = judge_queue(reading.seen.queue, now, lost=lost_from is not None, taken=taken)
        return self._evidence(Axis.DELIVERY, seen, text, now)

    def _lost_from(self, now: datetime) -> datetime | None:
        table = self._app.config.canary.get(self._server)
        return None if table is None else lost_from(read_book(self._app.state_dir, self._server), now, table.every)

    def _has_taken(self, lost_from: datetime, now: datetime) -> bool | None:
        """Whether mail for the canary's address was taken here since, by the log. A look tells of the time since the one before it."""
        rows = self._app.vitals.since(self._server, INSIDE, lost_from + self._interval * LOG_SHARE)
        until = looked_for_until(now, self._app.config.canary[self._server].every)
        told = [row.numbers["log"].get("taken") for row in rows if row.at <= until and row.numbers.get("log")]
        known = [count for count in told if count is not None]
        return any(known) if known else None

    def _evidence(self, axis: Axis, seen: ProbeClass, text: str, now: datetime) -> Evidence:
        return Evidence(self._server, INSIDE, axis, seen, now, text, self.target)

    def _read(self, now: datetime, *, fresh: bool) -> Reading:
        """One session at a time. Not `fresh`: what the look before saw will do, if it is not older than an interval."""
        with self._lock:
            known = self._reading
            if known is None or (fresh and now > known.at) or not timedelta(0) <= now - known.at < self._interval * 1.5:
                self._reading = known = self._ask(now)
            return known

    def _ask(self, now: datetime) -> Reading:
        try:
            table = self._app.config.canary.get(self._server)
            awaited = () if table is None else (table.to,)
            seen = read_vitals(self._app, self._server, self._position(now), awaited)
        except FailsafeError as error:
            return Reading(now, None, f"nobody can look from inside: {error}")
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError) as error:
            return Reading(now, None, f"the program there gave an answer that makes no sense ({type(error).__name__})")
        if seen is None:
            return Reading(now, None, "the program installed there is older than this one: install it anew")
        self._keep(seen, now)
        return Reading(now, seen)

    def _keep(self, seen: Vitals, now: datetime) -> None:
        from failsafe.failover.vitals import to_row
        from failsafe.store.vitals import VitalRow

        if seen.log is not None:
            self._log_position = seen.log.position
        self._app.vitals.record(VitalRow(self._server, INSIDE, now, to_row(seen)))

    def _position(self, now: datetime) -> str:
        """Where the last look, perhaps before a restart, left the mail log."""
        if not self._log_position:
            row = self._app.vitals.newest(self._server, INSIDE)
            log = row.numbers.get("log") if row is not None and row.at <= now else None
            self._log_position = str(log["position"]) if log else ""
        return self._log_position

    def _ran_before(self, reading: Reading) -> frozenset[str]:
        assert reading.seen is not None
        if self._ran is None:
            rows = self._app.vitals.since(self._server, INSIDE, reading.at - REMEMBERED)
            self._ran = {name: row.at for row in rows for name in row.numbers.get("services", ())}
        before = frozenset(name for name, at in self._ran.items() if reading.at - at <= REMEMBERED)
        self._ran |= dict.fromkeys(reading.seen.services, reading.at)
        return before


def read_vitals(app: App, server: str, log_position: str, awaited: tuple[str, ...]) -> Vitals | None:
    """One session. `awaited`: addresses of which is told how many messages of the queue are for them. None where the program there is too old. Raises what the session raises, and what `parse_vitals` does."""
    from failsafe.backup.layouts import Wanted
    from failsafe.backup.source import open_source
    from failsafe.config.wanted import wanted_of
    from failsafe.failover.vitals import parse_vitals

    table = app.server(server)
    by_files = app.mail_source(server) is None
    wanted = wanted_of(table) if by_files else Wanted("maildir", "/" if table.path is None else str(table.path))
    with open_source(app.mail_host(server, silence=LOOK_SILENCE), wanted) as (session, _):
        return parse_vitals(session.all_vitals(log_position, awaited))


def can_look_inside(app: App, server: str) -> bool:
    """Over SSH. A mail server on this very machine is looked after by whoever looks after the machine."""
    return app.server(server).ssh is not None


def inside(app: App, server: str) -> Iterator[Look]:
    table = app.config.probe[server]
    if can_look_inside(app, server):
        interval = table.every * INSIDE_ROUNDS
        looker = Inside(app, server, interval)
        yield Look(server, Axis.HOST, interval, looker.host, looker.target, INSIDE)
        yield Look(server, Axis.DELIVERY, interval, looker.delivery, looker.target, INSIDE)
