"""A failover drill in memory: there and back at the shadow name, nothing left behind, live MX never written, whatever the provider does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from failsafe.errors import Refused
from failsafe.failover.drill import refuse_drill, run_drill
from failsafe.failover.drill_report import FailoverDrill
from failsafe.failover.drilled import FailoverDrilled
from failsafe.failover.facts import Readiness
from failsafe.failover.scratch import is_scratch
from failsafe.model import DomainState, Guard, MxChange, MxSet, Strategy
from tests.fakes.zone import FakeAuthorities, FakeClock, FakeZone
from tests.unit.failover.world import AWAY, DOMAIN, LAYOUT, MAIL, NOW, OUTAGE, PEACE, Scene, reading, record

SHADOW = "failsafe-drill.example.org"


def drill(zone: FakeZone, authorities: FakeAuthorities | None = None) -> FailoverDrill:
    return run_drill(zone, authorities or FakeAuthorities(zone), FakeClock(NOW), Scene.peace(), lambda _text: None)


class Spy(FakeZone):
    """Remembers every change, and does something before it."""

    def __init__(self, sets: dict[str, MxSet], before: Callable[[int], None] = lambda _number: None) -> None:
        super().__init__(sets)
        self.changes: list[MxChange] = []
        self._before = before

    def apply(self, change: MxChange) -> None:
        self.changes.append(change)
        self._before(len(self.changes))
        super().apply(change)


def test_a_drill_flips_the_shadow_there_and_back_and_leaves_nothing() -> None:
    zone = Spy({DOMAIN: PEACE})
    report = drill(zone)
    assert report.result == "passed", report.lines()
    assert [change.desired.records for change in zone.changes] == [PEACE.records, OUTAGE.records, PEACE.records]
    assert {change.domain for change in zone.changes} == {SHADOW}
    assert zone.sets == {DOMAIN: PEACE}
    assert report.untouched
    assert [name for name, _seconds in report.there.servers] == ["ns1", "ns2"] if report.there else False


@pytest.mark.parametrize("strategy", list(Strategy))
def test_every_strategy_can_be_rehearsed(strategy: Strategy) -> None:
    live = PEACE if strategy is not Strategy.SWAP else MxSet.of((10, MAIL), (20, AWAY), ttl_seconds=60)
    scene = Scene.peace()
    facts = replace(scene, policy=replace(scene.policy, layout=replace(LAYOUT, strategy=strategy)), zone=reading(live))
    zone = FakeZone({DOMAIN: live})
    report = run_drill(zone, FakeAuthorities(zone), FakeClock(NOW), facts, lambda _text: None)
    assert (report.result, zone.sets) == ("passed", {DOMAIN: live})


def test_the_evidence_says_how_long_each_step_took_and_survives_the_store() -> None:
    report = drill(FakeZone({DOMAIN: PEACE}))
    told = report.to_json()
    assert set(told["there"]) == {"plan", "write", "verify", "servers", "silent", "mx"}
    assert told["live"]["untouched"] is True
    kept = FailoverDrilled.of(json.loads(json.dumps(report.summary.to_json())))
    assert kept is not None
    assert kept.describe() == report.summary.describe()
    assert kept.describe().startswith("passed; there in ")
    assert kept.spoken() in report.lines()[0]
    assert FailoverDrilled.of({}) is None


PLACES = ["clear", "shadow", "there", "back", "clear again"]
CAME_TO = {  # what the provider does at each of these writes
    "refused": ["untried", "untried", "failed", "failed", "failed"],
    "no-key": ["untried", "untried", "failed", "failed", "failed"],
    "lost-before": ["passed", "untried", "passed", "passed", "passed"],
    "lost-after": ["passed", "passed", "passed", "passed", "passed"],
    "deaf": ["passed", "untried", "failed", "failed", "failed"],
    "late": ["passed", "untried", "passed", "passed", "passed"],
}


@pytest.mark.parametrize("fault", list(CAME_TO))
@pytest.mark.parametrize("place", range(5), ids=PLACES)
def test_whatever_the_provider_does_live_mx_stands_and_the_next_drill_clears_up(place: int, fault: str) -> None:
    zone = FakeZone({DOMAIN: PEACE})
    zone.faults.extend(["ok"] * place + [fault])
    report = drill(zone)
    assert report.result == CAME_TO[fault][place], report.lines()
    assert zone.sets[DOMAIN] == PEACE
    assert (SHADOW in zone.sets) == any(said in str(report.findings) for said in ("could not be cleared", "still shown"))
    zone.faults.clear()
    zone.land()
    again = drill(zone)
    assert again.result == "passed", again.lines()
    assert zone.sets == {DOMAIN: PEACE}


def test_what_a_killed_drill_left_is_cleared_and_told() -> None:
    zone = FakeZone({DOMAIN: PEACE, SHADOW: OUTAGE})
    report = drill(zone)
    assert report.cleared == OUTAGE
    assert any("an earlier drill had left" in note for note in report.notes)
    assert zone.sets == {DOMAIN: PEACE}


def test_an_interrupted_drill_clears_up_at_once() -> None:
    def stop(number: int) -> None:
        if number == 3:
            raise KeyboardInterrupt

    zone = Spy({DOMAIN: PEACE}, stop)
    with pytest.raises(KeyboardInterrupt):
        drill(zone)
    assert zone.sets == {DOMAIN: PEACE}


def test_records_that_no_drill_wrote_are_left_alone() -> None:
    zone = Spy({DOMAIN: PEACE, SHADOW: MxSet.of((10, "mx.stranger.example"))})
    with pytest.raises(Refused, match=r"mx\.stranger\.example") as caught:
        drill(zone)
    assert zone.changes == []
    assert SHADOW in caught.value.mend


def test_a_server_that_keeps_the_old_set_fails_the_drill() -> None:
    zone = FakeZone({DOMAIN: PEACE})
    authorities = FakeAuthorities(zone)
    authorities.frozen["ns2"] = PEACE
    report = drill(zone, authorities)
    assert report.result == "failed"
    assert "ns2 still says 10 mail.example.org" in report.findings[0]
    assert zone.sets == {DOMAIN: PEACE}


def test_a_silent_server_is_named_and_is_no_failure_as_in_a_real_flip() -> None:
    zone = FakeZone({DOMAIN: PEACE})
    authorities = FakeAuthorities(zone)
    authorities.silent.add("ns2")
    report = drill(zone, authorities)
    assert report.result == "passed"
    assert "ns2 did not answer" in report.notes


def test_live_records_that_change_meanwhile_are_a_finding() -> None:
    zone = Spy({DOMAIN: PEACE}, lambda number: zone.put(DOMAIN, OUTAGE) if number == 2 else None)
    report = drill(zone)
    assert report.result == "failed"
    assert not report.untouched
    assert "the live MX records changed while the drill ran" in report.findings[0]


@pytest.mark.parametrize("state", [state for state in DomainState if state is not DomainState.NORMAL])
def test_a_drill_waits_for_peace(state: DomainState) -> None:
    with pytest.raises(Refused):
        refuse_drill(replace(Scene.peace(), record=record(state)), NOW)


def test_a_drill_is_refused_with_every_guard_that_would_refuse_a_failover() -> None:
    with pytest.raises(Refused) as caught:
        refuse_drill(replace(Scene.peace(), leader=False, zone=reading(OUTAGE)), NOW)
    assert [guard.code for guard in caught.value.guards] == ["not-leader", "drift"]


def test_a_secondary_that_is_not_ready_is_noted_and_does_not_keep_the_zone_from_being_tried() -> None:
    readiness = Readiness((Guard("secondary-not-ready", "it refuses mail"),))
    assert refuse_drill(replace(Scene.peace(), readiness=readiness), NOW) == (
        "a failover by hand would need --force: it refuses mail",
    )


def test_only_our_own_labels_are_scratch_names() -> None:
    assert is_scratch(SHADOW)
    assert [
        name for name in (DOMAIN, "mail.example.org", "failsafe.example.org", "x.failsafe-drill.example.org") if is_scratch(name)
    ] == []
