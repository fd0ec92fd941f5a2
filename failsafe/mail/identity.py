"""Two digests know a message: `id` the bytes as stored, `canonical` what an IMAP server makes of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator


class Digester:
    """Both digests of one message, fed in pieces of any size; memory stays at one piece.

    `id` is the SHA-256 of the bytes. `canonical` is the SHA-256 after every LF that follows no CR became CRLF and every
    NUL became 0x80: Dovecot does both to what it is given by APPEND (measured on 2.3.19), so over IMAP only this compares.
    """

    def __init__(self) -> None:
        self._id = hashlib.sha256()
        self._canonical = hashlib.sha256()
        self._held = b""  # a CR at the end of a piece: whether an LF follows is not known yet
        self.size = 0  # bytes as stored

    def update(self, piece: bytes) -> None:
        self._id.update(piece)
        self.size += len(piece)
        text = self._held + piece
        self._held = b"\r" if text.endswith(b"\r") else b""
        text = text[: len(text) - len(self._held)]
        self._canonical.update(_as_imap_has_it(text))

    @property
    def id(self) -> str:
        return self._id.hexdigest()

    @property
    def canonical(self) -> str:
        whole = self._canonical.copy()
        whole.update(self._held)
        return whole.hexdigest()


def imap_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes whose SHA-256 is `canonical`."""
    held = b""
    for piece in pieces:
        text = held + piece
        held = b"\r" if text.endswith(b"\r") else b""
        yield _as_imap_has_it(text[: len(text) - len(held)])
    yield held


def _as_imap_has_it(text: bytes) -> bytes:
    """Copies only where something is to be changed: most messages have no NUL, and either no CR or no bare LF."""
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    text = text.replace(b"\n", b"\r\n")
    return text.replace(b"\0", b"\x80") if b"\0" in text else text


def digests(data: bytes | Iterable[bytes]) -> tuple[str, str]:
    """(id, canonical) of a message given whole or in pieces, as 64 hexadecimal digits each."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest(), hashlib.sha256(_as_imap_has_it(data)).hexdigest()
    digester = Digester()
    for piece in data:
        digester.update(piece)
    return digester.id, digester.canonical
