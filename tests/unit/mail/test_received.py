"""Which messages prove that strangers reach a mail server, told by their Received fields."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime

import pytest

from failsafe.mail.received import judge_arrival

OWN = ("mail.example.org",)
DATE = "Sun, 22 Nov 2026 12:00:00 +0100"
AT = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)
POSTFIX = (
    "from mx.sender.example (mx.sender.example [198.51.100.7])\n\t(using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)\n\t"
    " key-exchange X25519)\n\t(No client certificate requested)\n\tby mail.example.org (Postfix) with ESMTPS id 4F1\n\tfor <anna@example.org>"
)
LMTP = "from mail.example.org\n\tby mail.example.org with LMTP\n\tid abc (envelope-from <x@sender.example>)\n\tfor <anna@example.org>"
IN_A_CONTAINER = "from mail.example.org ([172.22.1.253])\n\tby 3a9fb2c1 with LMTP id abc\n\t(envelope-from <x@sender.example>)"
FILTERED = "from localhost (localhost [127.0.0.1])\n\tby mail.example.org (Postfix) with ESMTP id 4F2"
EXIM = "from [2001:db8::7] (helo=[127.0.0.1])\n\tby mail.example.org with esmtps (TLS1.3) tls TLS_AES\n\t(Exim 4.96)\n\tid 1x-2y"


def head(*received: str, date: str = DATE) -> bytes:
    lines = [f"Return-Path: <x@sender.example>\n", *(f"Received: {each};\n\t{date}\n" for each in received)]  # noqa: F541
    return "".join([*lines, "From: x@sender.example\nSubject: hello\n\nbody\n"]).encode()


@pytest.mark.parametrize("received", [(POSTFIX,), (LMTP, POSTFIX), (IN_A_CONTAINER, FILTERED, POSTFIX), (EXIM,)])
def test_mail_that_a_stranger_brought_by_smtp_is_proof(received: tuple[str, ...]) -> None:
    found = judge_arrival(head(*received), OWN)
    assert found is not None
    assert found.at == AT
    assert found.peer in ("198.51.100.7", "2001:db8::7")


LOCAL = "by mail.example.org (Postfix, from userid 1000)\n\tid 4F3"
FETCHED = "from pop.other.example [203.0.113.9]\n\tby mail.example.org with POP3 (fetchmail-6.4.37)\n\tfor <anna@localhost> (single-drop)"
SUBMITTED = "from [198.51.100.8] (unknown [198.51.100.8])\n\tby mail.example.org (Postfix) with ESMTPSA id 4F4"
LOGGED_IN = "from laptop (unknown [198.51.100.8])\n\t(Authenticated sender: anna@example.org)\n\tby mail.example.org (Postfix) with ESMTPS id 4F4"
OF_ITSELF = "from mail.example.org (mail.example.org [198.51.100.25])\n\tby mail.example.org (Postfix) with ESMTP id 4F5"
ELSEWHERE = "from mx.sender.example (mx.sender.example [198.51.100.7])\n\tby mailin.away.example (Postfix) with ESMTPS id 4F6"
NEXT_DOOR = "from app (app [172.18.0.5])\n\tby mail.example.org (Postfix) with ESMTP id 4F7"
EXIM_LOCAL = "from anna by mail.example.org with local (Exim 4.96)\n\tid 1x-2z"


@pytest.mark.parametrize(
    "received",
    [
        (LOCAL,),
        (FETCHED, POSTFIX),
        (FILTERED, FETCHED, POSTFIX),
        (SUBMITTED,),
        (LMTP, SUBMITTED),
        (LOGGED_IN,),
        (OF_ITSELF,),
        (ELSEWHERE,),
        (NEXT_DOOR,),
        (EXIM_LOCAL,),
        (),
    ],
)
def test_mail_of_the_machine_itself_and_what_was_fetched_submitted_or_brought_home_is_none(received: tuple[str, ...]) -> None:
    assert judge_arrival(head(*received), OWN) is None


def test_a_program_nearby_that_names_a_stranger_below_its_own_hop_proves_nothing() -> None:
    forged = "from mx.sender.example (mx.sender.example [198.51.100.7])\n\tby mail.other.example (Postfix) with ESMTPS id 4F8"
    assert judge_arrival(head(NEXT_DOOR, forged), OWN) is None


def test_what_a_sender_claims_to_be_counts_for_nothing() -> None:
    claimed = "from [198.51.100.7] (localhost [127.0.0.1])\n\tby mail.example.org (Postfix) with ESMTP id 4F9"
    assert judge_arrival(head(claimed), OWN) is None


def test_a_date_that_is_none_is_no_proof() -> None:
    assert judge_arrival(head(POSTFIX, date="yesterday"), OWN) is None


def test_a_compressed_message_is_read_and_an_encrypted_one_is_no_proof() -> None:
    assert judge_arrival(gzip.compress(head(POSTFIX)), OWN) is not None
    assert judge_arrival(b"CRYPTED\x03\x07" + head(POSTFIX), OWN) is None


@pytest.mark.parametrize(
    "junk", [b"", b"Received:", b"Received: from by with ;;;((((\n\n", b"\xff" * 5000, b"Received: " + b"(" * 9000]
)
def test_nonsense_is_no_proof(junk: bytes) -> None:
    assert judge_arrival(junk, OWN) is None
