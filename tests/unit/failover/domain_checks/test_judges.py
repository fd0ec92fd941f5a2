"""The shorter judges: delegation, signatures, DANE, reports, DKIM, DMARC, registration, top-level domain, MX records."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from failsafe.failover.domain_checks.dane import ExchangeTlsa, judge_dane
from failsafe.failover.domain_checks.delegation import Delegated, DelegationSeen, judge_delegation
from failsafe.failover.domain_checks.dkim import DkimSeen, judge_dkim, key_of
from failsafe.failover.domain_checks.dmarc import judge_dmarc, read_dmarc
from failsafe.failover.domain_checks.dnssec import Signed, Signing, judge_dnssec
from failsafe.failover.domain_checks.mx import judge_explicit, judge_target
from failsafe.failover.domain_checks.registration import Registration, judge_registration, parse_registration, servers_for
from failsafe.failover.domain_checks.tls_rpt import TlsRptSeen, judge_tls_rpt
from failsafe.failover.domain_checks.top_level import judge_top_level
from failsafe.failover.facts import ZoneReading
from failsafe.mail.tlsa import ShownCertificate
from failsafe.model import MxSet, ServerAnswer, Severity, Side
from tests.unit.failover.domain_checks.answers import Answers

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
NAME = "example.org"
SECURE = Signed(Signing.SECURE, "signed")

# -- "ns-delegation" -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "registry", "severity"),
    [
        (("a.ns.example", "b.ns.example"), ("a.ns.example", "b.ns.example"), Severity.OK),
        (("a.ns.example",), ("x.other.example",), Severity.FAIL),
        (("a.ns.example",), (), Severity.FAIL),
        (("a.ns.example", "b.ns.example"), ("a.ns.example",), Severity.WARN),
        (("a.ns.example",), ("a.ns.example", "x.other.example"), Severity.WARN),
    ],
)
def test_the_delegation_is_compared_with_the_providers_servers(
    provider: tuple[str, ...], registry: tuple[str, ...], severity: Severity
) -> None:
    seen = judge_delegation(NAME, NAME, DelegationSeen(provider, registry=Delegated(registry)))
    assert (seen.code, seen.severity, seen.blocks_failover) == ("ns-delegation", severity, True)
    assert severity is Severity.OK or ", ".join(provider) in seen.mend


def test_a_delegation_that_is_not_known_blocks_nothing() -> None:
    for unknown in (
        DelegationSeen(provider_error="403"),
        DelegationSeen(("a",), registry=Delegated(error="silent")),
        DelegationSeen(skipped="x"),
    ):
        assert judge_delegation(NAME, NAME, unknown).severity is Severity.SKIPPED


# -- "dnssec", "dane" ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signing", "severity"),
    [
        (Signing.UNSIGNED, Severity.OK),
        (Signing.SECURE, Severity.OK),
        (Signing.BOGUS, Severity.FAIL),
        (Signing.UNKNOWN, Severity.SKIPPED),
    ],
)
def test_only_signatures_that_do_not_fit_are_a_fault(signing: Signing, severity: Severity) -> None:
    seen = judge_dnssec(NAME, NAME, Signed(signing, "because"))
    assert (seen.code, seen.severity) == ("dnssec", severity)
    assert severity is not Severity.FAIL or "DS record" in seen.mend


CERTIFICATE = ShownCertificate(b"whole", b"key")
GOOD = f"3 1 1 {hashlib.sha256(b'key').hexdigest()}"
STALE = f"3 1 1 {hashlib.sha256(b'other').hexdigest()}"
TLSA = ExchangeTlsa("mail.example.org", Side.PRIMARY, (GOOD,), signed=SECURE, shown=CERTIFICATE)


@pytest.mark.parametrize(
    ("changed", "severity"),
    [
        ({}, Severity.OK),
        ({"records": (STALE, GOOD)}, Severity.OK),
        ({"records": (f"3 0 2 {hashlib.sha512(b'whole').hexdigest().upper()}",)}, Severity.OK),
        ({"records": (f"3 1 0 {b'key'.hex()[:4]} {b'key'.hex()[4:]}",)}, Severity.OK),
        ({"records": ()}, Severity.OK),
        ({"records": (STALE,)}, Severity.FAIL),
        ({"signed": Signed(Signing.BOGUS, "x")}, Severity.FAIL),
        ({"signed": Signed(Signing.UNSIGNED, "x")}, Severity.WARN),
        ({"records": (f"1 1 1 {GOOD[6:]}",)}, Severity.WARN),
        ({"records": ("nonsense",)}, Severity.WARN),
        ({"records": (STALE, f"2 1 1 {GOOD[6:]}")}, Severity.SKIPPED),
        ({"shown": None, "shown_error": "silent"}, Severity.SKIPPED),
        ({"error": "SERVFAIL"}, Severity.SKIPPED),
    ],
)
def test_tlsa_records_are_compared_with_the_certificate(changed: dict[str, object], severity: Severity) -> None:
    seen = judge_dane(NAME, [replace(TLSA, **changed)])  # type: ignore[arg-type]
    assert (seen.code, seen.severity) == ("dane", severity)


def test_the_record_that_would_fit_is_given_and_not_for_a_record_that_is_the_secondarys_own() -> None:
    stale = replace(TLSA, records=(STALE,))
    assert f"_25._tcp.mail.example.org. IN TLSA {GOOD}" in judge_dane(NAME, [stale]).mend
    assert "provider" in judge_dane(NAME, [replace(stale, side=Side.SECONDARY)]).mend


# -- "tls-rpt" -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "has_policy", "severity"),
    [
        ((), False, Severity.OK),
        ((), True, Severity.WARN),
        (("v=TLSRPTv1; rua=mailto:me@elsewhere.example",), True, Severity.OK),
        (("v=TLSRPTv1; rua=mailto:me@example.org",), True, Severity.WARN),
        (("v=TLSRPTv1; rua=mailto:me@example.org,https://reports.example/x",), True, Severity.OK),
        (("v=TLSRPTv1; rua=ftp://x",), True, Severity.WARN),
        (("v=TLSRPTv1; rua=mailto:a@x.example", "v=TLSRPTv1; rua=mailto:b@x.example"), True, Severity.WARN),
        (("v=TLSRPTv1; rua",), True, Severity.WARN),
    ],
)
def test_reports_must_not_go_only_to_the_server_that_they_report_on(
    texts: tuple[str, ...], has_policy: bool, severity: Severity
) -> None:
    seen = judge_tls_rpt(NAME, TlsRptSeen(texts), ("example.org", "example.net"), has_policy=has_policy)
    assert (seen.code, seen.severity) == ("tls-rpt", severity)
    assert severity is not Severity.WARN or "_smtp._tls.example.org" in seen.mend


def test_reports_that_cannot_be_looked_up_are_not_known() -> None:
    assert judge_tls_rpt(NAME, TlsRptSeen(error="silent"), (), has_policy=True).severity is Severity.SKIPPED


# -- "dkim" --------------------------------------------------------------------------------------------------------------

KEY = DkimSeen("mail", Side.PRIMARY, texts=("v=DKIM1; p=x",), bits=2048)


@pytest.mark.parametrize(
    ("changed", "severity"),
    [
        ({}, Severity.OK),
        ({"kind": "ed25519", "bits": 256}, Severity.OK),
        ({"texts": ()}, Severity.WARN),
        ({"bits": 1024}, Severity.WARN),
        ({"bits": 768}, Severity.FAIL),
        ({"fault": "the key was revoked (p= is empty)"}, Severity.FAIL),
        ({"error": "SERVFAIL"}, Severity.SKIPPED),
    ],
)
def test_a_dkim_key_must_be_there_readable_and_long_enough(changed: dict[str, object], severity: Severity) -> None:
    seen = judge_dkim(NAME, [KEY, replace(KEY, selector="away", side=Side.SECONDARY, **changed)], secondary_known=True)  # type: ignore[arg-type]
    assert (seen.code, seen.severity) == ("dkim", severity)
    assert severity in (Severity.OK, Severity.SKIPPED) or "away" in seen.text


def test_where_no_selector_is_known_nothing_is_claimed() -> None:
    seen = judge_dkim(NAME, [], secondary_known=False)
    assert (seen.severity, "dkim_selectors" in seen.mend) == (Severity.SKIPPED, True)
    assert "not known" in judge_dkim(NAME, [KEY], secondary_known=False).text


def test_a_selector_that_was_guessed_and_is_not_there_may_be_another_one() -> None:
    assert "dkim_selectors" in judge_dkim(NAME, [replace(KEY, guessed=True, texts=())], secondary_known=True).mend


@pytest.mark.parametrize("text", ["v=DKIM1; p=", "v=DKIM2; p=abc", "v=DKIM1; k=rsa", "v=DKIM1; p=a; p=b"])
def test_a_dkim_record_that_is_of_no_use_says_why(text: str) -> None:
    with pytest.raises(ValueError, match=r"revoked|v=DKIM1|no DKIM record|twice"):
        key_of([text])


# -- "dmarc" -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "severity"),
    [
        (("v=DMARC1; p=reject; rua=mailto:me@example.org",), Severity.OK),
        (("v=DMARC1; p=none",), Severity.OK),
        ((), Severity.WARN),
        (("v=DMARC1; p=none", "v=DMARC1; p=reject"), Severity.WARN),
        (("v=DMARC1; p=maybe",), Severity.WARN),
        (("v=DMARC1; p=none; ; rua",), Severity.WARN),
        (("v=DMARC1; p=none; rua=mailto:me@elsewhere.example",), Severity.WARN),
        ("SERVFAIL", Severity.SKIPPED),
    ],
)
def test_dmarc_is_one_valid_record_whose_reports_may_go_where_they_go(records: tuple[str, ...] | str, severity: Severity) -> None:
    seen = judge_dmarc(NAME, read_dmarc(NAME, Answers({("_dmarc.example.org", "TXT"): records})))
    assert (seen.code, seen.severity) == ("dmarc", severity)
    assert severity is not Severity.WARN or seen.mend


def test_who_agreed_to_get_reports_gets_them() -> None:
    table = {
        ("_dmarc.example.org", "TXT"): ("v=DMARC1; p=none; rua=mailto:me@elsewhere.example!10m",),
        ("example.org._report._dmarc.elsewhere.example", "TXT"): ("v=DMARC1",),
    }
    assert judge_dmarc(NAME, read_dmarc(NAME, Answers(table))).severity is Severity.OK


def test_a_domain_below_has_the_record_of_the_one_above_and_a_top_level_domain_is_not_asked() -> None:
    answers = Answers({("_dmarc.example.org", "TXT"): ("v=DMARC1; p=reject",)})
    assert "of example.org" in judge_dmarc("a.b.example.org", read_dmarc("a.b.example.org", answers)).text
    nothing = Answers({})
    read_dmarc(NAME, nothing)
    assert [name for name, _ in nothing.asked] == ["_dmarc.example.org"]


# -- "domain-expiry", "tld-reputation" -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "severity"), [(400, Severity.OK), (20, Severity.WARN), (6, Severity.FAIL), (-1, Severity.FAIL)])
def test_a_domain_that_ends_soon_is_told_in_time(days: int, severity: Severity) -> None:
    seen = judge_registration(NAME, Registration(NAME, NOW + timedelta(days=days)), NOW)
    assert (seen.code, seen.severity) == ("domain-expiry", severity)
    assert severity is Severity.OK or "renew" in seen.mend


def test_a_domain_on_hold_fails_however_long_it_is_paid_for() -> None:
    held = Registration(NAME, NOW + timedelta(days=400), ("client hold",))
    assert judge_registration(NAME, held, NOW).severity is Severity.FAIL


def test_what_the_registry_does_not_tell_is_not_known() -> None:
    assert judge_registration(NAME, Registration(NAME), NOW).severity is Severity.SKIPPED
    assert judge_registration(NAME, Registration(error="no RDAP server"), NOW).severity is Severity.SKIPPED


def test_a_registrys_answer_and_the_list_of_registries_are_read() -> None:
    body = {"status": ["Active"], "events": [{"eventAction": "expiration", "eventDate": "2027-01-02T03:04:05Z"}]}
    found = parse_registration(NAME, json.dumps(body).encode(), NOW)
    assert (found.ends_at, found.statuses) == (datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC), ("active",))
    listing = json.dumps({"services": [[["org", "net"], ["http://x/", "https://rdap.example/v1"]]]}).encode()
    assert servers_for("org", listing) == ("https://rdap.example/v1/",)
    assert servers_for("de", listing) == ()


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"events": [{"eventAction": "expiration"}]}', b'{"events": 1}', b"[" * 100_000]
)
def test_a_registrys_nonsense_is_an_error_and_no_crash(body: bytes) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        parse_registration(NAME, body, NOW)
    with pytest.raises(ValueError, match="cannot be read"):
        servers_for("org", body)


def test_a_top_level_domain_that_filters_mistrust_is_a_warning() -> None:
    assert judge_top_level("example.org").severity is Severity.OK
    seen = judge_top_level("example.xyz")
    assert (seen.code, seen.severity) == ("tld-reputation", Severity.WARN)


# -- "mx-explicit", "mx-target" ------------------------------------------------------------------------------------------

PEACE = MxSet.of((10, "mail.example.org"))


def reading(*sets: MxSet) -> ZoneReading:
    return ZoneReading(None, tuple(ServerAnswer(f"ns{number}", mx) for number, mx in enumerate(sets)))


def test_every_name_server_must_have_the_records() -> None:
    assert judge_explicit(NAME, PEACE, reading(PEACE, PEACE), "mail.example.org").severity is Severity.OK
    seen = judge_explicit(NAME, PEACE, reading(PEACE, MxSet(())), "mail.example.org")
    assert (seen.severity, "ns1" in seen.text) == (Severity.FAIL, True)


def test_a_null_mx_is_named() -> None:
    null = MxSet.of((0, "."))
    seen = judge_explicit(NAME, null, reading(null), "mail.example.org")
    assert (seen.severity, "RFC 7505" in seen.text) == (Severity.FAIL, True)


@pytest.mark.parametrize("exchange", ["_dc-mx.4f2a.example.org", "192.0.2.1", "[2001:db8::1]"])
def test_a_target_that_no_sender_can_use_is_named(exchange: str) -> None:
    seen = judge_target(NAME, reading(MxSet.of((10, exchange))))
    assert seen is not None
    assert (seen.code, seen.severity, seen.blocks_failover) == ("mx-target", Severity.FAIL, True)
    assert judge_target(NAME, reading(PEACE)) is None
