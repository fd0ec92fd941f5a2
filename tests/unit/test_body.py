"""A message in pieces."""

from __future__ import annotations

import hashlib

import pytest

from failsafe.backup.destinations.imap_known import given_to_imap
from failsafe.mail.identity import digests
from failsafe.model import Body

ODD = b"Subject: x\r\n\na\0b\rc\n\r\nd\r"


@pytest.mark.parametrize("size", [1, 2, 3, 8, 100])
def test_what_imap_gets_has_the_canonical_digest_however_the_pieces_are_cut(size: int) -> None:
    body = Body(len(ODD), lambda: [ODD[at : at + size] for at in range(0, len(ODD), size)])
    sent = given_to_imap(body).body
    assert hashlib.sha256(b"".join(sent.pieces())).hexdigest() == digests(ODD)[1]
    assert sent.size == len(b"".join(sent.pieces()))


def test_the_first_bytes_are_told_without_reading_on() -> None:
    def pieces() -> list[bytes]:
        return [b"CRY", b"PTED", b"..."]

    assert Body(10, pieces).head(7) == b"CRYPTED"
    assert Body.of(b"ab").head(7) == b"ab"
