"""MTA-STS: what a sender would make of record and policy, now and from its memory."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from failsafe.failover.domain_checks.mta_sts import RememberedPolicy, StsSeen, judge_mta_sts, judge_sts_host, remember
from failsafe.failover.zone import MxLayout
from failsafe.mail.mta_sts import matches, parse_id, parse_policy, sts_records
from failsafe.model import Finding, Severity, Strategy

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
LAYOUT = MxLayout(Strategy.ON_DEMAND, ("mail.example.org",), ("mx.example.net",))
POLICY = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.org\r\nmx: *.example.net\r\nmax_age: 604800\r\n"
ALONE = POLICY.replace("mx: *.example.net\r\n", "")
WELL = StsSeen(("v=STSv1; id=20260101;",), policy=POLICY, addresses=("192.0.2.80",))


def judged(seen: StsSeen) -> Finding:
    return judge_mta_sts("example.org", seen, LAYOUT, NOW)


def kept(text: str, days: int = 1, was: str = "") -> RememberedPolicy:
    return RememberedPolicy("20260101", text, NOW - timedelta(days=days), was)


def test_a_policy_that_lists_both_sides_is_good_and_none_at_all_is_too() -> None:
    assert judged(WELL).severity is Severity.OK
    assert judged(StsSeen()).severity is Severity.OK


def test_a_secondary_that_an_enforced_policy_does_not_list_fails_and_blocks_and_the_line_is_given() -> None:
    seen = judged(replace(WELL, policy=ALONE))
    assert (seen.code, seen.severity, seen.blocks_failover) == ("mta-sts", Severity.FAIL, True)
    assert "`mx: mx.example.net`" in seen.mend


def test_in_testing_it_is_a_warning_and_in_none_it_is_nothing() -> None:
    assert judged(replace(WELL, policy=ALONE.replace("enforce", "testing"))).severity is Severity.WARN
    assert judged(replace(WELL, policy=ALONE.replace("enforce", "none"))).severity is Severity.OK


def test_a_primary_that_is_not_listed_is_a_warning_since_a_failover_would_help() -> None:
    assert judged(replace(WELL, policy=POLICY.replace("mail.example.org", "old.example.org"))).severity is Severity.WARN


def test_a_policy_that_cannot_be_fetched_is_a_warning_that_blocks_nothing() -> None:
    """The policy host may be the dead primary itself."""
    seen = judged(replace(WELL, policy="", policy_error="no connection"))
    assert seen.severity is Severity.WARN


@pytest.mark.parametrize("seen", [replace(WELL, policy="", policy_error="no connection"), StsSeen()])
def test_senders_keep_an_enforced_policy_that_is_gone_for_as_long_as_it_said(seen: StsSeen) -> None:
    assert judged(replace(seen, remembered=kept(ALONE, 6))).severity is Severity.FAIL
    assert judged(replace(seen, remembered=kept(ALONE, 8))).severity is not Severity.FAIL
    assert judged(replace(seen, remembered=kept(POLICY, 6))).severity is Severity.WARN


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"texts": ("v=STSv1; id=1", "v=STSv1; id=2")}, "2 records"),
        ({"texts": ("v=STSv1; id=a-b",)}, "letters and digits"),
        ({"texts": ("v=STSv1; id=1; nonsense",)}, "no tag=value"),
        ({"policy": "mode: enforce\nmx: a\nmax_age: 1"}, "version"),
        ({"policy": POLICY.replace("604800", "99999999")}, "max_age"),
        ({"policy": POLICY.replace("604800", "3600")}, "less than a day"),
        ({"policy": "<html>"}, "version"),
        ({"policy": "version: STSv1\nmode: enforce\nmax_age: 604800"}, "no mx line"),
        ({"kind": "text/html"}, "text/html"),
    ],
)
def test_what_senders_would_not_heed_is_a_warning_with_its_mend(changed: dict[str, object], word: str) -> None:
    seen = judged(replace(WELL, **changed))  # type: ignore[arg-type]
    assert (seen.severity, word in seen.text, bool(seen.mend)) == (Severity.WARN, True, True)


def test_a_record_that_cannot_be_looked_up_is_not_known() -> None:
    assert judged(StsSeen(texts_error="SERVFAIL")).severity is Severity.SKIPPED


def test_a_policy_that_changed_under_the_old_id_is_noticed_until_the_id_changes() -> None:
    first = remember(replace(WELL, policy=ALONE), NOW)
    assert first is not None
    second = remember(replace(WELL, remembered=first), NOW)
    assert second is not None
    assert "id in DNS is still the old one" in judged(replace(WELL, remembered=second)).text
    third = remember(replace(WELL, remembered=second), NOW)  # the same again
    assert third is not None
    assert third.was == ALONE
    renewed = replace(WELL, texts=("v=STSv1; id=20260102",), remembered=third)
    assert judged(replace(renewed, remembered=remember(renewed, NOW))).severity is Severity.OK
    taken_back = remember(replace(WELL, policy=ALONE, remembered=third), NOW)
    assert taken_back is not None
    assert taken_back.was == ""


def test_nothing_is_remembered_of_what_was_not_fetched_whole() -> None:
    assert remember(replace(WELL, policy_error="broke off"), NOW) is None
    assert remember(replace(WELL, policy="<html>"), NOW) is None


def test_a_wildcard_stands_for_one_label() -> None:
    assert matches("*.example.net", "mx.example.net")
    assert not matches("*.example.net", "a.mx.example.net")
    assert not matches("*.example.net", "example.net")
    assert parse_policy(POLICY).allows("mail.example.org")
    assert parse_id("v=STSv1; id=abc123;") == "abc123"
    assert sts_records(("v=STSv1;id=1", "v=STSv12; id=2", "v=spf1")) == ("v=STSv1;id=1",)


def test_a_policy_host_on_the_primary_is_a_warning() -> None:
    assert judge_sts_host("example.org", WELL, frozenset(("192.0.2.1",))).severity is Severity.OK
    shared = judge_sts_host("example.org", WELL, frozenset(("192.0.2.80",)))
    assert (shared.code, shared.severity, shared.blocks_failover) == ("mta-sts-host", Severity.WARN, False)
    assert judge_sts_host("example.org", replace(WELL, addresses=()), frozenset()).severity is Severity.SKIPPED
    assert judge_sts_host("example.org", StsSeen(), frozenset()).severity is Severity.SKIPPED
