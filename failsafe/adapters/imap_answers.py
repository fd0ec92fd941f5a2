"""IMAP's answers as imapclient's parser leaves them, made into plain values. Raises ValueError, TypeError or LookupError for what makes no sense."""

from __future__ import annotations

import imaplib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from imapclient.response_parser import parse_fetch_response, parse_response

from failsafe.mail.imap import parse_uid_set
from failsafe.mail.maildir import decode_component

_FETCH = re.compile(rb"\d+ \(")
_WITH_UID = re.compile(rb"[( ]UID \d", re.IGNORECASE)


def fetched(data: Sequence[Any]) -> dict[int, dict[bytes, Any]]:
    """FETCH answers by UID. Those without one were not asked for, and the parser would take their sequence number for a UID.

    One that makes no sense is left out: Dovecot writes half an answer for a message that is expunged at that moment.
    """
    found: dict[int, dict[bytes, Any]] = {}
    for answer in _answers(data):
        if len(answer) == 1 and not _WITH_UID.search(answer[0]):
            continue
        try:
            parsed = parse_fetch_response(answer, normalise_times=False)
        except (imaplib.IMAP4.error, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            continue
        for uid, items in parsed.items():
            found.setdefault(uid, {}).update(items)
    return found


def _answers(data: Sequence[Any]) -> Iterator[list[Any]]:
    """imaplib's pieces of each answer: a literal ends a piece, and what follows it is another."""
    answer: list[Any] = []
    for item in data:
        if item is None:
            continue
        begins = _FETCH.match(item[0] if isinstance(item, tuple) else item)
        if begins and answer:
            yield answer
            answer = []
        answer.append(item)
    if answer:
        yield answer


def listed(data: Sequence[Any]) -> Iterator[tuple[frozenset[bytes], bytes, bytes]]:
    """(flags in lower case, separator or b"", name) of LIST's answers; extended data after a name is passed over."""
    words = list(parse_response([item for item in data if item not in (b"", None)]))
    place = 0
    while place + 2 < len(words):
        flags, separator, name = words[place : place + 3]
        place += 3
        if (
            place < len(words)
            and isinstance(words[place], tuple)
            and (place + 1 == len(words) or isinstance(words[place + 1], tuple))
        ):
            place += 1
        if not isinstance(flags, tuple):
            raise ValueError("a LIST answer without flags")  # noqa: TRY004 - the server's fault, not a caller's
        yield (
            frozenset(as_bytes(flag).lower() for flag in flags),
            b"" if separator is None else as_bytes(separator),
            as_bytes(name),
        )


def statuses(data: Sequence[Any]) -> dict[bytes, dict[str, int]]:
    words = parse_response([item for item in data if item not in (b"", None)])
    found = {}
    for name, items in zip(words[::2], words[1::2], strict=True):
        pairs = zip(items[::2], items[1::2], strict=True)
        found[as_bytes(name)] = {as_text(as_bytes(key)).upper(): int(value) for key, value in pairs}
    return found


def flags_in(answer: dict[bytes, Any]) -> frozenset[str]:
    return frozenset(as_text(as_bytes(flag)) for flag in answer[b"FLAGS"])


def vanished(lines: Sequence[Any]) -> tuple[tuple[int, int], ...]:
    """Ranges of UIDs in VANISHED answers, with or without (EARLIER)."""
    return tuple(part for line in lines for part in parse_uid_set(as_text(as_bytes(line)).removeprefix("(EARLIER)")))


def positive(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def quoted(raw: bytes) -> bytes:
    """A name as it is sent. Raises ValueError for one that no quoted string can hold."""
    if any(bad in raw for bad in (b"\r", b"\n", b"\0")):
        raise ValueError("a folder's name holds a line end or a NUL")
    return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def broke_off(error: Exception) -> bool:
    """imapclient makes a refused login of a line that broke in the middle of it; a password must not be taken for wrong by that."""
    return isinstance(error.__context__, imaplib.IMAP4.abort)


def as_bytes(value: Any) -> bytes:
    """imapclient makes numbers of what looks like one, and None of NIL, also where they are names."""
    return value if isinstance(value, bytes) else b"NIL" if value is None else str(value).encode()


def as_text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def shown(raw: bytes) -> str:
    return "/".join(decode_component(part) for part in as_text(raw).split("/"))
