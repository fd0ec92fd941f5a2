"""Exchanges that refuse a prober itself: from that place they are left alone for some days, by everything that would ask them.

To ask on is what gets a prober banned: then a primary that is well looks dead, and a secondary is of no use on the day it is needed. The memory is kept in
the database: the daemon, each `failsafe tick` and a doctor called by hand are processes of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from failsafe.adapters.sockets import Deadline
from failsafe.adapters.turns import turn
from failsafe.app import App
from failsafe.failover.rounds import ASKED_AGAIN_LATER, REFUSED_PROBER_PAUSE
from failsafe.looks.look import HERE
from failsafe.model import Axis, ProbeClass
from failsafe.store.duties import DutyRecord

Asked = TypeVar("Asked")

REFUSING = (ProbeClass.PROBE_BLOCKED, ProbeClass.BANNED)
LONGEST_WAIT = 120.0  # seconds, for others that ask the same exchange


class Refusals(Protocol):
    """Who refused a prober at one place."""

    def until(self, exchange: str, now: datetime) -> datetime | None:
        """Until when it is left alone; None where it may be asked."""
        ...

    def note(self, exchange: str, seen: ProbeClass, now: datetime) -> None:
        """Remembers a refusal, and that it is over."""
        ...


def refused_until(known: Mapping[str, DutyRecord], exchange: str, now: datetime, vantage: str = HERE) -> datetime | None:
    """Until when an exchange that refused this prober is left alone from there. `known`: the duties' rows."""
    row = known.get(_duty(exchange, vantage))
    if row is None or row.ended_at is None or row.details.get("seen") not in REFUSING:
        return None
    until = row.ended_at + REFUSED_PROBER_PAUSE
    return until if row.ended_at <= now < until else None


def note_exchange(app: App, exchange: str, seen: ProbeClass, now: datetime, vantage: str = HERE) -> None:
    """Remembers a refusal, and that it is over. Raises StoreError."""
    duty = _duty(exchange, vantage)
    refuses = seen in REFUSING
    if not refuses:
        known = app.duties.all().get(duty)
        if known is None or known.details.get("seen") not in REFUSING:
            return
    app.duties.ended(duty, now, ok=not refuses, result=str(seen), details={"seen": str(seen)})


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """Why an exchange was not asked. `until` None: others were asking it all the time."""

    until: datetime | None

    def __str__(self) -> str:
        if self.until is None:
            return "it is busy with another look of ours"
        return f"it refused this prober, and is left alone until {self.until:%Y-%m-%d %H:%M} UTC"


def ask_in_turn(
    app: App,
    exchange: str,
    now: datetime,
    ask: Callable[[], Asked],
    seen: Callable[[Asked], ProbeClass | None],
    *,
    server: str = "",
    vantage: str = HERE,
) -> Asked | LeftAlone:
    """What `ask` brings, unless the exchange refuses this prober: those of one run ask it one after the other, so that the first refusal is the last.

    `seen`: how the exchange took it. `server`: the mail server of ours that it leads to, under whatever name; its look asks twice a week by itself, and
    nobody else does meanwhile. Raises StoreError.
    """
    who = f"primary {server}" if server else exchange
    with turn(f"{vantage} asks {who}", Deadline(LONGEST_WAIT)) as mine:
        if not mine:
            return LeftAlone(None)
        untils = (refused_until(app.duties.all(), who, now, vantage), _look_refused_until(app, server, now, vantage))
        until = max((each for each in untils if each is not None), default=None)
        if until is not None:
            return LeftAlone(until)
        asked = ask()
        how = seen(asked)
        if how is not None:
            note_exchange(app, who, how, now, vantage)
        return asked


def _look_refused_until(app: App, server: str, now: datetime, vantage: str) -> datetime | None:
    """Where the look at a primary was refused the last time. When that is a week ago nobody looks any more."""
    newest = app.history.newest(server, vantage, Axis.INBOUND) if server else ()
    if not newest or newest[-1].evidence.seen not in REFUSING:
        return None
    until = newest[-1].last_at + ASKED_AGAIN_LATER
    return until if newest[-1].last_at <= now < until else None


class KeptRefusals:
    """Of one place, in the database. Its methods raise StoreError."""

    def __init__(self, app: App, vantage: str = HERE) -> None:
        self._app, self._vantage = app, vantage

    def until(self, exchange: str, now: datetime) -> datetime | None:
        return refused_until(self._app.duties.all(), exchange, now, self._vantage)

    def note(self, exchange: str, seen: ProbeClass, now: datetime) -> None:
        note_exchange(self._app, exchange, seen, now, self._vantage)


class RememberedRefusals:
    """Of one place, for as long as this process lives."""

    def __init__(self) -> None:
        self._refused_at: dict[str, datetime] = {}

    def until(self, exchange: str, now: datetime) -> datetime | None:
        at = self._refused_at.get(exchange)
        return None if at is None or not at <= now < at + REFUSED_PROBER_PAUSE else at + REFUSED_PROBER_PAUSE

    def note(self, exchange: str, seen: ProbeClass, now: datetime) -> None:
        if seen in REFUSING:
            self._refused_at[exchange] = now
        else:
            self._refused_at.pop(exchange, None)


def _duty(exchange: str, vantage: str) -> str:
    return f"exchange:{exchange}" if vantage == HERE else f"exchange:{exchange}@{vantage}"
