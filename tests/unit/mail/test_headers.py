"""Headers of mail that is not as it should be."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.mail.headers import MAGIC_BYTES, TEXT_LIMIT, Storage, parse_headers, storage_of

SUBJECTS = {
    "plain": (b"hello", "hello"),
    "folded": (b"one\r\n two\r\n\tthree", "one two three"),
    "raw utf-8": ("Grüße".encode(), "Grüße"),
    "raw windows-1252": (b"Gr\xfc\xdfe", "Grüße"),
    "encoded word": (b"=?utf-8?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
    "lower-case kind": (b"=?UTF-8?b?R3LDvMOfZQ==?=", "Grüße"),
    "a letter cut in two": (b"=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"),
    "white space between words is none": (b"=?utf-8?q?a?=\r\n =?utf-8?q?b?=", "ab"),
    "text between words stays": (b"=?utf-8?q?a?= and =?utf-8?q?b?=", "a and b"),
    "unknown charset": (b"=?x-klingon?q?caf=C3=A9?=", "café"),
    "a codec that is no charset": (b"=?rot13?q?hello?= =?zip?q?hello?=", "hellohello"),
    "base64 without its end": (b"=?utf-8?B?R3LDvMOfZQ?=", "Grüße"),
    "base64 of rubbish": (b"=?utf-8?B?*?=", ""),
    "language tag": (b"=?utf-8*en?q?hi?=", "hi"),
    "control letters": (b"a\x00b\x1b[31mc", "a b [31mc"),
    "empty": (b"", ""),
}


@pytest.mark.parametrize("case", SUBJECTS)
def test_a_subject_becomes_readable_text(case: str) -> None:
    raw, expected = SUBJECTS[case]
    assert parse_headers(b"Subject: " + raw + b"\r\n\r\nbody").subject == expected


def test_the_first_of_two_fields_counts() -> None:
    assert parse_headers(b"Subject: one\nSubject: two\n\n").subject == "one"


def test_to_and_cc_are_both_recipients() -> None:
    assert parse_headers(b"To: a@x\nCC: b@x\n\n").recipient == "a@x, b@x"


def test_the_body_is_no_header() -> None:
    assert parse_headers(b"From: a@x\n\nSubject: not this\n").subject == ""


def test_lines_that_are_no_fields_are_passed_over() -> None:
    assert parse_headers(b"From nobody Mon Jan 1\n>From x\nno colon here\nSubject: yes\n\n").subject == "yes"


@pytest.mark.parametrize("raw", [b"<a@b>", b"\r\n <a@b>", b" <a@b> (comment)", b"a@b"])
def test_a_message_id_has_no_brackets(raw: bytes) -> None:
    assert parse_headers(b"Message-ID: " + raw + b"\r\n\r\n").message_id == "a@b"


def test_a_date_becomes_utc_and_nonsense_none() -> None:
    assert parse_headers(b"Date: Mon, 1 Jan 2024 10:00:00 +0200\n\n").date == datetime(2024, 1, 1, 8, tzinfo=UTC)
    for nonsense in (b"yesterday", b"Mon, 99 Foo 2024", b"", b"\xff", b"1 Jan 99999999 00:00:00 +9999"):
        assert parse_headers(b"Date: " + nonsense + b"\n\n").date is None


@pytest.mark.parametrize("raw", [b"CRYPTED\x03\x07", b"\x1f\x8b\x08", b"BZh91AY&SY", b"\x28\xb5\x2f\xfd"])
def test_what_is_stored_encrypted_or_compressed_is_opaque(raw: bytes) -> None:
    assert parse_headers(raw + b"Subject: no\n\n").opaque


def test_a_header_of_a_megabyte_is_read_to_its_limit() -> None:
    headers = parse_headers(b"Subject: " + b"x" * 1_000_000 + b"\nFrom: a@b\n\n")
    assert (len(headers.subject), headers.sender) == (TEXT_LIMIT, "a@b")


@given(st.binary(max_size=400))
def test_no_bytes_make_it_fail_or_give_text_that_cannot_be_stored(raw: bytes) -> None:
    for head in (raw, b"Subject: " + raw, b"Subject: =?utf-8?B?" + raw + b"?=\nDate: " + raw):
        headers = parse_headers(head)
        for text in (headers.subject, headers.sender, headers.recipient, headers.message_id):
            assert text.encode().decode() == text


PLAIN = b"From: anna@example.org\nSubject: packed\n\nbody\n"


@pytest.mark.parametrize(
    ("head", "storage"),
    [
        (PLAIN, Storage.PLAIN),
        (b"", Storage.PLAIN),
        (b"CRYPTED\x03\x07\x00\x00", Storage.ENCRYPTED),
        (b"\x04\x22\x4d\x18rest", Storage.COMPRESSED),
        (b"Dovecot-LZ4\x0d\x2a\x9b\xc5rest", Storage.COMPRESSED),
        (b"CRYPTED: a field\n", Storage.PLAIN),
        (b"BZh9: a field\n", Storage.PLAIN),
        (b"\x28\xb5\x2f\xfdrest", Storage.COMPRESSED),
        (gzip.compress(PLAIN, mtime=0), Storage.COMPRESSED),
        (bz2.compress(PLAIN), Storage.COMPRESSED),
    ],
)
def test_how_a_message_is_stored_is_told_by_its_first_bytes(head: bytes, storage: Storage) -> None:
    assert storage_of(head[:MAGIC_BYTES]) is storage
    headers = parse_headers(head)
    assert headers.sealed is (storage is not Storage.PLAIN)
    assert headers.opaque is (headers.sealed and headers.subject != "packed")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_message_that_gzip_or_bzip2_packed_is_found_by_its_headers(pack: Callable[[bytes], bytes]) -> None:
    assert parse_headers(pack(PLAIN)).subject == "packed"


@pytest.mark.parametrize(
    "head", [b"\x1f\x8b\x08 damaged", b"BZh91AY&SY damaged", gzip.compress(gzip.compress(PLAIN, mtime=0), mtime=0)]
)
def test_what_is_damaged_or_packed_twice_is_opaque(head: bytes) -> None:
    assert parse_headers(head).opaque
