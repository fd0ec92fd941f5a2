"""Compares an opened mailbox with its manifest: count, content, flags, keywords, dates and UIDs. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from failsafe.backup.opening import SeenMessage
from failsafe.mail.maildir import folder_directory
from failsafe.mail.manifest import Entry


@dataclass(frozen=True, slots=True)
class Sight:
    """What an opener can show: `flags` are letters of a Maildir; `lost` keywords found no letter in a Maildir, which the archive's handbook says."""

    flags: str
    lost: frozenset[str] = frozenset()

    def of(self, entry: Entry) -> tuple[str, frozenset[str], int]:
        """(flags, keywords, internal date) as they should be seen."""
        flags = "".join(letter for letter in entry.flags if letter in self.flags)
        return flags, _words(word for word in entry.keywords if word not in self.lost), entry.internal_date


def compare_folder(expected: Sequence[Entry], seen: Iterable[SeenMessage], sight: Sight) -> Iterator[tuple[str, str]]:
    """(message, what is wrong with it). A message with a UID is looked for under it; others by their content."""
    numbered: dict[int, int] = {}  # UID -> place in `expected`; of two that claim one UID the second has none
    for place, entry in enumerate(expected):
        if entry.uid is not None:
            numbered.setdefault(entry.uid, place)
    spare: dict[str, list[SeenMessage]] = defaultdict(list)
    found: set[int] = set()
    for message in seen:
        place = -1 if message.uid is None else numbered.get(message.uid, -1)
        if place < 0 or place in found:
            spare[message.id or message.canonical].append(message)
            continue
        found.add(place)
        entry = expected[place]
        if _digest(entry, message) != (message.id or message.canonical):
            yield describe(entry), "came back with another content"
        else:
            yield from _differences(entry, message, sight)
    left = [
        entry if entry.uid is None or numbered[entry.uid] == place else replace(entry, uid=None)
        for place, entry in enumerate(expected)
        if place not in found
    ]
    yield from _without_number(left, spare, sight)


def is_plain(name: str, directory: str, layout: str) -> bool:
    """Whether every mail server shows a folder of this name: others are stranger than a drill may call a fault."""
    parts = name.split("/")
    odd = any(not part or part.startswith("~") or not part.isprintable() for part in parts)
    inner = len(parts) > 1 and parts[0].upper() == "INBOX"
    return not odd and not inner and folder_directory(name, layout) == directory


def describe(entry: Entry) -> str:
    """A message as a person can find it: its name on the server."""
    return entry.name if entry.uid is None else f"{entry.name} (UID {entry.uid})"


def _without_number(entries: Sequence[Entry], spare: dict[str, list[SeenMessage]], sight: Sight) -> Iterator[tuple[str, str]]:
    """Of equal messages the ones that fit best belong together."""
    rest = []
    for entry in entries:
        alike = _alike(entry, spare)
        fitting = next((message for message in alike if not list(_differences(entry, message, sight))), None)
        if fitting is None:
            rest.append(entry)
            continue
        alike.remove(fitting)
        yield from _number(entry, fitting)
    for entry in rest:
        if alike := _alike(entry, spare):
            message = alike.pop()
            yield from _number(entry, message)
            yield from _differences(entry, message, sight)
        else:
            yield describe(entry), "did not come back"
    for message in (message for messages in spare.values() for message in messages):
        number = "" if message.uid is None else f", UID {message.uid}"
        yield f"(content {(message.id or message.canonical)[:16]}{number})", "is not in the manifest"


def _alike(entry: Entry, spare: dict[str, list[SeenMessage]]) -> list[SeenMessage]:
    return spare.get(entry.id) or spare.get(entry.canonical) or []


def _number(entry: Entry, message: SeenMessage) -> Iterator[tuple[str, str]]:
    """A client would not know it again under another number."""
    if entry.uid is not None and message.uid is not None and entry.uid != message.uid:
        yield describe(entry), f"came back as UID {message.uid}"


def _differences(entry: Entry, message: SeenMessage, sight: Sight) -> Iterator[tuple[str, str]]:
    flags, keywords, date = sight.of(entry)
    if message.flags != flags:
        yield describe(entry), f"has the flags {message.flags or 'none'} instead of {flags or 'none'}"
    if _words(message.keywords) != keywords:
        yield describe(entry), f"has the keywords {_spoken(message.keywords)} instead of {_spoken(keywords)}"
    if message.internal_date != date:
        yield describe(entry), f"has the date {_instant(message.internal_date)} instead of {_instant(date)}"


def _digest(entry: Entry, message: SeenMessage) -> str:
    return entry.id if message.id else entry.canonical


def _words(words: Iterable[str]) -> frozenset[str]:
    """IMAP keywords compare without case (RFC 3501 section 2.3.2)."""
    return frozenset(word.casefold() for word in words)


def _spoken(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)) or "none"


def _instant(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return str(seconds)
