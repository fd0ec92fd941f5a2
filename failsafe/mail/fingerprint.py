"""Knows a message again that went another way: delivered by another server, or taken apart and built anew by one that stores mail in its own form.

Bytes do not survive that. What does: the Message-ID, and what a reader sees. So a fingerprint is taken of the instant of Date, the addresses of
From, To and Cc, the subject, the text, and all that is attached, decoded and without white space. It is not taken of

- Received, Return-Path, DKIM-Signature, X-…, References and all other fields: servers add to them, each its own;
- names beside addresses, and names of attachments: Proton's store makes up some, and programs write them in a dozen ways;
- the plain text that stands beside the same as HTML: such a store keeps the HTML alone;
- signatures: they are rewritten, or no longer verify;
- boundaries, the order of parts and encodings; white space: Postfix breaks lines of more than 998 characters wherever that is, on its way to LMTP too;
- the mark that a spam filter puts before a subject ("[SPAM]"), since it stands in one copy only.

What else one server writes into a message (a banner in its text, a spam report around it) makes two messages of one: both are kept. A double
is a nuisance, a message that is not there is a loss. Two messages of one Message-ID are two where their contents differ.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from failsafe.mail.addresses import addresses_in
from failsafe.mail.decoding import Nothing, Sink, Unspaced, decoded, in_unicode
from failsafe.mail.headers import MESSAGE_ID_LIMIT, bare_message_id, decode_text, fields_of, parse_date
from failsafe.mail.parts import Multipart, Part, Walk, blocks, part_of, split_head

MADE_UP = re.compile(r"@protonmail\.internalid$", re.IGNORECASE)  # Message-IDs of Proton's Bridge for messages that have none
_LOOKED_AT = frozenset({b"message-id", b"date", b"from", b"to", b"cc", b"subject", b"x-original-date"})
_MARKS = re.compile(r"\s*(\*+\s*(suspected\s+)?(spam|junk)\s*\*+|\[\s*\*{0,3}\s*(suspected\s+)?(spam|junk|ext|external)\s*\*{0,3}\s*\])\s*:?\s*", re.IGNORECASE)  # fmt: skip
_BEFORE_1970 = re.compile(rb"\b(0\d{3}|1[0-8]\d\d|19[0-6]\d)\b")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SIGNATURES = frozenset({"application/pgp-signature", "application/pkcs7-signature", "application/x-pkcs7-signature"})
_OTHER_RENDERINGS = frozenset({"text/x-amp-html", "text/enriched", "text/watch-html"})  # beside the same as HTML


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`message_id`: without brackets, its domain in lower case; None where there is none that says anything. `content`: 64 hexadecimal digits."""

    message_id: str | None
    content: str


def same(one: Fingerprint, other: Fingerprint) -> bool:
    """Whether both are of one message. Equal contents with two Message-IDs are two messages; equal Message-IDs with two contents likewise."""
    if one.content != other.content:
        return False
    return one.message_id == other.message_id or one.message_id is None or other.message_id is None


def fingerprint(pieces: Iterable[bytes]) -> Fingerprint:
    """Of a message as IMAP gives it or a Maildir holds it, in pieces of any size. Memory stays at some blocks; only `pieces` can raise."""
    head, body = split_head(blocks(pieces))
    fields: dict[bytes, bytes] = {}
    received: list[bytes] = []
    content: list[tuple[bytes, bytes]] = []
    for name, value in fields_of(head):
        if name in _LOOKED_AT:
            fields.setdefault(name, value)  # the first one counts, as it does for most mail programs
        elif name.startswith(b"content-"):
            content.append((name, value))
        elif name == b"received":
            received.append(b" ".join(value.split()))
    contents = _Contents(Walk, part_of(content))
    for block in body:
        contents.walk.feed(block)
    contents.walk.end()
    message_id, date = normal_message_id(fields.get(b"message-id", b"")), _date(fields)
    said = [
        "failsafe's fingerprint, first form",
        "" if date is None else f"{int(date.timestamp())}",
        *(" ".join(sorted(addresses_in(fields.get(name, b"")))) for name in (b"from", b"to", b"cc")),
        _subject(fields.get(b"subject", b"")),
        contents.text.value,
        *sorted(contents.attached),
    ]
    if message_id is None and date is None:
        # A device that says neither says the same words each time: only its ways tell one message from the next.
        said += [hashlib.sha256(value).hexdigest() for value in received]
    return Fingerprint(message_id, hashlib.sha256("\n".join(said).encode("utf-8", "surrogatepass")).hexdigest())


def normal_message_id(value: bytes) -> str | None:
    """A Message-ID field's value as one that compares. None for what tells nothing: empty, endless, or made up by a server on the way to us."""
    bare = bare_message_id(decode_text(value))
    text = "".join(bare.split())
    local, at, domain = text.rpartition("@")
    text = f"{local}@{domain.lower()}" if at else text
    if not any(character.isalnum() for character in (local if at else text)) or len(text) >= MESSAGE_ID_LIMIT:
        return None
    return None if MADE_UP.search(text) else text


def _date(fields: dict[bytes, bytes]) -> datetime | None:
    """None also where Proton's Bridge put another one for a date that it could not use."""
    date = parse_date(decode_text(fields.get(b"date", b"")))
    if date is None or date < _EPOCH or _BEFORE_1970.search(fields.get(b"x-original-date", b"")[:200]):
        return None
    return date


def _subject(value: bytes) -> str:
    text = decode_text(value)
    return text[found.end() :] if (found := _MARKS.match(text)) else text


class _Contents:
    """What the walk through the parts gathers."""

    def __init__(self, walk: type[Walk], top: Part) -> None:
        self.text = Unspaced()
        self.attached: list[str] = []
        self.walk = walk(top, self._open)

    def _open(self, part: Part, around: tuple[Multipart, ...]) -> Sink:
        choices = [multipart for multipart in around if multipart.kind == "multipart/alternative"]
        if part.kind in _SIGNATURES or (choices and part.kind in _OTHER_RENDERINGS):
            return Nothing()
        if part.attached or part.kind not in ("text/plain", "text/html"):
            return decoded(part.encoding, _Attached(self.attached))
        for choice in choices:
            choice.state.setdefault("before", self.text.copy())
        if choices and part.kind == "text/plain" and any("html" in choice.state for choice in choices):
            return Nothing()
        if choices and part.kind == "text/html":
            self._prefer_html(choices)
        return decoded(part.encoding, in_unicode(part.charset, _Text(self)))

    def _prefer_html(self, choices: list[Multipart]) -> None:
        """Forgets the plain text that stood in its place so far."""
        undecided = [choice for choice in choices if "html" not in choice.state]
        if undecided and isinstance(before := undecided[0].state["before"], Unspaced):
            self.text = before.copy()
        for choice in undecided:
            choice.state["html"] = True


class _Text:
    def __init__(self, contents: _Contents) -> None:
        self._contents = contents

    def feed(self, data: bytes) -> None:
        self._contents.text.feed(data)

    def close(self) -> None:
        self._contents.text.close()


class _Attached:
    """An attachment with nothing in it is none: some stores drop it."""

    def __init__(self, digests: list[str]) -> None:
        self._text, self._digests = Unspaced(), digests

    def feed(self, data: bytes) -> None:
        self._text.feed(data)

    def close(self) -> None:
        if not self._text.empty:
            self._digests.append(self._text.value)
