"""A domain on a new machine: what is believed, and that nothing is written before a person has spoken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failsafe.failover.decide import Decision, Order, decide, decide_by_hand, still_wanted
from failsafe.failover.facts import DomainFacts
from failsafe.failover.notices import told_event
from failsafe.failover.takeover import judge_takeover
from failsafe.model import DomainState, FlipKind, MxSet, Side, Verdict
from tests.unit.failover.world import DOMAIN, LAYOUT, NOW, OUTAGE, PEACE, Scene, flip, minutes, proof, reading, record, view

FAILED_OVER = record(DomainState.FAILED_OVER)


def taken(facts: DomainFacts) -> DomainFacts:
    return replace(facts, record=replace(facts.record, taken_over_at=NOW))


def returned() -> DomainFacts:
    """The primary is back for long enough, and proved ours: a failback would be due."""
    views = (view("here", Verdict.UP, 40), view("vps2", Verdict.UP, 40))
    here = record(DomainState.RECOVERING, 40)
    return replace(Scene.peace(), record=here, views=views, zone=reading(OUTAGE), primary=proof())


@pytest.mark.parametrize("facts", [Scene.down(), returned()], ids=["failover", "failback"])
def test_what_would_be_flipped_is_only_observed(facts: DomainFacts) -> None:
    assert Order.FLIP in decide(facts, NOW).orders

    decision = decide(taken(facts), NOW)

    assert decision.orders == (Order.TELL_OBSERVED,)
    assert [guard.code for guard in decision.guards] == ["taken-over"]
    told = told_event(taken(facts), decision, NOW)
    assert told.notice is not None
    assert told.notice.must_do == f"failsafe acknowledge {DOMAIN} --serving {facts.record.serving}"


def test_a_plan_that_is_still_open_is_not_gone_on_with() -> None:
    facts = replace(Scene.down(), unfinished=flip(outcome=None))
    assert decide(facts, NOW).orders == (Order.RESUME,)

    assert decide(taken(facts), NOW) == Decision(
        reasons=(facts.record.reason, f"say what is true: failsafe acknowledge {DOMAIN} --serving primary|secondary")
    )
    assert not still_wanted(taken(facts), NOW)


@pytest.mark.parametrize("kind", [FlipKind.FAILOVER, FlipKind.ADOPT_MX])
def test_an_order_by_hand_is_refused_too_and_cannot_be_forced(kind: FlipKind) -> None:
    decision = decide_by_hand(taken(Scene.peace()), kind, NOW, force=True)

    assert [guard.code for guard in decision.refusing] == ["taken-over"]
    assert decision.orders == ()


def test_a_journal_that_agrees_with_the_zone_is_kept_as_it_is() -> None:
    made = judge_takeover(FAILED_OVER, None, OUTAGE, LAYOUT, NOW)

    assert made.record == replace(FAILED_OVER, taken_over_at=NOW)
    assert (made.seen, made.unfinished) == (Side.SECONDARY, "")
    assert made.event.notice is not None
    assert made.event.notice.must_do == f"failsafe acknowledge {DOMAIN} --serving secondary"


def test_a_journal_older_than_the_last_flip_halts_the_domain() -> None:
    made = judge_takeover(record(), None, OUTAGE, LAYOUT, NOW)

    assert (made.record.state, made.record.serving) == (DomainState.HALTED, Side.SECONDARY)
    assert "the zone sends mail to the secondary" in made.record.reason


@pytest.mark.parametrize("found", [PEACE, OUTAGE, None])
def test_an_unfinished_plan_halts_the_domain_whatever_the_zone_says(found: MxSet | None) -> None:
    made = judge_takeover(record(DomainState.FAILING_OVER), flip(outcome=None), found, LAYOUT, NOW)

    assert made.record.state is DomainState.HALTED
    assert "was not finished" in made.unfinished
    assert made.record.serving is (Side.SECONDARY if found == OUTAGE else Side.PRIMARY)


@pytest.mark.parametrize("found", [None, MxSet.of((10, "mx.stranger.example"))])
def test_a_zone_that_says_nothing_changes_no_state(found: MxSet | None) -> None:
    made = judge_takeover(FAILED_OVER, None, found, LAYOUT, NOW)

    assert (made.record.state, made.seen) == (DomainState.FAILED_OVER, None)
    assert made.event.notice is not None
    assert made.event.notice.must_do.endswith("primary|secondary")


def test_after_the_word_of_a_person_it_flips_again() -> None:
    facts = returned()
    spoken = replace(taken(facts).record, taken_over_at=None)

    assert Order.FLIP in decide(replace(facts, record=spoken), NOW + minutes(0)).orders
