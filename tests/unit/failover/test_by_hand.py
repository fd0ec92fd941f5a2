"""An order by hand is stayed with until its plan has ended, also while a daemon goes on with the same plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failsafe.errors import LeaseLost
from failsafe.failover.by_hand import run_by_hand
from failsafe.failover.decide import decide_by_hand
from failsafe.failover.runner import Ending
from failsafe.model import DomainState, FlipKind, MxChange, Outcome
from tests.unit.failover.test_runner import World, world
from tests.unit.failover.world import DOMAIN, OUTAGE, PEACE, minutes

__all__ = ["world"]


def order(world: World) -> Ending:
    facts = world.facts()
    decision = decide_by_hand(facts, FlipKind.FAILOVER, world.clock.now())
    return run_by_hand(world.runner, world.journal, world.clock, world.facts, facts, decision, "a drill")


def test_an_order_whose_request_was_lost_is_sent_once_more_and_ends(world: World) -> None:
    world.zone.faults.append("lost-before")
    ending = order(world)
    assert ending.done
    assert (world.zone.sets[DOMAIN], world.zone.attempts) == (OUTAGE, 2)
    assert world.record().state is DomainState.FAILED_OVER


def test_an_order_never_ends_with_its_plan_unfinished(world: World) -> None:
    world.zone.faults.extend(["lost-before"] * 10)
    ending = order(world)
    assert not ending.unfinished
    assert world.journal.unfinished(DOMAIN) is None
    assert world.zone.attempts == 2


def test_a_slow_name_server_is_waited_for(world: World) -> None:
    world.authorities.frozen = {"ns2": PEACE}
    followed = world.clock.now() + minutes(3)

    def follow() -> None:
        if world.clock.now() > followed:
            world.authorities.frozen = {}

    world.clock.asleep = follow
    assert order(world).done


def test_an_order_that_a_daemon_finishes_first_is_told_as_done(world: World) -> None:
    world.authorities.frozen = {"ns2": PEACE}

    def daemon() -> None:
        world.clock.asleep = lambda: None
        world.authorities.frozen = {}
        assert world.turn().done

    world.clock.asleep = daemon
    ending = order(world)
    assert (ending.done, ending.record.state) == (True, DomainState.FAILED_OVER)
    assert ending.intent is not None
    assert ending.intent.outcome is Outcome.DONE
    assert world.zone.attempts == 1


def test_an_order_that_could_not_begin_is_told_as_such(world: World) -> None:
    facts = world.facts()
    decision = decide_by_hand(facts, FlipKind.FAILOVER, world.clock.now())
    world.journal.change(facts.record, replace(facts.record, reason="changed by another"), [])
    with pytest.raises(LeaseLost):
        run_by_hand(world.runner, world.journal, world.clock, world.facts, facts, decision, "a drill")
    assert world.zone.attempts == 0


def test_a_daemon_that_looks_while_the_request_is_on_its_way_changes_nothing_twice(world: World) -> None:
    original = world.zone.apply

    def slow(change: MxChange) -> None:
        world.zone.apply = original  # type: ignore[method-assign]
        world.turn()
        original(change)

    world.zone.apply = slow  # type: ignore[method-assign]
    ending = order(world)
    assert ending.done
    assert world.zone.history == [PEACE, OUTAGE]
