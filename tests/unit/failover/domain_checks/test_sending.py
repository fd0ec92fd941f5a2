"""How a mail server looks to receivers: names of addresses, greeting, block lists asked the right way."""

import pytest

from failsafe.failover.domain_checks.block_lists import ListSeen, ToAsk, judge_dnsbl, questions, read_list
from failsafe.failover.domain_checks.sending import AddressName, HeloSeen, is_public, judge_helo, judge_ptr
from failsafe.model import Severity
from tests.unit.failover.domain_checks.answers import Answers

ADDRESS, ZONE = "198.51.100.7", "bl.example"
GOOD_NAME = AddressName(ADDRESS, ("mail.example.org",), ("mail.example.org",))


@pytest.mark.parametrize(
    ("seen", "severity"),
    [
        ([GOOD_NAME], Severity.OK),
        ([GOOD_NAME, AddressName("2001:db8::1")], Severity.FAIL),
        ([AddressName(ADDRESS, ("other.example",))], Severity.FAIL),
        ([AddressName(ADDRESS, error="SERVFAIL")], Severity.SKIPPED),
        ([AddressName("192.168.1.2")], Severity.SKIPPED),
        ([], Severity.SKIPPED),
    ],
)
def test_every_public_address_has_a_name_that_leads_back(seen: list[AddressName], severity: Severity) -> None:
    found = judge_ptr("vps", seen, "mail.example.org")
    assert (found.code, found.severity) == ("ptr", severity)
    assert severity is not Severity.FAIL or "mail.example.org" in found.mend


def test_addresses_of_the_home_are_not_the_worlds() -> None:
    assert [is_public(each) for each in ("10.1.2.3", "100.64.0.1", "::1", "fd00::1", ADDRESS, "2001:db8::1")] == [False] * 4 + [
        True
    ] * 2


@pytest.mark.parametrize(
    ("seen", "severity"),
    [
        (HeloSeen("mail.example.org", (ADDRESS,), server=(ADDRESS,)), Severity.OK),
        (HeloSeen("mail.example.org", ("192.0.2.9",), server=(ADDRESS,)), Severity.WARN),
        (HeloSeen("mail.example.org", (), server=(ADDRESS,)), Severity.WARN),
        (HeloSeen("localhost.localdomain", (ADDRESS,)), Severity.WARN),
        (HeloSeen("mail", (ADDRESS,)), Severity.WARN),
        (HeloSeen("mail.example.org", error="SERVFAIL"), Severity.SKIPPED),
        (HeloSeen(), Severity.SKIPPED),
    ],
)
def test_the_greeting_is_a_full_name_that_leads_to_the_server(seen: HeloSeen, severity: Severity) -> None:
    found = judge_helo("vps", seen)
    assert (found.code, found.severity) == ("helo", severity)


def a_list(listed: object = ("127.0.0.2",), clean: object = (), ours: object = ()) -> ListSeen:
    answers = Answers(
        {
            (f"2.0.0.127.{ZONE}", "A"): listed,  # type: ignore[dict-item]
            (f"1.0.0.127.{ZONE}", "A"): clean,  # type: ignore[dict-item]
            (f"7.100.51.198.{ZONE}", "A"): ours,  # type: ignore[dict-item]
        }
    )
    return read_list(ToAsk(ZONE, (ADDRESS,)), lambda name: answers.ask(name, "A"))


@pytest.mark.parametrize(
    ("seen", "severity", "word"),
    [
        (a_list(), Severity.OK, "on none of"),
        (a_list(ours=("127.0.0.4",)), Severity.FAIL, "127.0.0.4"),
        (a_list(ours=("127.0.0.11",)), Severity.FAIL, "should not send"),
        (a_list(ours=("127.255.255.254",)), Severity.SKIPPED, "public resolver"),
        (a_list(ours="SERVFAIL"), Severity.SKIPPED, "SERVFAIL"),
        (a_list(ours=("203.0.113.9",)), Severity.SKIPPED, "rewrites"),
        (a_list(listed=(), ours=("127.0.0.4",)), Severity.SKIPPED, "test point"),
        (a_list(clean=("127.0.0.2",), ours=("127.0.0.2",)), Severity.SKIPPED, "everything"),
        (
            a_list(listed=("127.255.255.254",), clean=("127.255.255.254",), ours=("127.255.255.254",)),
            Severity.SKIPPED,
            "no listing",
        ),
        (a_list(listed="timeout"), Severity.SKIPPED, "timeout"),
    ],
)
def test_only_a_list_whose_test_points_are_right_is_believed(seen: ListSeen, severity: Severity, word: str) -> None:
    found = judge_dnsbl("vps", [seen], "here")
    assert (found.code, found.severity, word in found.text) == ("dnsbl", severity, True)


DOMAINS = ToAsk("dbl.example", ("example.org",), of_domains=True)


def of_domains(listed: object = ("127.0.1.2",), clean: object = (), ours: object = (), asked: ToAsk = DOMAINS) -> ListSeen:
    test_point, innocent = asked.test_points
    table = {f"{test_point}.{asked.zone}": listed, f"{innocent}.{asked.zone}": clean, f"example.org.{asked.zone}": ours}
    answers = Answers({(name, "A"): found for name, found in table.items()})  # type: ignore[misc]
    return read_list(asked, lambda name: answers.ask(name, "A"))


@pytest.mark.parametrize(
    ("seen", "severity", "word"),
    [
        (of_domains(), Severity.OK, "on none of dbl.example"),
        (of_domains(ours=("127.0.1.2",)), Severity.FAIL, "example.org is on dbl.example (127.0.1.2)"),
        (of_domains(ours=("127.0.1.255",)), Severity.SKIPPED, "an error and no listing"),
        (of_domains(ours=("127.0.0.1",)), Severity.SKIPPED, "this resolver is refused"),
        (of_domains(ours=("127.255.255.254",)), Severity.SKIPPED, "public resolver"),
        (
            of_domains(listed=("127.0.0.1",), clean=("127.0.0.1",), ours=("127.0.0.1",)),
            Severity.SKIPPED,
            "this resolver is refused",
        ),
        (of_domains(listed=()), Severity.SKIPPED, "does not list its test point test"),
        (
            of_domains(clean=("127.0.1.2",), ours=("127.0.1.2",)),
            Severity.SKIPPED,
            "it lists invalid, and so would list everything",
        ),
        (of_domains(ours=("203.0.113.9",)), Severity.SKIPPED, "rewrites"),
    ],
)
def test_a_list_of_domains_is_believed_on_the_same_terms(seen: ListSeen, severity: Severity, word: str) -> None:
    found = judge_dnsbl("vps", [seen], "here")
    assert (found.severity, word in found.text) == (severity, True), found.text


def test_a_list_whose_operator_names_another_test_point_is_tested_with_that() -> None:
    asked = ToAsk("multi.surbl.org", ("example.org",), of_domains=True)

    assert questions([asked]) == ("test.surbl.org.multi.surbl.org", "invalid.multi.surbl.org", "example.org.multi.surbl.org")
    assert of_domains(asked=asked).broken == ""


def test_a_domain_that_is_listed_is_told_where_to_ask() -> None:
    seen = of_domains(ours=("127.0.1.2",), asked=ToAsk("dbl.spamhaus.org", ("example.org",), of_domains=True))

    assert "check.spamhaus.org" in judge_dnsbl("vps", [seen], "here").mend


def test_one_list_that_does_not_answer_hides_no_other() -> None:
    found = judge_dnsbl("vps", [a_list(), ListSeen("dead.example", broken="silent")], "here")
    assert (found.severity, "dead.example: silent" in found.text) == (Severity.OK, True)


def test_where_no_list_was_asked_the_reason_is_told() -> None:
    assert judge_dnsbl("vps", [], "here", "no address").text == "no address"


def test_an_ipv6_address_is_asked_nibble_by_nibble() -> None:
    assert ToAsk(ZONE, ()).question("2001:db8::1") == f"1{'.0' * 23}.8.b.d.0.1.0.0.2.{ZONE}"
