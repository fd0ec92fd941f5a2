"""Our own line, asked at references on loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from failsafe.adapters.own_line import OwnLineCheck, patience_within
from failsafe.adapters.sockets import split_address
from failsafe.model import OwnLine
from tests.contract.mail_servers import free_port

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
def reference() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def refusing() -> str:
    return f"127.0.0.1:{free_port()}"


def test_a_majority_that_answers_is_up(reference: str) -> None:
    line = OwnLineCheck([reference, reference, refusing()]).look(NOW)

    assert line == OwnLine(NOW, 2, 3)
    assert line.up


def test_half_is_no_majority(reference: str) -> None:
    assert not OwnLineCheck([reference, refusing()]).look(NOW).up


def test_without_references_nobody_can_know() -> None:
    assert not OwnLineCheck([]).look(NOW).up


def test_a_reference_whose_name_does_not_resolve_has_not_answered(reference: str) -> None:
    assert OwnLineCheck(["nowhere.invalid:443", reference]).look(NOW) == OwnLine(NOW, 1, 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail.example.org:25", ("mail.example.org", 25)),
        ("mail.example.org", ("mail.example.org", 443)),
        ("[2001:db8::1]:25", ("2001:db8::1", 25)),
        ("[2001:db8::1]", ("2001:db8::1", 443)),
        ("2001:db8::1", ("2001:db8::1", 443)),
        ("192.0.2.1:25", ("192.0.2.1", 25)),
    ],
)
def test_an_address_is_split(text: str, expected: tuple[str, int]) -> None:
    assert split_address(text, 443) == expected


@pytest.mark.parametrize(
    "text", ["", ":25", "mail.example.org:", "mail.example.org:x", "mail.example.org:70000", "mail.example.org:0"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not HOST:PORT"):
        split_address(text, 443)


def test_where_probes_are_frequent_a_silent_reference_costs_less_than_their_evidence_lasts() -> None:
    assert patience_within(timedelta(minutes=1)) == 5.0
    assert patience_within(timedelta(seconds=4)) == 2.0
    assert patience_within(timedelta(seconds=1)) == 1.0
