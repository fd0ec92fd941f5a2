"""Decisions with vantages that stand near the primary, see little, or are shut out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failsafe.failover.decide import decide
from failsafe.failover.facts import DomainFacts
from failsafe.failover.guards import judge_guards
from failsafe.failover.machine import Trigger
from failsafe.failover.weigh import Standing
from failsafe.model import FlipKind, Guard, Verdict
from tests.unit.failover.test_replay import DOWN, UP, minutes, outage, played, recording, tape
from tests.unit.failover.world import NOW, Scene, view

UNBAN = "on the server: docker exec mailserver setup fail2ban unban OUR-ADDRESS"


def guard(facts: DomainFacts, code: str) -> Guard | None:
    return next((each for each in judge_guards(facts, FlipKind.FAILOVER, NOW) if each.code == code), None)


def standing(facts: DomainFacts, **places: str) -> DomainFacts:
    kept = Standing(**{kind: frozenset({name}) for kind, name in places.items()})
    return replace(facts, policy=replace(facts.policy, standing=kept, unban=UNBAN))


def test_a_vantage_that_alone_cannot_reach_the_primary_is_told_how_to_be_let_in() -> None:
    facts = standing(replace(Scene.down(), views=(view("here", Verdict.DOWN, 60), view("vps2", Verdict.UP, 60))))

    found = guard(facts, "monitor-banned")

    assert found is not None
    assert "here cannot reach the primary" in found.text
    assert found.mend == UNBAN


def test_a_vantage_that_the_primary_refuses_is_told_in_the_primarys_words() -> None:
    refused = replace(view("here", Verdict.UNKNOWN, 60), blocked=True, reasons=("554 blocked using zen.example",))
    facts = standing(replace(Scene.down(), views=(refused, view("vps2", Verdict.DOWN, 60))))

    found = guard(facts, "monitor-banned")

    assert found is not None
    assert "here: 554 blocked using zen.example" in found.text


def test_where_all_see_it_down_nobody_seems_banned() -> None:
    assert guard(standing(Scene.down()), "monitor-banned") is None


@pytest.mark.parametrize(("near", "stands"), [("vps2", False), ("other", True)])
def test_the_silence_of_a_vantage_in_the_primarys_network_never_blocks(near: str, stands: bool) -> None:
    """Just after a start every other vantage has to be heard anew."""
    silent = replace(view("vps2", Verdict.UNKNOWN, 60), last_at=None)
    facts = replace(Scene.down(), views=(view("here", Verdict.DOWN, 60), silent), started_at=NOW - minutes(1))
    heard = tuple(replace(each, last_at=NOW) if each.vantage == "here" else each for each in facts.views)

    found = guard(standing(replace(facts, views=heard), near=near), "start-grace")

    assert (found is not None) is stands


def test_a_vote_from_the_primarys_own_network_counts() -> None:
    assert decide(standing(Scene.down(), near="vps2"), NOW).trigger is Trigger.PRIMARY_DOWN


def test_a_replay_gives_each_vantage_the_same_weight_as_life_does() -> None:
    robot = tape("robot", (UP, 0, 3000))
    three = recording(outage("here", 1000, 120), outage("vps2", 1001, 120), robot)

    assert played(three).flips == ()
    assert len(played(three, standing=Standing(near=frozenset({"robot"}))).flips) == 1


def test_in_a_replay_a_monitors_up_brings_nobody_home() -> None:
    """The machines never see it up again, only the monitor does."""
    dead = [tape(name, (UP, 0, 999), (DOWN, 1000, 1200)) for name in ("here", "vps2")]
    robot = tape("robot", (UP, 0, 999), (DOWN, 1000, 1200), (UP, 1201, 3000))

    [flip] = played(recording(*dead, robot), standing=Standing(shallow=frozenset({"robot"}))).flips

    assert flip.back_at is None
