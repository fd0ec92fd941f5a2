"""A primary that refuses for good whom it should take: senders get their mail back at once, so it is left sooner, and can be taken out of the records."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from failsafe.failover.decide import Order, decide, decide_by_hand
from failsafe.failover.evidence import due_at, lying_for
from failsafe.failover.facts import DomainFacts
from failsafe.failover.health import EvidenceRun, JudgePolicy, VantageView, judge
from failsafe.failover.machine import Trigger
from failsafe.failover.zone import MxLayout, mx_layout_fault, plan_failback, plan_unlisted
from failsafe.model import Axis, DomainState, Evidence, FlipKind, MxSet, ProbeClass, Side, Strategy, Verdict
from tests.unit.failover.world import AWAY, LAYOUT, MAIL, NOW, PEACE, Scene, minutes, reading, record, view

UP, DOWN, LYING = ProbeClass.UP, ProbeClass.DOWN, ProbeClass.LYING
BOTH = MxSet.of((10, MAIL), (20, AWAY), ttl_seconds=60)


def liar(name: str, lasts: float, *, down_for: float | None = None) -> VantageView:
    """Lying for so many minutes; down before that, if longer."""
    return replace(view(name, Verdict.LYING, down_for or lasts), lying_since_at=NOW - minutes(lasts))


def seen(*views: VantageView, **policies: object) -> DomainFacts:
    facts = replace(Scene.peace(), record=record(DomainState.SUSPECT, 5), views=views)
    return replace(facts, policy=replace(facts.policy, **policies))  # type: ignore[arg-type]


def test_a_quorum_that_sees_lies_waits_a_fifth_of_the_time() -> None:
    assert decide(seen(liar("here", 2), liar("vps2", 2.9)), NOW).trigger is None
    decision = decide(seen(liar("here", 3), liar("vps2", 5)), NOW)
    assert decision.trigger is Trigger.PRIMARY_DOWN
    assert any("refuses for good" in reason for reason in decision.reasons)


def test_one_liar_beside_one_that_is_down_waits_the_whole_time() -> None:
    assert decide(seen(liar("here", 5), view("vps2", Verdict.DOWN, 14)), NOW).trigger is None
    assert decide(seen(liar("here", 15), view("vps2", Verdict.DOWN, 15)), NOW).trigger is Trigger.PRIMARY_DOWN


def test_time_in_which_it_was_only_down_is_no_time_of_lies() -> None:
    assert decide(seen(liar("here", 1, down_for=10), liar("vps2", 1, down_for=10)), NOW).trigger is None


def test_one_that_gets_through_is_believed_against_all_liars() -> None:
    assert decide(seen(liar("here", 9), liar("vps2", 9), view("far", Verdict.UP, 1), vantages=3), NOW).trigger is None


def test_the_guards_stand_against_a_flip_away_from_a_liar_too() -> None:
    held = replace(seen(liar("here", 4), liar("vps2", 4)), leader=False)
    assert decide(held, NOW).orders == (Order.TELL_BLOCKED,)


def test_it_takes_two_looks_at_least_and_never_longer_than_for_a_dead_one() -> None:
    quick = seen(down_for=minutes(6)).policy
    assert lying_for(quick) == minutes(2)
    assert lying_for(replace(quick, down_for=timedelta(seconds=30))) == timedelta(seconds=30)


def test_the_warning_names_the_earlier_time() -> None:
    facts = seen(liar("here", 1), liar("vps2", 1))
    assert due_at(facts) == NOW + minutes(2)
    assert decide(facts, NOW).orders == (Order.TELL_COMING,)


@pytest.mark.parametrize(
    ("strategy", "peace", "unlisted"),
    [
        (Strategy.SWAP, BOTH, MxSet.of((20, AWAY), ttl_seconds=60)),
        (Strategy.ON_DEMAND, PEACE, MxSet.of((10, AWAY), ttl_seconds=60)),
        (Strategy.REPLACE, PEACE, MxSet.of((10, AWAY), ttl_seconds=60)),
    ],
)
def test_where_it_is_configured_a_liar_is_taken_out_and_the_exact_set_comes_back(
    strategy: Strategy, peace: MxSet, unlisted: MxSet
) -> None:
    layout = replace(LAYOUT, strategy=strategy)
    facts = replace(seen(liar("here", 4), liar("vps2", 4), layout=layout, unlist_lying=True), zone=reading(peace))
    for decision in (decide(facts, NOW), decide_by_hand(facts, FlipKind.FAILOVER, NOW)):
        assert decision.plan is not None
        assert decision.plan.change.desired == unlisted
    home = replace(record(DomainState.RECOVERING, 40), previous=peace, written=unlisted)
    back = decide(replace(Scene.recovered(), policy=facts.policy, zone=reading(unlisted), record=home), NOW)
    assert back.trigger is Trigger.PRIMARY_RECOVERED
    assert back.plan is not None
    assert back.plan.change.desired == peace


def test_a_dead_primary_stays_listed_and_so_does_a_liar_where_nothing_is_configured() -> None:
    dead = seen(view("here", Verdict.DOWN, 16), view("vps2", Verdict.DOWN, 16), unlist_lying=True)
    lying = seen(liar("here", 4), liar("vps2", 4))
    for facts in (dead, lying):
        decision = decide(facts, NOW)
        assert decision.plan is not None
        assert MAIL in decision.plan.change.desired.exchanges


def test_a_fence_is_an_outage_layout_of_every_strategy_and_of_peace_in_none() -> None:
    for strategy in Strategy:
        layout = MxLayout(strategy, (MAIL,), (AWAY, "mx2.away.example"))
        unlisted = plan_unlisted(BOTH if strategy is Strategy.SWAP else PEACE, replace(layout, secondaries=(AWAY,)))
        assert mx_layout_fault(unlisted, replace(layout, secondaries=(AWAY,)), Side.SECONDARY) is None
        assert mx_layout_fault(unlisted, layout, Side.SECONDARY) is not None  # one of the secondaries is missing
        assert mx_layout_fault(unlisted, layout, Side.PRIMARY) is not None
        assert plan_failback(unlisted, None, replace(layout, secondaries=(AWAY,))).exchanges >= {MAIL}


def test_lies_are_counted_from_the_first_one_and_end_with_anything_else() -> None:
    def lies(*parts: tuple[ProbeClass, float, float]) -> VantageView:
        runs = [
            EvidenceRun(
                Evidence("vps", "here", Axis.INBOUND, each, NOW - minutes(to), "", MAIL), NOW - minutes(begin), NOW - minutes(to)
            )
            for each, begin, to in parts
        ]
        found = judge(runs, NOW, JudgePolicy(minutes(1), minutes(15)))
        assert found is not None
        return found

    assert lies((UP, 60, 20), (DOWN, 19, 5), (LYING, 4, 0)).lying_since_at == NOW - minutes(4)
    assert lies((UP, 60, 20), (LYING, 19, 5), (DOWN, 4, 4), (LYING, 3, 0)).lying_since_at == NOW - minutes(3)
    assert lies((UP, 60, 20), (LYING, 19, 1), (DOWN, 0, 0)).lying_since_at is None
    assert lies((UP, 60, 20), (LYING, 19, 10), (LYING, 2, 0)).lying_since_at == NOW - minutes(2)  # nobody looked in between
