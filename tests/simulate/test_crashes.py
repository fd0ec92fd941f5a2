"""Killed at any step of a plan, and started again: the end is the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.simulate.engine import START
from tests.simulate.homes import dead_for_a_day
from tests.simulate.scenario import Fault, Scenario
from tests.simulate.world import World

AT = START + timedelta(hours=2)


def outage(provider: str) -> Scenario:
    """Two hours without the primary, at a provider that loses its answers meanwhile, or does not."""
    faults = [Fault("primary", AT, AT + timedelta(hours=2), "", "dead")]
    if provider:
        faults.append(Fault("provider", AT, AT + timedelta(minutes=18), "", provider))
    return replace(dead_for_a_day(1), faults=tuple(faults), until=START + timedelta(hours=12), spread=timedelta(seconds=2))


def ran(scenario: Scenario, crash_on: int = 0) -> World:
    world = World(scenario)
    world.machines["nas"].crash_on = crash_on
    world.run()
    return world


def end(world: World) -> object:
    """A request that arrives late may make the change while no plan runs: it is then recognised, and is no flip of the journal."""
    record = world.store.records["example.org"]
    return record.state, record.serving, world.zone.held, dict(world.letters)


@pytest.mark.parametrize("provider", ["", "before", "after", "late", "limited"])
def test_killed_at_any_step_it_reaches_the_same_end(provider: str) -> None:
    scenario = outage(provider)
    undisturbed = ran(scenario)
    steps = undisturbed.machines["nas"].passed
    assert steps >= 20
    assert len(undisturbed.watchman.flips) == 2

    others = {step: end(ran(scenario, crash_on=step)) for step in range(1, steps + 1)}

    assert {step: found for step, found in others.items() if found != end(undisturbed)} == {}
