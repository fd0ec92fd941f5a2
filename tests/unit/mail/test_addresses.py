"""Addresses are found in what programs write into To, and in nothing else."""

from __future__ import annotations

import time

import pytest

from failsafe.mail.addresses import addresses_in


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Anna@Example.org", ("anna@example.org",)),
        (b'"Doe, John" <j@x.org>, bob@y.org (Bob, the other <b@c.d>)', ("j@x.org", "bob@y.org")),
        (b"Doe, John <j@x.org>", ("j@x.org",)),
        (b"undisclosed-recipients:;", ()),
        (b"Friends: a@x.org, B <b@x.org>;, c@x.org", ("a@x.org", "b@x.org", "c@x.org")),
        (b"anna@example.org <bob@example.net>", ("bob@example.net",)),
        (b'"anna@example.org" <bob@example.net>', ("bob@example.net",)),
        (b'"say \\" that" <a@x.org>', ("a@x.org",)),
        (b'"john.doe"@x.org', ("john.doe@x.org",)),
        (b"=?utf-8?q?Gr=C3=BC=C3=9Fe?= <a@x.org>,\r\n\tb@x.org, a@x.org", ("a@x.org", "b@x.org")),
        (b"=?utf-8?q?Anna_=3Ca=40x.org=3E?=", ("a@x.org",)),
        ("Grüße <grüße@x.org>".encode(), ("grüße@x.org",)),
        (b'"never closed <a@x.org>', ("a@x.org",)),
        (b"", ()),
        (b"@x.org, a@, @", ()),
    ],
)
def test_addresses_are_found_in_lower_case_and_once(value: bytes, expected: tuple[str, ...]) -> None:
    assert addresses_in(value) == expected


@pytest.mark.parametrize(
    "value", [b"(" * 500_000, b'"' * 500_000, b"\\" * 500_000, b"<" * 500_000, b"a@" * 250_000, b'"\\"' * 200_000]
)
def test_a_hostile_field_takes_no_longer_than_others(value: bytes) -> None:
    before = time.process_time()

    addresses_in(value)

    assert time.process_time() - before < 1
