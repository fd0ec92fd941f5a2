"""Which servers are asked when our own resolver finds only some of their addresses."""

from __future__ import annotations

import pytest

from failsafe.adapters.resolver import _remembered, _Server

FIRST, SECOND, SIXTH = _Server("ns1", "192.0.2.1", 53), _Server("ns2", "192.0.2.2", 53), _Server("ns2", "2001:db8::2", 53)
LOST = _Server("ns2", "", 53)


@pytest.mark.parametrize(
    ("found", "known", "asked"),
    [
        ((FIRST, SECOND), (), (FIRST, SECOND)),
        ((FIRST, LOST), (FIRST, SECOND), (FIRST, SECOND)),
        ((FIRST, LOST), (), (FIRST, LOST)),
        ((FIRST, SECOND, LOST), (FIRST, SECOND, SIXTH), (FIRST, SECOND, SIXTH)),
        ((FIRST, SECOND, LOST), (), (FIRST, SECOND)),
        ((FIRST,), (FIRST, SECOND), (FIRST,)),
    ],
    ids=["all", "remembered", "never known", "one family remembered", "one family never known", "no longer delegated"],
)
def test_a_server_does_not_fall_out_of_the_count_because_our_resolver_stumbles(
    found: tuple[_Server, ...], known: tuple[_Server, ...], asked: tuple[_Server, ...]
) -> None:
    assert _remembered(found, known) == asked
