"""What a person approved is carried out from what is true by then, one domain after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from failsafe.cli.failover import _orders
from failsafe.cli.flipping import Carried, Planned, carry_out_each, is_there
from failsafe.errors import LeaseLost, Refused
from failsafe.failover.by_hand import run_by_hand
from failsafe.failover.decide import Decision, decide_by_hand
from failsafe.failover.facts import DomainFacts, PrimaryProof
from failsafe.failover.runner import Ending
from failsafe.model import DomainState, FlipKind, MxSet, Verdict
from tests.fakes.zone import FakeClock
from tests.unit.failover.test_runner import World, failed_over, world
from tests.unit.failover.world import DOMAIN, MAIL, NOW, OUTAGE, Scene, proof, record

__all__ = ["world"]


@dataclass
class Desk:
    """domains.Domains for one domain, on the runner's world. `lost`: how often a plan is not begun, since the daemon wrote."""

    world: World
    lost: int = 0
    proved: int = 0

    @property
    def app(self) -> Any:
        return SimpleNamespace(clock=self.world.clock)

    def gather(self, domain: str, now: datetime, *, fresh_zone: bool = False) -> DomainFacts:  # noqa: ARG002 - as Domains
        return replace(self.world.facts(), primary=None)

    def prove(self, domain: str, now: datetime) -> PrimaryProof:  # noqa: ARG002 - as Domains
        self.proved += 1
        return replace(proof(*self.world.broken), at=now)

    def carry_out(self, facts: DomainFacts, decision: Decision, reason: str) -> Ending:
        if self.lost:
            self.lost -= 1
            raise LeaseLost("changed by another since it was read")
        return run_by_hand(self.world.runner, self.world.journal, self.world.clock, self.world.facts, facts, decision, reason)


def shown(desk: Desk, kind: FlipKind = FlipKind.FAILOVER) -> Planned:
    facts = desk.world.facts()
    return Planned(facts, decide_by_hand(facts, kind, desk.world.clock.now()), desk.world.clock.monotonic())


def run(desk: Desk, *planned: Planned, kind: FlipKind = FlipKind.FAILOVER) -> list[Carried]:
    return carry_out_each(desk, planned, kind, "a test", force=False)  # type: ignore[arg-type]


def test_what_the_daemon_noted_meanwhile_does_not_stop_an_order(world: World) -> None:
    desk = Desk(world, lost=2)
    (carried,) = run(desk, shown(desk))
    assert carried.done
    assert world.zone.sets[DOMAIN] == OUTAGE


def test_one_domain_that_cannot_be_begun_keeps_no_other_waiting(world: World) -> None:
    desk = Desk(world, lost=3)
    planned = shown(desk)
    first, second = run(desk, planned, planned)
    assert isinstance(first.error, LeaseLost)
    assert second.done


def test_records_that_changed_while_a_person_thought_are_shown_again_and_not_written_over(world: World) -> None:
    desk = Desk(world)
    planned = shown(desk)
    theirs = MxSet.of((20, MAIL), ttl_seconds=60)
    world.zone.sets[DOMAIN] = theirs
    world.clock.pass_time(timedelta(minutes=5))
    (carried,) = run(desk, planned)
    assert isinstance(carried.error, Refused)
    assert "have changed since the plan was shown" in str(carried.error)
    assert (world.zone.sets[DOMAIN], world.zone.attempts) == (theirs, 0)


def test_a_primary_that_was_proved_long_ago_is_looked_at_again_before_mail_goes_home(world: World) -> None:
    failed_over(world)
    world.verdict = Verdict.UP
    desk = Desk(world)
    planned = shown(desk, FlipKind.FAILBACK)
    world.broken = ("accounts",)
    world.clock.pass_time(timedelta(hours=3))
    (carried,) = run(desk, planned, kind=FlipKind.FAILBACK)
    assert desk.proved == 1
    assert isinstance(carried.error, Refused)
    assert [guard.code for guard in carried.error.guards] == ["accounts-missing"]
    assert world.zone.sets[DOMAIN] == OUTAGE


@pytest.mark.parametrize(
    ("kind", "state", "there"),
    [
        (FlipKind.FAILOVER, DomainState.FAILED_OVER, True),
        (FlipKind.FAILOVER, DomainState.RECOVERING, True),
        (FlipKind.FAILOVER, DomainState.HALTED, False),
        (FlipKind.FAILOVER, DomainState.SUSPECT, False),
        (FlipKind.FAILBACK, DomainState.NORMAL, True),
        (FlipKind.FAILBACK, DomainState.FAILED_OVER, False),
        (FlipKind.ADOPT_MX, DomainState.NORMAL, False),
    ],
)
def test_whether_mail_goes_there_already(kind: FlipKind, state: DomainState, there: bool) -> None:
    assert is_there(replace(Scene.peace(), record=record(state)), kind) is there


def orders(known: dict[str, DomainFacts]) -> list[str]:
    """The domains that a failover of all of these is ordered of."""
    desk = SimpleNamespace(app=SimpleNamespace(clock=FakeClock(NOW)), gather=lambda name, _now, **_: known[name])
    found = _orders(desk, list(known), FlipKind.FAILOVER, NOW, force=False)  # type: ignore[arg-type]
    return [each.facts.policy.domain for each in found]


def named(domain: str, state: DomainState) -> DomainFacts:
    facts = replace(Scene.down(), record=replace(record(state), domain=domain))
    return replace(facts, policy=replace(facts.policy, domain=domain))


def test_of_several_domains_one_that_is_there_already_is_passed_over(capsys: pytest.CaptureFixture[str]) -> None:
    away, waits = named("a.example", DomainState.FAILED_OVER), named("b.example", DomainState.SUSPECT)
    assert orders({"a.example": away, "b.example": waits}) == ["b.example"]
    assert "a.example: failover; nothing to do, it is failed-over" in capsys.readouterr().err


def test_where_all_are_there_that_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Refused, match="is failed-over"):
        orders({"a.example": named("a.example", DomainState.FAILED_OVER)})
    assert capsys.readouterr().err == ""
