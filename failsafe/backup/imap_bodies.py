"""Reads messages' bytes over IMAP, many at once; finds the one that breaks the line or is refused, and goes on without it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from failsafe.errors import MailError
from failsafe.ports import Narrator, SourceMailbox, SourceMessage

NARROW = 8  # after a fault so many times fewer messages are asked for at once, until it is one
WIDEST = 512  # messages: where narrowing begins
BREAKS = 6  # sessions lost without a message in between
CHECKED = 20  # messages of a server whose sizes are wrong that are read a second time

# Stores one message and gives its (SHA-256, bytes).
Store = Callable[[SourceMessage, Iterable[bytes]], tuple[str, int]]


class BodyReader:
    """`reopen` gives a new session with the same folder open. `bad`: why a message could not be had, by UID."""

    def __init__(self, reopen: Callable[[], SourceMailbox], narrate: Narrator) -> None:
        self._reopen, self._narrate = reopen, narrate
        self.bad: dict[int, str] = {}
        self.untrusted: list[int] = []  # stored by the last `read`, and not to be kept
        self._odd = self._checked = self._undated = 0
        self._breaks = 0
        self.gave_up = False  # too many sessions broke: another attempt is no use

    def read(self, box: SourceMailbox, messages: Sequence[SourceMessage], store: Store) -> None:
        """In this order. A message that the server does not give is left out silently: it may have vanished."""
        left = {message.uid: message for message in messages}
        doubtful: list[tuple[SourceMessage, str]] = []
        lost: Counter[int] = Counter()
        self.bad.clear()
        self.untrusted = []
        width = 0  # messages at once; 0 is all
        self._undated += sum(message.internal_date is None for message in messages)
        while left:
            batch = list(left.values())[: width or None]
            try:
                for uid, pieces in box.bodies([(message.uid, message.size) for message in batch]):
                    id_, size = store(left[uid], pieces)
                    if size != left[uid].size:
                        doubtful.append((left[uid], id_))
                    del left[uid]
                    self._breaks = 0
                for message in batch:
                    left.pop(message.uid, None)
                width = width * 2 if width and width < WIDEST else 0
            except MailError as error:
                self._narrate(f"{error}; going on")
                alone = batch[0].uid if len(batch) == 1 else None
                if error.transient:
                    box = self._after_break(error)
                    lost[alone or 0] += 1
                if alone is not None and (not error.transient or lost[alone] > 1):
                    self.bad[alone] = str(error)
                    left.pop(alone, None)
                width = max(1, min(len(batch), WIDEST) // NARROW)
        self._check(box, doubtful)

    def take_notes(self, where: str) -> list[str]:
        notes = []
        if self._odd:
            notes.append(f"{where}: the server told another size than {self._odd} message(s) have; what it gave is stored")
        if self._undated:
            notes.append(f"{where}: {self._undated} message(s) have no date that can be read; 1970-01-01 is stored")
        self._odd = self._undated = 0
        return notes

    def _after_break(self, error: MailError) -> SourceMailbox:
        """Raises the error where sessions break one after the other."""
        while True:
            self._breaks += 1
            if self._breaks > BREAKS:
                self.gave_up = True
                raise error
            try:
                return self._reopen()
            except MailError as again:
                if not again.transient:
                    raise
                error = again

    def _check(self, box: SourceMailbox, doubtful: Sequence[tuple[SourceMessage, str]]) -> None:
        """Some servers tell wrong sizes and give right bytes. The first ones are read again: bytes that differ then are not believed."""
        self._odd += len(doubtful)
        some = doubtful[: max(0, CHECKED - self._checked)]
        self._checked += len(some)
        unproved = {message.uid: id_ for message, id_ in some}
        try:
            for uid, pieces in box.bodies([(message.uid, message.size) for message, _ in some]):
                digest = hashlib.sha256()
                for piece in pieces:
                    digest.update(piece)
                if digest.hexdigest() != unproved.pop(uid):
                    self.untrusted.append(uid)
                    self.bad[uid] = "the server gives other bytes each time it is read, and none of the size that it tells"
        finally:  # a line that broke here, or a message that was not given again, proves nothing
            self.untrusted += unproved
