"""A message is known again that went another way, and two that differ are two."""

from __future__ import annotations

import base64
import quopri
import time
import tracemalloc
from datetime import UTC, datetime
from email.message import EmailMessage
from itertools import chain, repeat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failsafe.mail.fingerprint import Fingerprint, fingerprint, normal_message_id, same
from tests.contract.bridge_rebuild import rebuilt
from tests.corpus import corpus
from tests.corpus.ordinary import ordinary

AT = datetime(2026, 11, 16, 9, tzinfo=UTC)
DATE = "Mon, 30 Nov 2026 08:15:00 +0100"
TEXT = "Dear Anna,\n\nthe bill for Grüße & Söhne is 12 €.  \n\n-- \nBob\n\n\n"


def of(message: bytes) -> Fingerprint:
    return fingerprint([message])


def letter(*more: str, body: str = "Hello\r\n", message_id: str | None = "<a@example.net>", date: str | None = DATE) -> bytes:
    fields = ["From: Bob <bob@example.net>", "To: anna@example.org", "Subject: Hello", *more]
    fields += [] if message_id is None else [f"Message-ID: {message_id}"]
    fields += [] if date is None else [f"Date: {date}"]
    return ("\r\n".join(fields) + "\r\n\r\n" + body).encode()


def written(**fields: str) -> EmailMessage:
    message = EmailMessage()
    for name, value in {"From": "Bob <bob@example.net>", "To": "Anna <anna@example.org>", "Subject": "Grüße", "Date": DATE, "Message-ID": "<a@example.net>", **fields}.items():  # fmt: skip
        message[name] = value
    return message


def test_each_letter_that_proton_built_anew_is_itself_and_no_other() -> None:
    before = {odd.name: of(odd.data) for odd in ordinary()}
    after = {odd.name: of(rebuilt(odd.data, AT, "anna@example.org")) for odd in ordinary()}

    assert {(one, other) for one in before for other in after if same(before[one], after[other])} == {
        (name, name) for name in before
    }


def test_what_servers_write_on_the_way_says_nothing() -> None:
    ours = (
        b"Return-Path: <bob@example.net>\r\nDelivered-To: anna@example.org\r\nReceived: from a by b; now\r\nX-Spam-Score: 3\r\n"
    )
    theirs = letter("DKIM-Signature: v=1; b=xyz", "References: <x@y> <z@protonmail.internalid>", "X-Pm-Date: now")

    assert same(of(ours + letter()), of(theirs))


@pytest.mark.parametrize(
    ("field", "value"),
    [("To", "carl@example.org"), ("From", "eve@example.net"), ("Subject", "Other"), ("Cc", "carl@example.org"), ("Date", "Mon, 30 Nov 2026 08:15:01 +0100")],
)  # fmt: skip
def test_another_field_makes_another_message_whatever_its_id(field: str, value: str) -> None:
    one, other = written(Cc=""), written(Cc="")
    del other[field]
    other[field] = value
    for message in (one, other):
        message.set_content(TEXT)

    assert not same(of(one.as_bytes()), of(other.as_bytes()))


def test_two_messages_with_one_message_id_are_two() -> None:
    assert not same(of(letter(body="one")), of(letter(body="two")))


def test_one_text_with_two_message_ids_is_two_messages() -> None:
    assert not same(of(letter(message_id="<a@example.net>")), of(letter(message_id="<b@example.net>")))


@pytest.mark.parametrize("given", ["<Abc=@protonmail.internalid>", "<>", "", "<" + "a" * 2_000 + "@x>"])
def test_a_message_without_an_id_is_known_by_its_content(given: str) -> None:
    without = of(letter(message_id=None))

    assert same(without, of(letter(message_id=given)))
    assert same(without, of(letter(message_id="<made-by-a-server@example.net>")))
    assert not same(without, of(letter(message_id=None, body="Hello again")))


def test_an_alarm_without_date_and_id_is_another_one_each_time_that_it_comes() -> None:
    first, second = (letter(f"Received: from camera by mx; {at}", message_id=None, date=None) for at in ("08:00", "09:00"))

    assert not same(of(first), of(second))
    assert same(of(first), of(first.replace(b"\r\n", b"\n")))


def test_a_date_is_an_instant() -> None:
    assert same(of(letter()), of(letter(date="30 Nov 2026 07:15 GMT")))
    assert same(of(letter(date="nonsense")), of(letter(date=None)))


def test_a_date_that_bridge_made_up_is_none() -> None:
    before = letter(date="Thu, 01 Jan 1920 00:00:00 +0000")
    after = letter("X-Original-Date: Thu, 01 Jan 1920 00:00:00 +0000", date="Mon, 30 Nov 2026 07:15:07 +0000")

    assert same(of(before), of(after))


@pytest.mark.parametrize("mark", ["[SPAM] ", "*** SPAM *** ", "***SPAM*** ", "[EXTERNAL] ", "[Suspected Spam] "])
def test_the_mark_of_one_servers_spam_filter_makes_no_other_message(mark: str) -> None:
    marked = letter().replace(b"Subject: Hello", f"Subject: {mark}Hello".encode())

    assert same(of(letter()), of(marked))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b" <Abc.1@EXAMPLE.net> ", "Abc.1@example.net"),
        (b"Abc.1@Example.net", "Abc.1@example.net"),
        (b"\r\n <Abc.1@exam\r\n ple.net>", "Abc.1@example.net"),
        (b"<abc.1@example.net>", "abc.1@example.net"),
        (b"<no-at>", "no-at"),
        (b"<@>", None),
        (b"<@localhost>", None),
        (b"<x==@ProtonMail.InternalID>", None),
    ],
)
def test_message_ids_compare_where_programs_fold_them_and_write_domains_in_capitals(value: bytes, expected: str | None) -> None:
    assert normal_message_id(value) == expected


def test_padding_is_no_byte_of_a_text_in_utf_16() -> None:
    head = "Content-Type: text/plain; charset=utf-16\r\nContent-Transfer-Encoding: base64"
    padded, unpadded = (base64.encodebytes(text.encode("utf-16")).decode() for text in ("a", "a "))

    assert (padded.count("="), unpadded.count("=")) == (2, 0)
    assert same(of(letter(head, body=padded)), of(letter(head, body=unpadded)))


def test_a_line_that_a_server_broke_in_the_middle_of_a_word_is_the_same() -> None:
    assert same(of(letter(body="word " * 199 + "together")), of(letter(body="word " * 199 + "tog\r\n ether")))


def test_a_base64_body_that_goes_on_after_its_end_counts_whole() -> None:
    head = "Content-Transfer-Encoding: base64"

    assert not same(of(letter(head, body="SGVsbG8=\r\nfooter one")), of(letter(head, body="SGVsbG8=\r\nfooter two")))


@settings(deadline=None)
@given(
    text=st.text(st.characters(codec="utf-8", exclude_characters="\x00\x0b\x0c\r\x1c\x1d\x1e\x85\u2028\u2029"), max_size=200),
    way=st.sampled_from(["base64", "quoted-printable", "8bit"]),
)
def test_text_is_the_same_in_every_encoding(text: str, way: str) -> None:
    raw = text.encode()
    coded = {
        "base64": base64.encodebytes,
        "quoted-printable": lambda data: quopri.encodestring(data, quotetabs=True),
        "8bit": bytes,
    }[way](raw)
    head = b"Content-Type: text/plain; charset=utf-8\r\nMessage-ID: <a@b>\r\n"

    assert of(head + b"\r\n" + raw) == of(head + f"Content-Transfer-Encoding: {way}\r\n\r\n".encode() + coded)


UNESCAPED = st.text(
    st.characters(exclude_characters="\x1b", codec="utf-8"), max_size=40
)  # an escape alone is no text in ISO 2022


@settings(deadline=None)
@given(one=UNESCAPED, other=UNESCAPED, charset=st.sampled_from(["utf-8", "utf-16", "iso-2022-jp", "cp1252"]), where=st.sampled_from(["text", "html", "file"]))  # fmt: skip
def test_another_text_makes_another_message_wherever_they_stand(one: str, other: str, charset: str, where: str) -> None:
    def message(words: str) -> bytes:
        raw = base64.encodebytes(words.encode(charset, "xmlcharrefreplace"))
        kind = {"text": f"text/plain; charset={charset}", "html": f"text/html; charset={charset}", "file": "application/zip"}[
            where
        ]
        return f"Message-ID: <a@b>\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode() + raw

    def unspaced(text: str) -> bytes:
        """As it can be told apart at all: without the white space of ASCII."""
        raw = text.encode(charset, "xmlcharrefreplace")
        return b"".join((raw if where == "file" else raw.decode(charset).encode()).split())

    assert (of(message(one)) == of(message(other))) == (unspaced(one) == unspaced(other))


@settings(deadline=None)
@given(data=st.lists(st.sampled_from([b"--a", b"--", b"\r\n", b"\n", b"\r", b"Content-Type: multipart/mixed; boundary=a", b"Content-Type: text/html; charset=shift_jis", b"Content-Transfer-Encoding: base64", b"=", b"=3D", b"x", b" ", b"\x80\x00", b"Date: "]), max_size=40), size=st.integers(1, 9))  # fmt: skip
def test_pieces_of_any_size_of_anything_have_one_fingerprint(data: list[bytes], size: int) -> None:
    whole = b"Message-ID: <a@b>\r\nContent-Type: multipart/alternative; boundary=a\r\n" + b"".join(data)

    assert fingerprint(whole[start : start + size] for start in range(0, len(whole), size)) == of(whole)


def test_every_odd_message_of_the_corpus_has_a_fingerprint_of_its_own_in_pieces_too() -> None:
    seen: dict[Fingerprint, str] = {}
    for odd in corpus():
        whole = of(odd.data)
        assert fingerprint(odd.data[start : start + 1_000] for start in range(0, len(odd.data), 1_000)) == whole, odd.name
        seen.setdefault(whole, odd.name)

    # Those of which nothing is left but white space.
    assert {odd.name for odd in corpus()} - set(seen.values()) == {
        "shape-newline",
        "shape-two-newlines",
        "shape-space",
        "shape-cr",
    }


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"--b\n" * 400_000, id="parts that are nothing"),
        pytest.param(b"--b\n\nx\n" * 300_000, id="300,000 parts"),
        pytest.param(b"".join(b"--b%d\nContent-Type: multipart/mixed; boundary=b%d\n\n" % (n, n + 1) for n in range(30_000)), id="30,000 deep"),
        pytest.param(b"\n--" * 700_000, id="nearly delimiters"),
        pytest.param(b" " * 2_000_000, id="one line of blanks"),
        pytest.param(b"\r" * 2_000_000, id="carriage returns"),
        pytest.param(b"--b\nContent-Type: text/plain; " + b'a="\\"; ' * 300_000, id="parameters"),
        pytest.param(b"--b\nContent-Transfer-Encoding: quoted-printable\n\n" + b"=" * 2_000_000, id="one line of equals signs"),
        pytest.param(b"--b\nContent-Type: text/plain; charset=utf-7\n\n+" + b"A" * 2_000_000, id="utf-7 without end"),
    ],
)  # fmt: skip
def test_two_hostile_megabytes_take_no_longer_than_others(body: bytes) -> None:
    message = b"Message-ID: <a@b>\nContent-Type: multipart/mixed; boundary=b\n\n" + body
    before = time.process_time()

    of(message)

    assert time.process_time() - before < 2


def test_a_message_of_fifty_megabytes_passes_through_in_pieces() -> None:
    line = base64.b64encode(bytes(range(57))) + b"\r\n"
    head = b"Message-ID: <a@b>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: base64\r\nContent-Type: application/zip\r\n\r\n"

    tracemalloc.start()
    fingerprint(chain([head], repeat(line * 12_800, 50), [b"--b--\r\n"]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 8 << 20
