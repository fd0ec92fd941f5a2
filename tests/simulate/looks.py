"""When each vantage looks: once in every interval, at the moment that the real jitter gives it. Any stretch of looks is known without walking it."""

from __future__ import annotations

from datetime import datetime, timedelta

from failsafe.failover.delivery import CANARY, INSIDE
from failsafe.failover.rounds import Probe, next_run_at
from failsafe.model import Axis
from tests.simulate.engine import START

SERVER, TARGET = "vps", "mail.example.org:25"


def axis_of(looker: str) -> Axis:
    return Axis.DELIVERY if looker in (CANARY, INSIDE) else Axis.INBOUND


class Looks:
    """The looks of one vantage, numbered; look `n` comes 0.8 to 1.2 intervals after the beginning of slot `n`."""

    def __init__(self, machine: str, vantage: str, interval: timedelta) -> None:
        self._name = f"{SERVER}/{vantage}/{axis_of(vantage)} by {machine}"
        self._interval = interval
        self._known: dict[int, datetime] = {}  # asked for again and again

    def at(self, number: int) -> datetime:
        if number not in self._known:
            begun = START + number * self._interval
            self._known[number] = next_run_at(Probe(self._name, self._interval, begun), begun)
        return self._known[number]

    def first_after(self, when: datetime) -> int:
        """The number of the first look later than `when`."""
        number = (when - START) // self._interval - 2
        while self.at(number) <= when:
            number += 1
        return number

    def last_until(self, when: datetime) -> int:
        """The number of the last look not later than `when`."""
        return self.first_after(when) - 1
