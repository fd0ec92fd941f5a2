"""How a message is known again on an IMAP server: by its content in canonical form, or in a form that servers are known to make of it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from failsafe.backup.restore_plan import Wanted
from failsafe.mail.identity import digests, imap_pieces
from failsafe.mail.normal_forms import normal_forms
from failsafe.model import Body
from failsafe.ports import MailboxServer, StoredMessage

LINE_ENDS = "line ends became CRLF, as IMAP has them"
NULS = "NUL bytes became 0x80: IMAP cannot carry them"


@dataclass(frozen=True, slots=True)
class Given:
    """What a server is given: the bytes whose SHA-256 is `canonical`. `changes`: what was made of them for that."""

    body: Body
    changes: tuple[str, ...]
    forms: Mapping[str, tuple[str, ...]]  # SHA-256 of what a server may show instead -> what it did


@dataclass(frozen=True, slots=True)
class Held:
    """What a folder holds of the messages that are wanted. `withheld`: listed, may be one of them, and not given."""

    found: frozenset[str]
    withheld: int
    listed: tuple[StoredMessage, ...]


def given_to_imap(body: Body) -> Given:
    """Reads the message: IMAP wants the size before the first byte."""
    size, nuls = 0, False

    def pieces() -> Iterator[bytes]:
        return imap_pieces(body.pieces())

    for piece in body.pieces():
        nuls = nuls or b"\0" in piece
    for piece in pieces():
        size += len(piece)
    changes = [*([LINE_ENDS] if size != body.size else []), *([NULS] if nuls else [])]
    return Given(Body(size, pieces), tuple(changes), normal_forms(pieces))


def held_in(server: MailboxServer, folder: str, wanted: Sequence[Wanted]) -> Held:
    """Which of the wanted messages are in a folder, by their content."""
    listed = server.messages(folder)
    uids = sorted({message.uid for message in (*candidates_for(listed, wanted), *(one for one in listed if one.size == 0))})
    given = {uid: digests(pieces)[1] for uid, pieces in server.read(folder, uids)} if uids else {}
    return Held(frozenset(item.canonical for item in wanted).intersection(given.values()), len(uids) - len(given), listed)


def candidates_for(messages: Iterable[StoredMessage], wanted: Sequence[Wanted], *, changed: bool = False) -> list[StoredMessage]:
    """Messages that may be one of those wanted: the same Message-ID, and a size that line ends can explain.

    Where either side has no Message-ID only sizes count: Cyrus does not see one that stands behind 64 KB of header. With `changed` a
    server may have written other letters for those of a Message-ID that are not ASCII.
    """
    by_message_id: dict[str, list[int]] = {}
    unknown: list[int] = []
    for item in wanted:
        if item.message_id is None or (changed and not item.message_id.isascii()):
            unknown.append(item.size)
        else:
            by_message_id.setdefault(item.message_id, []).append(item.size)
    unknown.sort()
    everything = sorted(item.size for item in wanted)
    return [
        message
        for message in messages
        if _one_may_be(unknown if message.message_id else everything, message.size)
        or any(_may_be(message.size, size) for size in by_message_id.get(message.message_id, ()))
    ]


def _one_may_be(sizes: Sequence[int], there: int) -> bool:
    """Whether `_may_be` holds for one of these sizes, which are in order."""
    place = bisect_left(sizes, -((2 - there) // 2))  # the least that is at least half of it
    return place < len(sizes) and _may_be(there, sizes[place])


def _may_be(there: int, stored: int) -> bool:
    """A server counts CRLF for each line end: at most twice as much as LF alone; a store with CRLF may be served with LF."""
    return stored <= there * 2 + 2 and there <= stored * 2 + 2
