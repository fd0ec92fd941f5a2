"""When a pull over IMAP turns out to be long, and what it looks at between two batches of messages then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto

from failsafe.backup.stretch import NoRoom, Stretch, Waiting
from failsafe.ports import Progress, SourceMessage

BATCH_BYTES = 64 << 20  # between two of them the disk is looked at, and parts are stored


class Stage(Enum):
    FIRST = auto()  # mailbox by mailbox, folder by folder; how much there is nobody knows
    BY_AGE = auto()  # all of it is known: the newest of every mailbox first
    LAST = auto()  # mailbox by mailbox again: flags as they are now, what came meanwhile, and the proof


class LongPull(Exception):
    """More is missing than comes in minutes, or than there is room for: every mailbox is to be looked through before anything more is read."""


class Pace:
    """Of one pull. Readers tell it what they are about to read and what came; `checkpoint` stores a part."""

    def __init__(self, stretch: Stretch, progress: Progress, checkpoint: Callable[[], None]) -> None:
        self._stretch, self._progress, self._checkpoint = stretch, progress, checkpoint
        self.stage = Stage.FIRST
        self._asked = 0  # bytes

    def begin_folder(self, words: str, messages: int) -> None:
        if self.stage is not Stage.BY_AGE:
            self._progress.stage(words, messages, "messages")

    def expect(self, messages: Sequence[SourceMessage]) -> None:
        """Before these are read. Raises LongPull."""
        if self.stage is not Stage.FIRST or not messages:
            return
        waiting = Waiting(len(messages), sum(message.size for message in messages))
        self._asked += waiting.size
        if self._asked >= self._stretch.care.long or not self._stretch.has_room(waiting):
            raise LongPull

    def look(self, seal: Callable[[], None]) -> None:
        """Before a batch: a part is stored where it is time, after `seal`. Raises LongPull, NoRoom."""
        try:
            is_time = self._stretch.look()
        except NoRoom as error:
            if self.stage is Stage.FIRST:  # how much is lacking is to be told
                raise LongPull from error
            raise
        if not is_time:
            return
        if self.stage is Stage.FIRST:
            raise LongPull
        seal()
        self._checkpoint()

    def came(self, size: int) -> None:
        """A message, of so many bytes as the server told."""
        self._progress.advance(size if self.stage is Stage.BY_AGE else 1)
        if self.stage is not Stage.FIRST:
            self._stretch.advance(size)

    def is_alive(self) -> None:
        """Facts came, no message."""
        if self.stage is not Stage.FIRST:
            self._stretch.advance(0)


def within(messages: Sequence[SourceMessage]) -> Iterator[list[SourceMessage]]:
    """Batches of at most BATCH_BYTES, or of one message."""
    batch: list[SourceMessage] = []
    size = 0
    for message in messages:
        if batch and size + message.size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += message.size
    if batch:
        yield batch
