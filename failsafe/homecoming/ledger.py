"""The ledger of a homecoming: what became of each message that was found at a secondary. Values only; failsafe/store/homecomings.py keeps them.

Theory. A row is written before a message is given to the primary (`intended`), and its outcome after the primary was read back. Where a crash
comes between the two, the primary is looked at: the row says what to look for. Where the ledger is lost altogether, the primary still has the
messages, and they are known again there by their fingerprints; so the ledger saves looks, and keeps a person's deletions at the primary deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class State(StrEnum):
    INTENDED = "intended"  # about to be given to the primary, or given and not read back yet
    HOME = "home"  # delivered to the primary, read back
    ALREADY_THERE = "already-there"  # the primary had it
    WAITING = "waiting"  # it is tried again with each homecoming; `why` says for what it waits
    LEFT = "left"  # it does not come home; `why` says why


SETTLED = frozenset({State.HOME, State.ALREADY_THERE, State.LEFT})
AT_HOME = frozenset({State.HOME, State.ALREADY_THERE})

Key = tuple[str, str, str, bool]


@dataclass(frozen=True, slots=True)
class Entry:
    """One found message and one mailbox it goes to. `message`: the SHA-256 of its stored bytes; no text of it is in here."""

    domain: str
    mailbox: str  # where it was found
    folder: str
    message: str
    internal_at: datetime
    state: State
    at: datetime  # when it came into this state
    message_id: str | None = None  # normalised; None: it has none
    content: str = ""  # of its fingerprint; "" where it was not made
    to_mailbox: str = ""  # "" where it does not come home
    to_folder: str = ""
    sent: bool = False  # mail of our own people, which another copy may have reached as received mail
    why: str = ""
    uid_validity: int | None = None  # at the primary, where it said so
    uid: int | None = None
    intended_at: datetime | None = None
    number: int = 0  # 0: it is in no ledger yet

    @property
    def key(self) -> Key:
        """What is once in a ledger of a domain: a folder it is moved to at the secondary makes no other message of it."""
        return self.mailbox, self.message, self.to_mailbox, self.sent

    def now(self, state: State, at: datetime, why: str | None = None) -> Entry:
        return replace(self, state=state, at=at, why=self.why if why is None else why)


@dataclass(frozen=True, slots=True)
class Counts:
    home: int = 0
    already_there: int = 0
    waiting: int = 0  # those that are intended too: nobody knows yet
    left: int = 0


class Ledger(Protocol):
    """Of all domains. Every method raises StoreError."""

    def known(self, domain: str, mailbox: str, messages: Sequence[str]) -> tuple[Entry, ...]:
        """Rows of messages that were found in a mailbox."""
        ...

    def alike(self, domain: str, to_mailbox: str, contents: Sequence[str]) -> tuple[Entry, ...]:
        """Rows of messages for one mailbox with one of these contents, wherever they were found."""
        ...

    def write(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        """In one transaction, in place of rows with the same key; gives them with their numbers."""
        ...

    def waiting(self, domain: str, limit: int) -> tuple[Entry, ...]:
        """What is not settled, oldest first."""
        ...

    def counts(self, domain: str, since: datetime | None = None) -> Counts:
        """`since`: only what was settled then or later; what waits is counted whenever it came."""
        ...

    def settled_before(self, domain: str, before: datetime, *, above: int, limit: int) -> tuple[Entry, ...]:
        """Rows that have been settled since before then, with numbers above this one, in their order."""
        ...

    def drop(self, entries: Sequence[Entry]) -> None:
        """Removes rows that are still as they were read."""
        ...

    def forget(self, domain: str, covers: Callable[[str], bool]) -> int:
        """Removes rows of mailboxes that were erased; gives how many."""
        ...


def by_message(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.message, []).append(entry)
    return found
