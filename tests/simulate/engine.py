"""Virtual time: a queue of what happens next. Whoever sleeps lets everything else happen meanwhile."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 3, 1, tzinfo=UTC)


class Engine:
    """Events in the order of their time, then of their making: the same calls give the same run."""

    def __init__(self) -> None:
        self.now = START
        self._queue: list[tuple[datetime, int, Callable[..., None], tuple[Any, ...]]] = []
        self._made = 0

    def at(self, when: datetime, what: Callable[..., None], *words: Any) -> None:
        self._made += 1
        heapq.heappush(self._queue, (when, self._made, what, words))

    def after(self, span: timedelta, what: Callable[..., None], *words: Any) -> None:
        self.at(self.now + span, what, *words)

    def run_until(self, until: datetime) -> None:
        """Lets everything happen up to then. May be called from within an event (someone sleeps): time never goes back."""
        while self._queue and self._queue[0][0] <= until:
            when, _, what, words = heapq.heappop(self._queue)
            self.now = max(self.now, when)
            what(*words)
        self.now = max(self.now, until)


def chance(*words: object) -> float:
    """A number from 0 to 1 that depends on nothing but the words: what happens by chance never depends on who asked before."""
    import hashlib

    digest = hashlib.blake2b("|".join(str(word) for word in words).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
