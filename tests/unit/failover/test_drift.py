"""Records that somebody else changed in peace: told once, never fought."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failsafe.failover.decide import decide
from failsafe.failover.drift import drift_over_event, drift_seen, drift_told_event
from failsafe.failover.facts import DomainFacts, ZoneReading
from failsafe.model import DomainState, MxSet, ServerAnswer, Severity
from tests.unit.failover.world import DOMAIN, LAYOUT, NOW, OUTAGE, PEACE, Scene, flip, reading, record

FOREIGN = MxSet.of((1, "mx.foreign.example"), (10, "mail.example.org"), ttl_seconds=60)


def seen(facts: DomainFacts) -> str | None:
    return drift_seen(facts, decide(facts, NOW).guards)


def test_a_foreign_change_in_peace_is_seen_and_nothing_is_ordered() -> None:
    facts = replace(Scene.peace(), zone=reading(FOREIGN))
    found = seen(facts)
    assert found is not None and "mx.foreign.example" in found
    assert decide(facts, NOW).orders == ()
    notice = drift_told_event(facts, found, NOW).notice
    assert notice is not None
    assert (notice.severity, notice.losing_mail) == (Severity.FAIL, "perhaps: look at once")
    assert "acknowledge" in notice.must_do and "adopt-mx" in notice.details


def test_a_change_of_what_a_failover_wrote_is_seen_too() -> None:
    facts = replace(Scene.recovered(), record=record(DomainState.FAILED_OVER), zone=reading(FOREIGN))
    assert seen(facts)


def test_records_that_fit_are_no_drift() -> None:
    assert seen(Scene.peace()) == ""
    assert drift_over_event(Scene.peace(), NOW).notice is None


@pytest.mark.parametrize(
    "facts",
    [
        replace(Scene.down(), zone=reading(FOREIGN)),
        replace(Scene.peace(), zone=reading(FOREIGN), unfinished=flip(outcome=None)),
        replace(Scene.peace(), zone=reading(FOREIGN), leader=False),
        replace(Scene.peace(), zone=ZoneReading(PEACE, (ServerAnswer("ns1", OUTAGE),))),
        replace(Scene.peace(), zone=ZoneReading(None, (), provider_error="HTTP 500")),
    ],
    ids=["incident", "plan", "follower", "servers differ", "unreadable"],
)
def test_nothing_is_said_where_it_is_not_known_or_told_elsewhere(facts: DomainFacts) -> None:
    assert seen(facts) is None


def test_a_move_to_the_other_side_by_hand_says_where_mail_goes() -> None:
    facts = replace(Scene.peace(), zone=reading(OUTAGE))
    found = seen(facts)
    assert found
    notice = drift_told_event(facts, found, NOW).notice
    assert notice is not None
    assert (notice.subject.startswith(DOMAIN), notice.mail_goes, notice.severity) == (True, "to the secondary", Severity.WARN)


def test_while_the_secondary_serves_no_new_peace_layout_is_offered() -> None:
    facts = replace(Scene.recovered(), record=record(DomainState.FAILED_OVER), zone=reading(FOREIGN))
    notice = drift_told_event(facts, "drift", NOW).notice
    assert notice is not None
    assert "adopt-mx" not in notice.details
    assert f"failsafe acknowledge {DOMAIN}" in notice.must_do


def test_where_the_configuration_has_left_what_a_failover_wrote_the_way_out_is_there() -> None:
    away = replace(Scene.recovered(), record=record(DomainState.FAILED_OVER))
    moved = replace(away, policy=replace(away.policy, layout=replace(LAYOUT, secondaries=("mx2.away.example",))))
    assert seen(away) == ""
    assert seen(moved)
    notice = drift_told_event(moved, "drift", NOW).notice
    assert notice is not None
    assert notice.must_do.startswith("let strategy, primary and secondary")
    assert "Nobody has changed them" in notice.details
