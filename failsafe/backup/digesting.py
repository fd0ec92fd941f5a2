"""Small messages on their way into a segment, some dozens at a time: their digests are reckoned in a thread while the next ones are read.

SHA-256 gives the interpreter's lock back while it works, so a second processor does it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from failsafe.mail.identity import digests

TOGETHER = 64  # messages in a batch
BYTES = 1 << 18  # in a batch; one message more may come on top
AHEAD = 2  # batches under way: what a kill may cost beside the segment that is open

T = TypeVar("T")
Names = tuple[str, str]  # as `digests` gives them


class Digesting(Generic[T]):
    """Gives each batch of (what it is of, content, digests) to `add` in the thread that calls `put` and `finish`, in order."""

    def __init__(self, pool: ThreadPoolExecutor, add: Callable[[Sequence[tuple[T, bytes, Names]]], None]) -> None:
        self._pool, self._add = pool, add
        self._held: list[tuple[T, bytes]] = []
        self._room = BYTES
        self._under_way: deque[tuple[list[tuple[T, bytes]], Future[list[Names]]]] = deque()

    def put(self, what: T, data: bytes) -> None:
        self._held.append((what, data))
        self._room -= len(data)
        if self._room <= 0 or len(self._held) == TOGETHER:
            self._send()
            if len(self._under_way) > AHEAD:
                self._take()

    def finish(self) -> None:
        """Everything that was put is added when it returns; an error from `add` leaves the rest out."""
        self._send()
        while self._under_way:
            self._take()

    def _send(self) -> None:
        if self._held:
            self._under_way.append((self._held, self._pool.submit(_digests, [data for _, data in self._held])))
        self._held, self._room = [], BYTES

    def _take(self) -> None:
        batch, named = self._under_way.popleft()
        self._add([(what, data, names) for (what, data), names in zip(batch, named.result(), strict=True)])


def _digests(contents: Sequence[bytes]) -> list[Names]:
    return [digests(data) for data in contents]
