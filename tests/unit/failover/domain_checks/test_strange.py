"""Whatever strangers put into DNS or serve on the web: a judge says something of it, and never stumbles."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime

from hypothesis import example, given, settings
from hypothesis import strategies as st

from failsafe.adapters.certificates import dkim_key_bits
from failsafe.failover.domain_checks.block_lists import ToAsk, judge_dnsbl, read_list
from failsafe.failover.domain_checks.dane import ExchangeTlsa, judge_dane
from failsafe.failover.domain_checks.dkim import key_of
from failsafe.failover.domain_checks.dmarc import judge_dmarc, read_dmarc
from failsafe.failover.domain_checks.dnssec import Signed, Signing
from failsafe.failover.domain_checks.mta_sts import StsSeen, judge_mta_sts, remember
from failsafe.failover.domain_checks.registration import judge_registration, parse_registration, servers_for
from failsafe.failover.domain_checks.spf import judge_spf, read_spf
from failsafe.failover.domain_checks.tls_rpt import TlsRptSeen, judge_tls_rpt
from failsafe.failover.zone import MxLayout
from failsafe.mail.tlsa import ShownCertificate
from failsafe.model import Severity, Side, Strategy
from tests.unit.failover.domain_checks.answers import Answers

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
NAME, LAYOUT = "example.org", MxLayout(Strategy.ON_DEMAND, ("mail.example.org",), ("mx.example.net",))
LISTS = (ToAsk("bl.example", ("192.0.2.1",)), ToAsk("dbl.example", (NAME,), of_domains=True))
PIECES = [
    "v=spf1",
    "v=DMARC1;",
    "v=STSv1;",
    "v=TLSRPTv1;",
    "v=DKIM1;",
    "p=",
    "p=none",
    "rua=",
    "mailto:",
    "@",
    "!",
    "?",
    ",",
    ";",
    "=",
    ":",
    "/",
    "%",
    "%{i}",
    "include:",
    "redirect=",
    "exists:",
    "a",
    "mx",
    "ip4:",
    "ip6:",
    "all",
    "~",
    "-",
    "+",
    "id=",
    "k=rsa",
    "k=ed25519",
    "version:",
    "mode:",
    "enforce",
    "max_age:",
    "604800",
    "mx:",
    "*.",
    "3",
    "1",
    "1",
    "00",
    "ff",
    "example.org",
    "\n",
]
TEXT = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join),
)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS)
@example(("v=spf1 include:%{ include:example.org exists: a//",), ())
def test_records_of_text(own: tuple[str, ...], others: tuple[str, ...]) -> None:
    class Everywhere(Answers):
        def ask(self, name: str, kind: str):  # type: ignore[no-untyped-def]
            return Answers({(name, kind): own if name.endswith(NAME) else others}).ask(name, kind)

    world = Everywhere({})
    judged = [
        judge_spf(NAME, read_spf(NAME, world), ("_spf.example.net",), ("mail.example.org",)),
        judge_dmarc(NAME, read_dmarc(NAME, world)),
        judge_tls_rpt(NAME, TlsRptSeen(own), (NAME,), has_policy=True),
        judge_dane(
            NAME,
            [
                ExchangeTlsa(
                    "mail.example.org", Side.PRIMARY, own, signed=Signed(Signing.SECURE, ""), shown=ShownCertificate(b"a", b"b")
                )
            ],
        ),
        judge_dnsbl("vps", [read_list(each, lambda name: world.ask(name, "A")) for each in LISTS], "here"),
    ]
    assert all(found.text and isinstance(found.severity, Severity) for found in judged)
    with suppress(ValueError):
        dkim_key_bits(*key_of(own))


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXT)
def test_policies(records: tuple[str, ...], policy: str) -> None:
    seen = StsSeen((*records, "v=STSv1; id=1")[-2:], policy=policy)
    kept = remember(seen, NOW)
    assert judge_mta_sts(NAME, StsSeen(remembered=kept), LAYOUT, NOW).text
    assert judge_mta_sts(NAME, seen, LAYOUT, NOW).text


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.text(max_size=20),
        st.sampled_from(["expiration", "2027-01-01T00:00:00Z", "9999-12-31"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["events", "eventAction", "eventDate", "status", "services"]), inner, max_size=4),
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(JSON)
@example({"events": [{"eventAction": "expiration", "eventDate": "0001-01-01T00:00:00+23:59"}]})
@example({"services": [[["org"], None]]})
def test_answers_of_registries(found: object) -> None:
    body = json.dumps(found).encode()
    with suppress(ValueError):
        assert judge_registration(NAME, parse_registration(NAME, body, NOW), NOW).text
    with suppress(ValueError):
        assert all(url.startswith("https://") for url in servers_for("org", body))
