"""What a person is told is true, and the command in it is one that helps."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from failsafe.failover.decide import decide
from failsafe.failover.facts import DomainFacts
from failsafe.failover.notices import told_event
from failsafe.failover.plan import steps_by_hand
from failsafe.failover.readiness import judge_readiness
from failsafe.model import Finding, MxSet, Notice, Severity, Verdict
from tests.unit.failover.world import DOMAIN, NOW, Scene, flip, view

SUSPECTED = NOW - timedelta(minutes=16)


def told(facts: DomainFacts) -> Notice:
    notice = told_event(facts, decide(facts, NOW), NOW).notice
    assert notice is not None
    return notice


def held(facts: DomainFacts) -> DomainFacts:
    return replace(facts, record=replace(facts.record, held_until=NOW + timedelta(hours=1)))


def test_mail_that_waits_at_its_senders_is_not_lost() -> None:
    assert told(held(Scene.down())).losing_mail.startswith("no: ")


def test_mail_that_the_primary_refuses_for_good_is_being_lost() -> None:
    views = (view("here", Verdict.LYING, 16), view("vps2", Verdict.LYING, 16))
    assert told(held(replace(Scene.down(), views=views))).losing_mail.startswith("yes: ")


def test_a_hold_is_released_with_one_command() -> None:
    assert told(held(Scene.down())).must_do == f"failsafe release {DOMAIN}"


def test_a_guard_that_passes_by_itself_needs_nobody() -> None:
    assert told(replace(Scene.recovered(), flips=(flip(ago=40),))).must_do.startswith("nothing")


def test_a_doctor_that_never_looked_is_not_asked_in_the_middle_of_an_incident() -> None:
    facts = replace(Scene.down(), readiness=judge_readiness(DOMAIN, None, (), SUSPECTED, NOW))
    assert told(facts).must_do == f"failsafe failover {DOMAIN}"


def test_a_secondary_that_was_not_ready_needs_force() -> None:
    finding = Finding("secondary-accepts", Severity.FAIL, DOMAIN, "refuses mail", "add the domain there", blocks_failover=True)
    facts = replace(Scene.down(), readiness=judge_readiness(DOMAIN, NOW - timedelta(days=1), (finding,), SUSPECTED, NOW))
    assert told(facts).must_do == f"failsafe failover {DOMAIN} --force --reason TEXT"


def test_in_peace_the_finding_says_how_to_mend_it() -> None:
    finding = Finding("secondary-accepts", Severity.FAIL, DOMAIN, "refuses mail", "add the domain there", blocks_failover=True)
    [guard] = judge_readiness(DOMAIN, NOW - timedelta(days=1), (finding,), None, NOW).guards
    assert guard.mend == "add the domain there"


def test_too_few_vantages_are_not_what_a_person_must_mend_in_an_outage() -> None:
    policy = replace(Scene.down().policy, vantages=1)
    facts = replace(Scene.down(), policy=policy, views=(view("here", Verdict.DOWN, 16),), flips=(flip(ago=10),))
    assert told(facts).must_do == f"failsafe failover {DOMAIN}"


def by_hand(facts: DomainFacts, **more: object) -> DomainFacts:
    return replace(facts, policy=replace(facts.policy, writable=False, **more))  # type: ignore[arg-type]


def test_without_a_provider_the_notice_itself_says_what_to_type_in_which_order() -> None:
    notice = told(by_hand(Scene.down()))
    assert notice.must_do == "at the DNS provider: add MX 5 mx.away.example"
    lines = notice.details.splitlines()
    began = lines.index("at the DNS provider, in this order:")
    assert lines[began + 1 : began + 6] == [
        f"1. add     {DOMAIN}. 60 IN MX 5 mx.away.example.",
        "then the MX records are exactly:",
        f"   {DOMAIN}. 60 IN MX 5 mx.away.example.",
        f"   {DOMAIN}. 60 IN MX 10 mail.example.org.",
        "failsafe sees it when it is made, and goes on from there; nobody has to say so.",
    ]


def test_by_hand_no_step_empties_the_set() -> None:
    lines = steps_by_hand(DOMAIN, MxSet.of((10, "a.example"), (11, "b.example"), ttl_seconds=60), MxSet.of((10, "c.example")))
    assert lines == (
        f"1. change  {DOMAIN}. 60 IN MX 10 a.example.",
        f"   into    {DOMAIN}. 60 IN MX 10 c.example.",
        f"2. delete  {DOMAIN}. 60 IN MX 11 b.example.",
        "then the MX records are exactly:",
        f"   {DOMAIN}. 60 IN MX 10 c.example.",
    )


def test_without_a_provider_the_way_back_is_said_as_exactly() -> None:
    facts = by_hand(Scene.recovered())
    assert f"1. delete  {DOMAIN}. 60 IN MX 5 mx.away.example." in told(facts).details
