"""MX layouts and the plans between them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.errors import Refused
from failsafe.failover.zone import MxLayout, apply_step, mx_layout_fault, plan_failback, plan_failover, plan_peace, serving, steps
from failsafe.model import MxSet, Side, Strategy

MAIL, SECOND, AWAY, AWAY_TOO = "mail.example.org", "mail2.example.org", "mx.away.example", "mx2.away.example"


def layout(strategy: Strategy, primaries: tuple[str, ...] = (MAIL,), secondaries: tuple[str, ...] = (AWAY,)) -> MxLayout:
    return MxLayout(strategy, primaries, secondaries)


def test_swap_with_one_primary_moves_one_record() -> None:
    peace = MxSet.of((10, MAIL), (20, AWAY), (21, AWAY_TOO), ttl_seconds=60)
    planned = plan_failover(peace, layout(Strategy.SWAP, secondaries=(AWAY, AWAY_TOO)))
    assert planned == MxSet.of((20, AWAY), (21, AWAY_TOO), (30, MAIL), ttl_seconds=60)
    assert len(steps(peace, planned)) == 1


def test_swap_keeps_the_order_of_several_primaries() -> None:
    peace = MxSet.of((10, MAIL), (11, SECOND), (20, AWAY))
    planned = plan_failover(peace, layout(Strategy.SWAP, primaries=(MAIL, SECOND)))
    assert planned == MxSet.of((20, AWAY), (30, MAIL), (31, SECOND))


def test_swap_keeps_preferences_that_a_person_chose() -> None:
    peace = MxSet.of((5, MAIL), (50, AWAY))
    assert plan_failover(peace, layout(Strategy.SWAP)) == MxSet.of((50, AWAY), (51, MAIL))


def test_on_demand_adds_the_secondaries_below_the_primary() -> None:
    planned = plan_failover(MxSet.of((10, MAIL), ttl_seconds=300), layout(Strategy.ON_DEMAND, secondaries=(AWAY, AWAY_TOO)))
    assert planned == MxSet.of((5, AWAY), (6, AWAY_TOO), (10, MAIL), ttl_seconds=300)


def test_on_demand_moves_the_primaries_only_where_there_is_no_room() -> None:
    planned = plan_failover(MxSet.of((0, MAIL), (5, SECOND)), layout(Strategy.ON_DEMAND, primaries=(MAIL, SECOND)))
    assert planned == MxSet.of((5, AWAY), (10, MAIL), (15, SECOND))


def test_on_demand_uses_preference_zero_when_one_place_is_left() -> None:
    assert plan_failover(MxSet.of((1, MAIL)), layout(Strategy.ON_DEMAND)) == MxSet.of((0, AWAY), (1, MAIL))


def test_replace_lists_the_secondaries_alone() -> None:
    planned = plan_failover(MxSet.of((10, MAIL)), layout(Strategy.REPLACE, secondaries=(AWAY, AWAY_TOO)))
    assert planned == MxSet.of((10, AWAY), (11, AWAY_TOO))


def test_the_ttl_is_kept_unless_one_is_set() -> None:
    peace = MxSet.of((10, MAIL), ttl_seconds=3600)
    assert plan_failover(peace, layout(Strategy.ON_DEMAND)).ttl_seconds == 3600
    assert plan_failover(peace, layout(Strategy.ON_DEMAND), 60).ttl_seconds == 60


def test_failback_restores_the_exact_previous_set() -> None:
    previous = MxSet.of((7, MAIL), ttl_seconds=900)
    outage = plan_failover(previous, layout(Strategy.ON_DEMAND))
    assert plan_failback(outage, previous, layout(Strategy.ON_DEMAND)) == previous


def test_failback_without_a_known_previous_set_writes_the_peace_layout() -> None:
    outage = MxSet.of((5, AWAY), (10, MAIL), ttl_seconds=60)
    assert plan_failback(outage, None, layout(Strategy.ON_DEMAND)) == MxSet.of((10, MAIL), ttl_seconds=60)


def test_failback_refuses_a_set_that_is_no_outage_layout() -> None:
    with pytest.raises(Refused, match="do not fit"):
        plan_failback(MxSet.of((5, "mx.foreign.example"), (10, MAIL)), None, layout(Strategy.ON_DEMAND))


def test_a_swap_layout_may_not_be_imposed_on_a_zone_that_lists_the_primary_alone() -> None:
    fault = mx_layout_fault(MxSet.of((10, MAIL)), layout(Strategy.SWAP))
    assert fault is not None
    assert AWAY in fault


@pytest.mark.parametrize(
    "found",
    [
        MxSet(()),
        MxSet.of((0, "")),
        MxSet.of((10, MAIL), (10, AWAY)),
        MxSet.of((10, MAIL), (20, MAIL), (30, AWAY)),
        MxSet.of((10, MAIL), (20, AWAY), (30, "mx.foreign.example")),
        MxSet.of((30, MAIL), (20, AWAY)),
    ],
    ids=["empty", "null", "equal preferences", "twice", "foreign", "outage"],
)
def test_a_set_that_is_no_peace_layout_of_swap_is_told_and_refused(found: MxSet) -> None:
    assert mx_layout_fault(found, layout(Strategy.SWAP)) is not None
    with pytest.raises(Refused):
        plan_failover(found, layout(Strategy.SWAP))


def test_no_room_above_is_refused_and_never_wraps_around() -> None:
    with pytest.raises(Refused, match="no room"):
        plan_failover(MxSet.of((65_500, MAIL), (65_535, AWAY)), layout(Strategy.SWAP))


def test_an_exchange_on_both_sides_is_refused() -> None:
    with pytest.raises(Refused, match="both sides"):
        plan_peace(MxSet.of((10, MAIL)), layout(Strategy.SWAP, secondaries=(MAIL,)))


def test_adopting_writes_the_layout_of_the_design() -> None:
    planned = plan_peace(MxSet.of((1, MAIL), ttl_seconds=60), layout(Strategy.SWAP, (MAIL, SECOND), (AWAY, AWAY_TOO)))
    assert planned == MxSet.of((10, MAIL), (11, SECOND), (20, AWAY), (21, AWAY_TOO), ttl_seconds=60)


def test_serving_reads_the_best_preference() -> None:
    shape = layout(Strategy.SWAP)
    assert serving(MxSet.of((10, MAIL), (20, AWAY)), shape) is Side.PRIMARY
    assert serving(MxSet.of((30, MAIL), (20, AWAY)), shape) is Side.SECONDARY
    assert serving(MxSet.of((10, MAIL), (10, AWAY)), shape) is None
    assert serving(MxSet.of((5, "mx.foreign.example"), (10, MAIL)), shape) is None
    assert serving(MxSet(()), shape) is None


names = st.integers(1, 10).map(lambda count: tuple(f"host{number}" for number in range(count)))
sides = st.tuples(names, names).map(lambda both: (tuple(f"{n}.ours" for n in both[0]), tuple(f"{n}.away" for n in both[1])))


@st.composite
def peace_sets(draw: st.DrawFn) -> tuple[MxLayout, MxSet]:
    primaries, secondaries = draw(sides)
    shape = MxLayout(draw(st.sampled_from(list(Strategy))), primaries, secondaries)
    first = draw(st.lists(st.integers(0, 200), min_size=len(primaries), max_size=len(primaries)))
    records = list(zip(first, primaries, strict=True))
    if shape.strategy is Strategy.SWAP:
        behind = draw(st.lists(st.integers(max(first) + 1, 500), min_size=len(secondaries), max_size=len(secondaries)))
        records += zip(behind, secondaries, strict=True)
    return shape, MxSet.of(*records, ttl_seconds=draw(st.sampled_from([None, 60, 3600])))


@given(peace_sets())
def test_a_flip_there_and_back_is_always_valid_and_exact(case: tuple[MxLayout, MxSet]) -> None:
    shape, peace = case
    outage = plan_failover(peace, shape)
    assert serving(peace, shape) is Side.PRIMARY
    assert serving(outage, shape) is Side.SECONDARY
    assert mx_layout_fault(outage, shape, Side.SECONDARY) is None
    assert outage.exchanges <= {*shape.primaries, *shape.secondaries}
    assert plan_failback(outage, peace, shape) == peace


@given(peace_sets())
def test_no_state_on_the_way_of_a_change_is_empty_or_foreign(case: tuple[MxLayout, MxSet]) -> None:
    shape, peace = case
    outage = plan_failover(peace, shape)
    for before, after in ((peace, outage), (outage, peace)):
        found = before
        for step in steps(before, after):
            found = apply_step(found, step)
            assert found
            assert found.exchanges <= {*shape.primaries, *shape.secondaries}
        assert found.same_records(after)


any_set = st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcdef")), min_size=1, max_size=6).map(
    lambda records: MxSet.of(*records)
)


@given(any_set, any_set)
def test_one_record_lives_through_every_change_whatever_becomes_visible_first(before: MxSet, after: MxSet) -> None:
    ordered = steps(before, after)
    untouched = set(before.records) & set(after.records)
    assert untouched or any(step.before is not None and step.after is not None for step in ordered)
    found = before
    for step in ordered:
        found = apply_step(found, step)
        assert found
    assert found.same_records(after)
