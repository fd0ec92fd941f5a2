"""What IMAP servers are known to make of a message that they are given, so that it is known again. Pure; a message in pieces, never whole.

Both were measured: Dovecot 2.3 with a Maildir drops a CR before CRLF and one at the very end (it stores LF, unless mail_save_crlf is set);
Cyrus 3.6 writes X for each byte of a header that is not ASCII (munge8bit).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

CR_DROPPED = "the server left out a bare CR at a line end"
HEADER_MUNGED = "the server wrote X for letters of a header that are not ASCII"
_MUNGE = bytes(byte if byte < 128 else ord("X") for byte in range(256))
_HEADER_END = b"\r\n\r\n"


def normal_forms(pieces: Callable[[], Iterable[bytes]]) -> dict[str, tuple[str, ...]]:
    """SHA-256 of each form that a server may show instead of the canonical one -> what it did. {} for nearly every message.

    `pieces()` gives the canonical bytes, from the beginning each time it is called.
    """
    forms: dict[str, tuple[str, ...]] = {}
    drops, munges = _has_bare_cr(pieces()), not all(piece.isascii() for piece in _header(pieces()))
    if drops:
        forms[_digest(_without_cr(pieces()))] = (CR_DROPPED,)
    if munges:
        forms[_digest(_munged(pieces()))] = (HEADER_MUNGED,)
    if drops and munges:
        forms[_digest(_munged(_without_cr(pieces())))] = (CR_DROPPED, HEADER_MUNGED)
    return forms


def _has_bare_cr(pieces: Iterable[bytes]) -> bool:
    """One that Dovecot drops: before a CRLF, or as the last byte."""
    held = b""
    for piece in pieces:
        text = held + piece
        if b"\r\r\n" in text:
            return True
        held = text[-2:]
    return held.endswith(b"\r")


def _without_cr(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for piece in pieces:
        text = held + piece
        end = len(text.rstrip(b"\r"))
        yield text[:end].replace(b"\r\r\n", b"\r\n")
        held = text[end:]
    yield held[:-1]


def _header(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces up to the empty line that ends the header."""
    last = b"\r\n"  # as if a line had ended before: an empty line may be the first
    for piece in pieces:
        text = last + piece
        end = text.find(_HEADER_END)
        if end >= 0:
            yield text[len(last) : end]
            return
        yield piece
        last = text[-3:]


def _munged(pieces: Iterable[bytes]) -> Iterator[bytes]:
    last, in_header = b"\r\n", True
    for piece in pieces:
        if not in_header:
            yield piece
            continue
        text = last + piece
        end = text.find(_HEADER_END)
        place = len(piece) if end < 0 else max(end - len(last), 0)
        in_header = end < 0
        yield piece[:place].translate(_MUNGE) + piece[place:]
        last = text[-3:]


def _digest(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
