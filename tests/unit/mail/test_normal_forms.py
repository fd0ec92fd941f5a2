"""What servers are known to make of a message, told beforehand; however the message is cut into pieces."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.mail.normal_forms import CR_DROPPED, HEADER_MUNGED, normal_forms


def forms(data: bytes, size: int = 1 << 20) -> dict[str, tuple[str, ...]]:
    return normal_forms(lambda: [data[at : at + size] for at in range(0, len(data), size)])


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    ("given_", "shown", "why"),
    [
        (b"S: a\r\n\r\nx\r", b"S: a\r\n\r\nx", (CR_DROPPED,)),
        (b"S: a\r\n\r\nx\r\r", b"S: a\r\n\r\nx\r", (CR_DROPPED,)),
        (b"S: a\r\n\r\nx\r\r\ny\r\r\r\nz\r\n", b"S: a\r\n\r\nx\r\ny\r\r\nz\r\n", (CR_DROPPED,)),
        (b"\r", b"", (CR_DROPPED,)),
        (b"S: \xc3\xbc\r\n\r\n\xc3\xbc\r\n", b"S: XX\r\n\r\n\xc3\xbc\r\n", (HEADER_MUNGED,)),
        (b"\xef\xbb\xbfS: a", b"XXXS: a", (HEADER_MUNGED,)),
        (b"S: \xfc\r\n\r\nx\r", b"S: X\r\n\r\nx", (CR_DROPPED, HEADER_MUNGED)),
    ],
)
def test_what_dovecot_and_cyrus_show_is_foretold(given_: bytes, shown: bytes, why: tuple[str, ...], size: int) -> None:
    assert forms(given_, size)[sha(shown)] == why


@pytest.mark.parametrize("data", [b"", b"S: a\r\n\r\nx\ry\r\n", b"\r\n\xc3\xbc\r\n", b"S: a\r\n\r\n\xff\r\n", b"S: a\r\n"])
def test_mail_that_no_server_changes_has_no_other_form(data: bytes) -> None:
    assert forms(data) == {}


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"\xff", b": "]), max_size=20).map(b"".join), st.integers(1, 4))
def test_the_pieces_make_no_difference(data: bytes, size: int) -> None:
    assert forms(data, size) == forms(data)
