"""A message's two digests."""

import hashlib
import re

from hypothesis import given
from hypothesis import strategies as st

from failsafe.mail.identity import digests

awkward = st.lists(st.sampled_from([b"\r", b"\n", b"\0", b"a", b"\r\n", b"\x80"]), max_size=30).map(b"".join)


def test_the_id_is_the_sha256_of_the_bytes() -> None:
    assert digests(b"a\nb")[0] == hashlib.sha256(b"a\nb").hexdigest()


def test_line_endings_and_nul_do_not_change_the_canonical_digest() -> None:
    assert digests(b"a\nb\0c\r\n")[1] == digests(b"a\r\nb\x80c\n")[1] == hashlib.sha256(b"a\r\nb\x80c\r\n").hexdigest()


def test_a_carriage_return_alone_is_kept() -> None:
    assert digests(b"a\rb\r")[1] == hashlib.sha256(b"a\rb\r").hexdigest()


@given(awkward, st.integers(1, 5))
def test_pieces_of_any_size_give_the_same_digests(data: bytes, size: int) -> None:
    assert digests(data[i : i + size] for i in range(0, len(data), size)) == digests(data)


@given(awkward)
def test_the_canonical_digest_is_that_of_the_normalised_bytes(data: bytes) -> None:
    normal = re.sub(rb"(?<!\r)\n", b"\r\n", data).replace(b"\0", b"\x80")

    assert digests(data)[1] == hashlib.sha256(normal).hexdigest()
