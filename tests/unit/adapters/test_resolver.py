"""Which servers are asked when our own resolver finds only some of their addresses."""

from __future__ import annotations

import dns.name
import dns.resolver
import pytest

from failsafe.adapters.resolver import _remembered, _Server, find_zone
from failsafe.errors import DnsError

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


@pytest.mark.parametrize("said", [".", "org."], ids=["the root", "a top-level domain"])
def test_a_resolver_that_knows_nothing_of_the_domain_names_no_zone(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setattr(dns.resolver, "zone_for_name", lambda *_, **__: dns.name.from_text(said))
    with pytest.raises(DnsError, match="cannot be found"):
        find_zone("example.org")


def test_the_zone_of_a_domain_may_be_one_above_it_or_have_a_single_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns.resolver, "zone_for_name", lambda *_, **__: dns.name.from_text("example.org."))
    assert find_zone("dept.example.org") == "example.org"
    monkeypatch.setattr(dns.resolver, "zone_for_name", lambda *_, **__: dns.name.from_text("test."))
    assert find_zone("test") == "test"
