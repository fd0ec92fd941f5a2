"""Exchanges of secondaries that refuse a prober itself: from that place they are left alone for some days, by everything that would ask them.

To ask on is what gets a prober banned, and a secondary that has banned us is of no use on the day it is needed. The memory is kept in the database: the
daemon, each `failsafe tick` and a doctor called by hand are processes of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from failsafe.app import App
from failsafe.failover.rounds import REFUSED_PROBER_PAUSE
from failsafe.looks.look import HERE
from failsafe.model import ProbeClass
from failsafe.store.duties import DutyRecord

REFUSING = (ProbeClass.PROBE_BLOCKED, ProbeClass.BANNED)


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
