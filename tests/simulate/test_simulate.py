"""The failover machine in a simulated world: every invariant holds in every seed, and a seed is one run."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.simulate.behind import LOSING
from tests.simulate.engine import START
from tests.simulate.run import simulate
from tests.simulate.scenario import draw

SEEDS, CHUNK = 500, 25
WITH_CANARIES = [seed for seed in range(6, 60) if draw(seed).lookers][:4]


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_invariant_holds_whatever_fails(first: int) -> None:
    outcomes = [simulate(seed) for seed in range(first, first + CHUNK)]

    assert [f"seed {one.scenario.seed}: {one.violation}" for one in outcomes if one.violation] == []
    assert sum(one.flips for one in outcomes) > CHUNK  # they were no idle days


def test_a_seed_is_at_least_two_days_with_five_faults() -> None:
    for scenario in map(draw, range(200)):
        assert scenario.until - START >= timedelta(hours=48)
        assert len(scenario.faults) >= 5


@pytest.mark.parametrize("seed", [0, 6, 17])
def test_a_seed_replays_one_run_exactly(seed: int) -> None:
    assert simulate(seed).text() == simulate(seed).text()


def test_lost_delivery_is_met_and_left_in_many_seeds() -> None:
    scenarios = [draw(seed) for seed in range(200)]
    watched = [one for one in scenarios if one.lookers]
    losing = [one for one in watched if any(fault.how in LOSING for fault in one.faults)]
    assert len(watched) > 25
    assert len(losing) > 12


@pytest.mark.parametrize("seed", [*range(6), *WITH_CANARIES])
def test_a_run_that_skips_idle_ticks_is_the_run_that_skips_none(seed: int) -> None:
    assert simulate(seed).log == simulate(seed, skips=False).log
