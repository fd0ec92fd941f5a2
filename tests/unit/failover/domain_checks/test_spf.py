"""SPF: what is counted, what is demanded, and that the mend is the record to publish."""

import pytest

from failsafe.failover.domain_checks.spf import SpfSeen, judge_spf, read_spf
from failsafe.mail.spf import Term, parse_spf, spf_records
from failsafe.model import Finding, Severity
from tests.unit.failover.domain_checks.answers import Answers

DOMAIN, PRIMARY, INCLUDE = "example.org", ("mail.example.org",), ("_spf.away.example",)
OURS = "v=spf1 a:mail.example.org include:_spf.away.example ~all"
AWAY = ("_spf.away.example", "TXT"), ("v=spf1 ip4:192.0.2.0/24 ~all",)


def found(*records: str, **more: tuple[str, ...] | str) -> SpfSeen:
    table = {(DOMAIN, "TXT"): records, AWAY[0]: AWAY[1], ("mail.example.org", "A"): ("192.0.2.1",)}
    return read_spf(DOMAIN, Answers({**table, **{(name, "TXT"): text for name, text in more.items()}}))


def judged(*records: str, **more: tuple[str, ...] | str) -> Finding:
    return judge_spf(DOMAIN, found(*records, **more), INCLUDE, PRIMARY)


def test_a_record_with_the_secondary_and_the_primary_by_name_is_good() -> None:
    seen = judged("other text", OURS)
    assert (seen.code, seen.severity, seen.mend) == ("spf", Severity.OK, "")
    assert "2 of 10 look-ups" in seen.text


def test_the_include_that_is_missing_is_put_before_all() -> None:
    seen = judged("v=spf1 a:mail.example.org -all")
    assert seen.severity is Severity.WARN
    assert seen.mend == 'publish: example.org. IN TXT "v=spf1 a:mail.example.org include:_spf.away.example -all"'


@pytest.mark.parametrize("term", ["mx", "+mx", "mx/24", "MX"])
def test_a_bare_mx_becomes_the_primary_by_name(term: str) -> None:
    seen = judged(f"v=spf1 {term} include:_spf.away.example ~all")
    assert seen.severity is Severity.WARN
    assert seen.mend == 'publish: example.org. IN TXT "v=spf1 a:mail.example.org include:_spf.away.example ~all"'


def test_the_mx_of_another_domain_is_not_ours_to_name() -> None:
    assert judged("v=spf1 mx:other.example include:_spf.away.example ~all").severity is Severity.OK


def test_no_record_gives_one_to_publish() -> None:
    seen = judged("some text")
    assert seen.severity is Severity.WARN
    assert f'"{OURS}"' in seen.mend


def test_two_records_are_an_error_for_receivers() -> None:
    assert judged(OURS, "v=spf1 -all").severity is Severity.FAIL


def test_a_record_that_only_looks_like_spf_does_not_count() -> None:
    assert spf_records(("v=spf10 all", "V=SPF1 -all", "x v=spf1", "v=spf1")) == ("V=SPF1 -all", "v=spf1")


@pytest.mark.parametrize("term", ["ip4", "include", "a:x;y include", "foo:bar", "in clude:x", "-"])
def test_a_term_that_is_none_is_an_error(term: str) -> None:
    seen = judged(f"v=spf1 {term} ~all")
    assert seen.severity is Severity.FAIL


def test_eleven_look_ups_are_one_too_many_and_ten_are_not() -> None:
    ten = " ".join(f"a:h{n}.example" for n in range(9))
    assert judged(f"v=spf1 {ten} include:_spf.away.example ~all").severity is not Severity.FAIL
    seen = judged(f"v=spf1 {ten} a:h9.example include:_spf.away.example ~all")
    assert (seen.severity, "11 look-ups" in seen.text) == (Severity.FAIL, True)


def test_what_is_included_counts_with_what_it_includes_itself() -> None:
    inner = {"deep.example": ("v=spf1 include:deeper.example a mx -all",), "deeper.example": ("v=spf1 exists:x.example ?all",)}
    seen = found("v=spf1 include:deep.example ~all", **inner)
    assert seen.lookups == 5
    assert seen.names == {"deep.example", "deeper.example"}


def test_a_ring_of_includes_ends() -> None:
    ring = {"one.example": ("v=spf1 include:two.example ~all",), "two.example": ("v=spf1 include:one.example ~all",)}
    seen = found("v=spf1 include:one.example ~all", **ring)
    assert (seen.lookups, seen.fault) == (3, "one.example includes itself")


def test_what_is_included_twice_costs_twice() -> None:
    inner = {"deep.example": ("v=spf1 a mx -all",), "b.example": ("v=spf1 include:deep.example -all",)}
    assert found("v=spf1 include:deep.example include:b.example ~all", **inner).lookups == 7


def test_an_endless_chain_of_includes_ends() -> None:
    chain = {f"n{n}.example": (f"v=spf1 include:n{n + 1}.example ~all",) for n in range(500)}
    seen = found("v=spf1 include:n0.example ~all", **chain)
    assert seen.lookups == 30
    assert judge_spf(DOMAIN, seen, (), PRIMARY).severity is Severity.FAIL


def test_an_include_without_a_record_is_an_error_and_one_that_cannot_be_looked_up_is_not_known() -> None:
    assert judged(f"{OURS[:-4]} include:gone.example ~all").severity is Severity.FAIL
    assert judged(f"{OURS[:-4]} include:slow.example ~all", **{"slow.example": "SERVFAIL"}).severity is Severity.SKIPPED


def test_a_domain_that_cannot_be_asked_is_not_known() -> None:
    assert judge_spf(DOMAIN, SpfSeen(error="no answer"), INCLUDE, PRIMARY).severity is Severity.SKIPPED


def test_three_look_ups_that_find_nothing_are_a_warning() -> None:
    assert judged(f"v=spf1 a:x.example a:y.example a:z.example {OURS[7:]}").severity is Severity.WARN


def test_plus_all_and_no_all_are_warnings() -> None:
    assert "+all" in judged(f"{OURS[:-4]}+all").text
    assert judged(OURS[:-5]).mend.endswith('~all"')


def test_redirect_is_followed_only_where_there_is_no_all() -> None:
    assert found("v=spf1 redirect=_spf.away.example").lookups == 1
    assert found("v=spf1 redirect=_spf.away.example -all").lookups == 0
    assert parse_spf("v=spf1 redirect=Other.Example. exp=%{d}") == (
        Term("", "redirect", "other.example"),
        Term("", "exp", "%{d}"),
    )


# -- the address that mail leaves from ------------------------------------------------------------------------------------

SENDER, SENDER6 = "198.51.100.9", "2001:db8::9"


@pytest.mark.parametrize(
    ("record", "may"),
    [
        ("v=spf1 ip4:198.51.100.9 -all", True),
        ("v=spf1 ip4:198.51.100.0/24 -all", True),
        ("v=spf1 a:host.example -all", True),
        ("v=spf1 a:near.example/24 -all", True),
        ("v=spf1 a:near.example//64 -all", False),
        ("v=spf1 mx:mail.example -all", True),
        ("v=spf1 a -all", True),
        ("v=spf1 include:deep.example -all", True),
        ("v=spf1 redirect=deep.example", True),
        ("v=spf1 +all", True),
        ("v=spf1 ip4:198.51.100.8 ~all", False),
        ("v=spf1 ?ip4:198.51.100.9 ~all", False),
        ("v=spf1 ip6:2001:db8::/32 a:gone.example ~all", False),
        ("v=spf1 exists:%{i}.example ~all", None),
        ("v=spf1 ptr ~all", None),
        ("v=spf1 a:slow.example ~all", None),
        ("v=spf1 include:slow.example ~all", None),
    ],
)
def test_whether_an_address_may_send(record: str, may: bool | None) -> None:
    answers = Answers(
        {
            (DOMAIN, "TXT"): (record,),
            (DOMAIN, "A"): (SENDER,),
            ("host.example", "A"): (SENDER,),
            ("near.example", "A"): ("198.51.100.1",),
            ("mail.example", "MX"): ("10 host.example", "0 ."),
            ("deep.example", "TXT"): ("v=spf1 ip4:198.51.100.8 a:host.example -all",),
            ("slow.example", "A"): "SERVFAIL",
            ("slow.example", "TXT"): "SERVFAIL",
        }
    )
    assert read_spf(DOMAIN, answers).may_send(SENDER) is may


def test_a_primary_that_sends_from_an_address_that_may_not_gets_the_record_that_lets_it() -> None:
    seen = judge_spf(DOMAIN, found(OURS), INCLUDE, PRIMARY, ("192.0.2.1", SENDER, SENDER6))

    assert (seen.severity, SENDER in seen.text, SENDER6 in seen.text, "192.0.2.1," in seen.text) == (
        Severity.WARN,
        True,
        True,
        False,
    )
    assert seen.mend == (
        'publish: example.org. IN TXT "v=spf1 a:mail.example.org include:_spf.away.example ip4:198.51.100.9 ip6:2001:db8::9 ~all"'
    )


def test_where_nobody_can_tell_whether_it_may_send_nothing_is_said() -> None:
    record = OURS.replace("~all", "exists:%{i}.x.example ~all")

    assert judge_spf(DOMAIN, found(record), INCLUDE, PRIMARY, (SENDER,)).severity is Severity.OK
