"""Senders: mail servers elsewhere that queue and try again, each with its own schedule, its own patience and a resolver that caches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain, repeat
from typing import TYPE_CHECKING

from failsafe.model import MxSet
from tests.simulate.scenario import AWAYS, MAILS, Letter

if TYPE_CHECKING:
    from tests.simulate.world import World

HOSTS_TRIED = 5  # Postfix: smtp_mx_address_limit


def _minutes(*counts: float) -> Iterator[timedelta]:
    return (timedelta(minutes=count) for count in counts)


def _postfix() -> Iterator[timedelta]:
    """minimal_backoff_time 300 s, doubled up to maximal_backoff_time 4000 s."""
    wait = 300
    while True:
        yield timedelta(seconds=wait)
        wait = min(wait * 2, 4000)


def _exim() -> Iterator[timedelta]:
    """`F,2h,15m; G,16h,1h,1.5; F,4d,6h` of its default configuration."""
    yield from _minutes(*[15] * 8)
    wait, gone = 60.0, 120.0
    while gone < 16 * 60:
        yield timedelta(minutes=wait)
        gone, wait = gone + wait, wait * 1.5
    yield from repeat(timedelta(hours=6))


def _exchange() -> Iterator[timedelta]:
    return chain(_minutes(*[1] * 4), _minutes(*[5] * 6), repeat(timedelta(minutes=10)))


@dataclass(frozen=True, slots=True)
class Schedule:
    waits: Callable[[], Iterator[timedelta]]
    patience: timedelta


SCHEDULES = {
    "postfix": Schedule(_postfix, timedelta(days=5)),
    "exim": Schedule(_exim, timedelta(days=4)),
    "microsoft": Schedule(_exchange, timedelta(hours=24)),
}


class Sender:
    """One message in somebody's queue. It ends as `delivered`, `bounced`, `expired` or `lost`."""

    def __init__(self, world: World, letter: Letter) -> None:
        self._world = world
        self.letter = letter
        self._waits = SCHEDULES[letter.sender].waits()
        self._cache: tuple[datetime, MxSet] | None = None
        self.ended = ""
        self.tries = 0

    def attempt(self) -> None:
        if self.ended:
            return
        world = self._world
        self.tries += 1
        found = self._resolve()
        answer = "later" if found is None else self._walk(found)
        if answer == "later":
            if world.engine.now - self.letter.at >= SCHEDULES[self.letter.sender].patience:
                self._end("expired")
            else:
                world.engine.after(next(self._waits), self.attempt)
            return
        self._end(answer)

    def _resolve(self) -> MxSet | None:
        """Through a cache that keeps the set for its TTL; None where no name server answers."""
        now = self._world.engine.now
        if self._cache is not None and now < self._cache[0]:
            return self._cache[1]
        found = self._world.zone.ask(self.letter.number + self.tries)
        if found is not None:
            self._cache = (now + timedelta(seconds=found.ttl_seconds or 300), found)
        return found

    def _walk(self, found: MxSet) -> str:
        """The best exchange first; the next where it cannot be reached or says 4xx. An empty set is no place to deliver to: lost."""
        if not found:
            return "lost: no MX record"
        for record in found.records[:HOSTS_TRIED]:
            answer = self._world.receive(record.exchange)
            if answer != "later":
                return answer
        return "later"

    def _end(self, how: str) -> None:
        self.ended = how
        self._world.letter_ended(self.letter, how)


def side_of(exchange: str) -> str:
    return "primary" if exchange in MAILS else "secondary" if exchange in AWAYS else "foreign"
