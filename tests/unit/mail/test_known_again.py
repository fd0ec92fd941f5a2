"""The same message is known again after Bridge has rebuilt it or a second server has delivered it; no two different ones are taken for one."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import combinations

import pytest

from failsafe.mail.fingerprint import Fingerprint, fingerprint, same
from tests.contract.bridge_rebuild import rebuilt
from tests.corpus import corpus
from tests.corpus.kit import Odd
from tests.corpus.ordinary import ordinary

AT = datetime(2026, 11, 16, 9, tzinfo=UTC)
OWNER = "bob@example.org"


def of(data: bytes) -> Fingerprint:
    return fingerprint([data[start : start + 65_536] for start in range(0, len(data), 65_536)])


def delivered_elsewhere(data: bytes) -> bytes:
    """As another server's delivery leaves it."""
    return (
        b"Return-Path: <anna@sender.test>\r\nDelivered-To: bob@example.org\r\nReceived: from relay.test by mx2.example.org\r\n"
        + data
    )


@pytest.mark.parametrize("letter", ordinary(), ids=lambda odd: odd.name)
def test_a_rebuilt_letter_is_the_same(letter: Odd) -> None:
    assert same(of(letter.data), of(rebuilt(letter.data, AT, OWNER)))


@pytest.mark.parametrize("letter", ordinary(), ids=lambda odd: odd.name)
def test_a_letter_that_both_servers_got_is_the_same(letter: Odd) -> None:
    assert same(of(letter.data), of(delivered_elsewhere(letter.data)))


def test_no_two_letters_are_the_same_rebuilt_or_not() -> None:
    known = [(odd.name, of(data)) for odd in ordinary() for data in (odd.data, rebuilt(odd.data, AT, OWNER))]

    assert [(a, b) for (a, one), (b, other) in combinations(known, 2) if a != b and same(one, other)] == []


def test_mail_that_breaks_tools_is_known_again_by_its_message_id() -> None:
    """Without one, and where the header itself is broken, a double is kept rather than a message lost."""
    named = {odd.name: odd.data for odd in corpus() if 0 < len(odd.message_id) < 500}

    assert len(named) > 200
    assert [name for name, data in named.items() if not same(of(data), of(delivered_elsewhere(data)))] == []


def test_no_two_messages_that_break_tools_are_taken_for_one() -> None:
    known = {odd.name: of(odd.data) for odd in corpus() if odd.data.strip()}

    assert [(a, b) for (a, one), (b, other) in combinations(known.items(), 2) if same(one, other)] == []
