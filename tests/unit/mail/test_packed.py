"""Compressed messages unpacked, and what is damaged, cut short or too large refused; nothing else is ever raised."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.mail import packed
from failsafe.mail.packed import LZ4, LZ4_FRAME, ZSTD, Unreadable, unpack

TEXT = b"From: a@b\r\n\r\n" + b"".join(b"line %d of many\r\n" % number for number in range(500))


def lz4(*blocks: bytes, most: int = 65536) -> bytes:
    return LZ4 + most.to_bytes(4, "big") + b"".join(len(block).to_bytes(4, "big") + block for block in blocks)


FORMS = {
    "gzip": (gzip.compress(TEXT, mtime=0), TEXT),
    "bzip2": (bz2.compress(TEXT), TEXT),
    "xz": (lzma.compress(TEXT), TEXT),
    "lz4, literals alone": (lz4(b"\x50hello"), b"hello"),
    "lz4, a match": (lz4(b"\x52abcde\x05\x00\x10!"), b"abcdeabcdea"[:11] + b"!"),
    "lz4, a match that runs into itself": (lz4(b"\x1f" + b"x" + b"\x01\x00\x05" + b"\x10!"), b"x" * 25 + b"!"),
    "lz4, long literals": (lz4(b"\xf0\x0f" + b"y" * 30), b"y" * 30),
    "lz4, two chunks": (lz4(b"\x30abc", b"\x30def"), b"abcdef"),
    "lz4, nothing": (lz4(), b""),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_message_comes_out_as_it_went_in(form: str) -> None:
    data, plain = FORMS[form]
    assert unpack(data) == plain


@pytest.mark.parametrize("form", FORMS)
def test_damage_anywhere_raises_nothing_but_unreadable(form: str) -> None:
    chance = random.Random(form)
    data = FORMS[form][0]
    for _ in range(200):
        broken = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        for piece in (bytes(broken), data[: chance.randrange(len(data))]):
            with contextlib.suppress(Unreadable):
                unpack(piece)


@pytest.mark.parametrize("form", ["gzip", "bzip2", "xz"])
def test_one_that_is_cut_short_or_too_large_is_refused(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreadable, match="damaged"):
        unpack(FORMS[form][0][:-20])
    monkeypatch.setattr(packed, "LIMIT", 100)
    with pytest.raises(Unreadable):
        unpack(FORMS[form][0])


def test_chunks_that_say_more_than_dovecot_writes_are_refused() -> None:
    for data in (
        lz4(b"\x50hello", most=1 << 30),
        LZ4 + b"\0\1\0\0" + b"\xff\xff\xff\xff",
        lz4(b"\x1fx\x01\x00" + b"\xff" * 3000 + b"\x00\x10!"),
    ):
        with pytest.raises(Unreadable):
            unpack(data)


@pytest.mark.parametrize("data", [b"plain", b"", LZ4_FRAME + b"x", ZSTD + b"x"])
def test_what_is_of_no_known_form_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable, match="not known"):
        unpack(data)


def test_zstd_is_unpacked_where_there_is_a_library_for_it() -> None:
    assert unpack(ZSTD + b"x", zstd=lambda _data, _limit: b"from the library") == b"from the library"


@given(st.sampled_from([data[:12] for data, _ in FORMS.values()]), st.binary(max_size=300))
def test_no_bytes_raise_anything_else(head: bytes, rest: bytes) -> None:
    with contextlib.suppress(Unreadable):
        assert len(unpack(head + rest)) < 1 << 20
