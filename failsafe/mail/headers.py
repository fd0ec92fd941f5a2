"""What a message's header says of it, for people to find it by. Pure, linear in the header's size, and never raises: mail is not always mail.

Written here instead of with the `email` package because that one is made to be right about good mail; this one only has to be calm
about bad mail: raw bytes, broken base64, unknown charsets, headers of a megabyte, no header at all.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import codecs
import quopri
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

from failsafe.mail.packed import BZIP2, BZIP2_BLOCKS, CRYPTED, GZIP, LZ4, LZ4_FRAME, XZ, ZSTD

HEAD_BYTES = 64 * 1024  # read first: nearly every header ends before
HEAD_LIMIT = 2 * 1024 * 1024  # read at most: what comes later is not looked at
TEXT_LIMIT = 2_000  # characters kept of one field; RFC 5322 2.1.1 wants lines below 998
MESSAGE_ID_LIMIT = 1_000  # characters
MAGIC_BYTES = 16  # of a message that tell how it is stored
_WANTED = {
    b"from": "sender",
    b"to": "recipient",
    b"cc": "copy",
    b"subject": "subject",
    b"date": "date",
    b"message-id": "message_id",
}
_WORD = re.compile(r"=\?([^?\s]{1,75})\?([bBqQ])\?([^?]*)\?=")
_MESSAGE_ID = re.compile(r"<([^<>\s]+)>")
_NO_CHARSETS = {
    "idna",
    "punycode",
    "unicode_escape",
    "raw_unicode_escape",
    "undefined",
}  # Python's own, no mail's: slow or strange
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Headers:
    """The fields that a search looks at, decoded, in one line each; "" where there is none."""

    message_id: str = ""  # without its angle brackets
    sender: str = ""
    recipient: str = ""  # To, then Cc
    subject: str = ""
    date: datetime | None = None  # aware UTC; None where the header says none or nonsense
    opaque: bool = False  # stored encrypted or compressed, so that no header can be read
    sealed: bool = False  # stored encrypted or compressed, whether its header can be read or not


class Storage(Enum):
    """How a mail server stores a message."""

    PLAIN = "plain"
    COMPRESSED = "compressed"
    ENCRYPTED = "encrypted"


def storage_of(head: bytes) -> Storage:
    """Told by the first MAGIC_BYTES of a message's file, all of a form's own mark: a field may be called CRYPTED."""
    if head.startswith(CRYPTED):
        return Storage.ENCRYPTED
    if head.startswith((GZIP, XZ, ZSTD, LZ4, LZ4_FRAME)):
        return Storage.COMPRESSED
    return Storage.COMPRESSED if head.startswith(BZIP2) and head[4:10] in BZIP2_BLOCKS else Storage.PLAIN


def head_is_whole(head: bytes) -> bool:
    """Whether the empty line that ends a header is in these first bytes of a message."""
    return b"\n\n" in head or b"\n\r\n" in head or head.startswith((b"\n", b"\r\n"))


def parse_headers(head: bytes) -> Headers:
    """Reads the first bytes of a message (at most HEAD_LIMIT of them; less is fine, the rest of a field is then missing)."""
    head = head[:HEAD_LIMIT]
    sealed = storage_of(head) is not Storage.PLAIN
    if sealed:
        head = _unpacked(head)
        if not head:
            return Headers(opaque=True, sealed=True)
    found: dict[str, str] = {}
    for name, value in _fields(head):
        key = _WANTED.get(name)
        if key is not None and key not in found:  # the first one counts, as it does for most mail programs
            found[key] = decode_text(value)
    recipients = ", ".join(text for text in (found.get("recipient", ""), found.get("copy", "")) if text)
    return Headers(
        message_id=bare_message_id(found.get("message_id", "")),
        sender=found.get("sender", ""),
        recipient=recipients[:TEXT_LIMIT],
        subject=found.get("subject", ""),
        date=parse_date(found.get("date", "")),
        sealed=sealed,
    )


def fields_of(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(lower-case name, unfolded raw value) in order, from the first bytes of a message as it is stored; nothing where it cannot be read."""
    head = head[:HEAD_LIMIT]
    return _fields(head if storage_of(head) is Storage.PLAIN else _unpacked(head))


def decode_text(raw: bytes) -> str:
    """A field's value as readable text: unfolded, RFC 2047 words decoded, raw bytes as UTF-8 or else Windows-1252."""
    raw = raw[: TEXT_LIMIT * 8]
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")
    text = _decode_words(text)
    return " ".join(_CONTROL.sub(" ", text).split())[:TEXT_LIMIT]


def bare_message_id(text: str) -> str:
    """A Message-ID without its brackets, in one line: what a header says and what a person asks for become the same."""
    text = " ".join(_CONTROL.sub(" ", text).split())
    match = _MESSAGE_ID.search(text)
    return (match.group(1) if match else text.strip("<> "))[:MESSAGE_ID_LIMIT]


def parse_date(text: str) -> datetime | None:
    """A Date field as aware UTC; one without a zone is taken for UTC. None for what is no date."""
    try:
        date = parsedate_to_datetime(text[:200])
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError, AttributeError):
        return None


def _unpacked(head: bytes) -> bytes:
    """The beginning of what gzip or bzip2 packed; b"" for every other way of storing, and for what is damaged or packed twice."""
    plain = b""
    try:
        if head.startswith(GZIP):
            plain = zlib.decompressobj(wbits=31).decompress(head, HEAD_LIMIT)
        elif head.startswith(BZIP2):
            plain = bz2.BZ2Decompressor().decompress(head, HEAD_LIMIT)
    except (OSError, ValueError, EOFError, zlib.error):
        return b""
    return plain if storage_of(plain) is Storage.PLAIN else b""


def _fields(head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(lower-case name, unfolded value) in order, up to the empty line. A line that is no field is passed over."""
    name: bytes | None = None
    parts: list[bytes] = []
    for line in (whole.rstrip(b"\r") for whole in head.split(b"\n")):
        if line[:1] in (b" ", b"\t") and line.strip():
            parts.append(line)
            continue
        if name is not None:
            yield name, b"".join(parts)
        if not line:
            return
        label, colon, value = line.partition(b":")
        name = label.strip().lower() if colon else None
        parts = [value]
    if name is not None:
        yield name, b"".join(parts)


def _decode_words(text: str) -> str:
    """Encoded words to text. Neighbours in one charset are joined before decoding: some programs cut a letter in two."""
    out: list[str] = []
    pending: tuple[str, bytes] | None = None
    end = 0
    for match in _WORD.finditer(text):
        between = text[end : match.start()]
        charset, data = match.group(1).partition("*")[0].lower(), _word_bytes(match.group(2), match.group(3))
        end = match.end()
        if pending is not None and not between.strip():  # white space between two words is not text (RFC 2047 6.2)
            if pending[0] == charset:
                pending = (charset, pending[1] + data)
                continue
            between = ""
        if pending is not None:
            out.append(_in_charset(*pending))
        out.append(between)
        pending = (charset, data)
    if pending is not None:
        out.append(_in_charset(*pending))
    out.append(text[end:])
    return "".join(out)


def _word_bytes(kind: str, payload: str) -> bytes:
    raw = payload.encode("utf-8", "surrogateescape")
    if kind in "qQ":
        return quopri.decodestring(raw.replace(b"_", b" "), header=False)
    clean = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
    if len(clean) % 4 == 1:
        clean = clean[:-1]  # one letter too many carries no byte
    try:
        return base64.b64decode(clean + b"=" * (-len(clean) % 4))
    except (binascii.Error, ValueError):
        return raw


def _in_charset(charset: str, data: bytes) -> str:
    """Text in a charset that may not exist; never raises, never leaves a lone surrogate."""
    for name in (charset, "utf-8"):
        try:
            if is_charset(name):
                return data.decode(name).encode("utf-8", "replace").decode("utf-8")
        except (LookupError, ValueError, UnicodeError):
            continue
    return data.decode("cp1252", "replace")


def is_charset(name: str) -> bool:
    """Whether Python can decode a mail's text in it."""
    try:
        codec = codecs.lookup(name)
    except (LookupError, ValueError, UnicodeError):
        return False
    return codec.name not in _NO_CHARSETS and codec._is_text_encoding  # noqa: SLF001 - else "rot13" and "zip" would be charsets
