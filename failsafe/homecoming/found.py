"""A message found at the secondary, as the archive of the secondary's mail tells it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

ASKED_AT_ONCE = 500  # found messages for one question to the ledger


@dataclass(frozen=True, slots=True)
class Found:
    """`internal_date`: aware UTC; by it, and not by the header's Date, a message counts as of the outage."""

    mailbox: str  # for `accounts` the account's `mailbox`, for a catch-all the name it is archived under
    folder: str  # IMAP name, UTF-8, "/"
    id: str  # SHA-256 of the stored bytes
    canonical: str
    size: int  # bytes as stored
    flags: frozenset[str]  # Maildir letters
    keywords: tuple[str, ...]
    internal_date: datetime
    by_catch_all: bool
    uid_validity: int | None = None  # where it lies at the secondary now; None: it is gone from there, or that is not known
    uid: int | None = None
    gone: bool = False  # it has left the secondary since
    uses: tuple[str, ...] = ()  # what the secondary says that the folder is for (RFC 6154), in lower case


def in_parts(found: Iterable[Found]) -> Iterator[list[Found]]:
    """As they come; each part is of one mailbox, and of no more than ASKED_AT_ONCE."""
    part: list[Found] = []
    for one in found:
        if part and (one.mailbox != part[0].mailbox or len(part) == ASKED_AT_ONCE):
            yield part
            part = []
        part.append(one)
    if part:
        yield part
