"""A mail host whose users, and whose line, do something at a chosen moment of a pull."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from failsafe.clock import SystemClock
from failsafe.ports import Channel, MailHost

LISTING, READING, DIGESTING, SURVEY, VITALS = (
    b"list\0folders\0",
    b"read\0messages\0",
    b"digest\0messages\0",
    b"list\0mailboxes\0",
    b"vitals\0",
)


class Impatient(SystemClock):
    """Time that need not pass: the folder is made restless, or calm, by the test."""

    def sleep(self, seconds: float) -> None:
        pass


@dataclass
class Meddler:
    """`meddle(n)` is called just before the n-th request that holds `words` goes out; or, with `after`, once so many bytes have come."""

    host: MailHost
    meddle: Callable[[int], None]
    words: bytes = LISTING
    after: int = 0
    name: str = "vps"
    count: int = field(default=0, init=False)

    def open(self, command: Sequence[str]) -> Channel:
        return _Between(self, self.host.open(command))


class _Between:
    def __init__(self, meddler: Meddler, inner: Channel) -> None:
        self._meddler, self._inner, self._received = meddler, inner, 0
        self.close = inner.close

    def send(self, data: bytes) -> None:
        if not self._meddler.after and self._meddler.words in data:
            self._meddler.count += 1
            self._meddler.meddle(self._meddler.count)
        self._inner.send(data)

    def receive(self, maximum: int) -> bytes:
        data = self._inner.receive(maximum)
        before, self._received = self._received, self._received + len(data)
        if before <= self._meddler.after < self._received and self._meddler.after:
            self._meddler.count += 1
            self._meddler.meddle(self._meddler.count)
        return data
