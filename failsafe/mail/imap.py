"""What IMAP says about messages and folders, as pure functions: flags, sets of UIDs, and how names become a Maildir's (RFC 3501)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from failsafe.mail.maildir import encode_component

FLAG_LETTERS = {"\\draft": "D", "\\flagged": "F", "\\answered": "R", "\\seen": "S", "\\deleted": "T"}
SET_CHARACTERS = 7_000  # of one set of UIDs: RFC 2683 section 3.2.1.5 asks servers to take lines of 8,000
WIDEST_SET = 2**32
_RANGE = re.compile(r"(\d+)(?::(\d+))?\Z")
# What Maildir's rules make unique: seconds, microseconds, process or inode, host. Imported mail has simpler names.
_DELIVERED = re.compile(r"\d{9,}\.(?=[^.]*M\d)(?=[^.]*(P\d|I[0-9a-f]))[A-Za-z0-9]+\.[^/]+\Z")
_RANDOM = re.compile(r"[0-9a-f]{32}\Z")


def split_flags(flags: Iterable[str]) -> tuple[str, frozenset[str], frozenset[str]]:
    """(Maildir's letters, sorted; keywords; system flags that nobody defined). \\Recent is of the session, not of the message."""
    letters: set[str] = set()
    keywords: set[str] = set()
    strange: set[str] = set()
    for flag in flags:
        if not flag.startswith("\\"):
            keywords.add(flag)
        elif flag.lower() in FLAG_LETTERS:
            letters.add(FLAG_LETTERS[flag.lower()])
        elif flag.lower() != "\\recent":
            strange.add(flag)
    return "".join(sorted(letters)), frozenset(keywords - {""}), frozenset(strange)


def uid_sets(uids: Iterable[int], count: int, characters: int = SET_CHARACTERS) -> Iterator[tuple[str, list[int]]]:
    """Sets for UID FETCH, each with the UIDs it names: runs become ranges; at most `count` UIDs and so many characters in one."""
    taken: list[int] = []
    parts: list[str] = []
    length = 0
    for first, last in _runs(sorted(set(uids))):
        start = first
        while start <= last:
            end = min(last, start + count - len(taken) - 1)
            part = str(start) if start == end else f"{start}:{end}"
            taken += range(start, end + 1)
            parts.append(part)
            length += len(part) + 1
            start = end + 1
            if len(taken) >= count or length > characters:
                yield ",".join(parts), taken
                taken, parts, length = [], [], 0
    if taken:
        yield ",".join(parts), taken


def _runs(ordered: list[int]) -> Iterator[tuple[int, int]]:
    first = last = 0
    for uid in ordered:
        if last and uid == last + 1:
            last = uid
            continue
        if last:
            yield first, last
        first = last = uid
    if last:
        yield first, last


def parse_uid_set(text: str) -> tuple[tuple[int, int], ...]:
    """ "1:3,7" -> ((1, 3), (7, 7)), as VANISHED gives it (RFC 7162). Raises ValueError."""
    ranges = []
    for part in text.strip().split(","):
        found = _RANGE.match(part)
        if found is None:
            raise ValueError(f"{part[:40]!r} is not a UID or a range of them")
        first, last = sorted((int(found[1]), int(found[2] or found[1])))
        if not 0 < first <= last < WIDEST_SET:
            raise ValueError(f"{part[:40]!r} holds what cannot be a UID")
        ranges.append((first, last))
    return tuple(ranges)


def is_random(identity: str) -> bool:
    """128 random bits, as Dovecot gives to messages in sdbox and mdbox: nothing else has them."""
    return _RANDOM.match(identity) is not None


def is_delivered(identity: str) -> bool:
    """The name that a delivery gave to a Maildir's file, which is Dovecot's X-GUID for it. Hardly ever repeated, but nothing keeps people from it."""
    return _DELIVERED.match(identity) is not None


def header_of(start: bytes) -> bytes:
    """The header of a message that begins so, with the empty line; all of it where there is none."""
    end = start.find(b"\r\n\r\n")
    return start if end < 0 else start[: end + 4]


def folder_directory_among(name: str, taken: Collection[str]) -> str:
    """The Maildir++ directory for a folder's name, unlike all of `taken`. What no such directory can say ("." in a part) becomes "_"."""
    if name == "INBOX":
        return ""
    parts = [encode_component(part).replace(".", "_") or "_" for part in name.split("/")]
    wanted = "." + ".".join(parts)
    directory, number = wanted, 1
    while directory in taken:
        number += 1
        directory = f"{wanted}-{number}"
    return directory


def entry_name(internal_date: int, uid_validity: int, uid: int) -> str:
    """The base name of a message that came over IMAP and so has no file name: the same one at every pull."""
    return f"{max(0, internal_date)}.V{uid_validity}U{uid}.imap"
