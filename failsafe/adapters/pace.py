"""Holds one direction of one line to so many bytes per second."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

CREDIT = 1.0  # seconds of silence that may be made up for; without this bound a line would burst after every pause


@dataclass(slots=True)
class Pace:
    """`limit` None: none. In any stretch of T seconds at most limit * (T + CREDIT) bytes pass, and one piece."""

    limit: float | None = None
    _due: float = field(init=False, default=0.0)  # when everything that has passed has had its time

    def __post_init__(self) -> None:
        self._due = time.monotonic()

    def take(self, count: int) -> None:
        """So many bytes have passed: returns when the next may."""
        if self.limit is None:
            return
        now = time.monotonic()
        self._due = max(self._due, now - CREDIT) + count / self.limit
        if self._due > now:
            time.sleep(self._due - now)
