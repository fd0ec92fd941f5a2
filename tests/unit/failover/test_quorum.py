"""Several vantages, one conclusion."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from failsafe.failover.health import VantageView
from failsafe.failover.quorum import combine
from failsafe.failover.weigh import Standing
from failsafe.model import Axis, Verdict

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
UP, DOWN, LYING, UNKNOWN = Verdict.UP, Verdict.DOWN, Verdict.LYING, Verdict.UNKNOWN


def views(*verdicts: Verdict) -> list[VantageView]:
    """Vantages a, b, c…; each began to say so a minute after the one before."""
    return [
        VantageView(chr(97 + number), verdict, START + timedelta(minutes=number), START, (f"because {number}",))
        for number, verdict in enumerate(verdicts)
    ]


def test_a_quorum_that_says_down_is_believed_since_the_one_that_completed_it() -> None:
    health = combine(views(DOWN, DOWN, DOWN), 2)

    assert (health.verdict, health.since_at) == (DOWN, START + timedelta(minutes=1))


def test_one_that_says_up_is_enough_against_down() -> None:
    assert combine(views(DOWN, DOWN, DOWN, UP), 2).verdict is UP


def test_one_down_is_not_enough_for_a_quorum_of_two() -> None:
    health = combine(views(DOWN, UNKNOWN), 2)

    assert health.verdict is UNKNOWN
    assert any("1 of the 2 vantages" in reason for reason in health.reasons)


def test_unknown_is_not_down() -> None:
    assert combine(views(UNKNOWN, UNKNOWN, UNKNOWN), 1).verdict is UNKNOWN


def test_down_and_lying_together_make_the_quorum_and_are_down() -> None:
    assert combine(views(DOWN, LYING), 2).verdict is DOWN


def test_a_quorum_of_liars_is_lying() -> None:
    assert combine(views(LYING, LYING, DOWN), 2).verdict is LYING


def test_up_from_inside_the_servers_own_network_does_not_count() -> None:
    health = combine(views(DOWN, DOWN, UP), 2, standing=Standing(near=frozenset({"c"})))

    assert health.verdict is DOWN


def test_down_from_inside_the_servers_own_network_counts() -> None:
    assert combine(views(DOWN, DOWN), 2, standing=Standing(near=frozenset({"b"}))).verdict is DOWN


def test_fewer_vantages_than_the_quorum_are_told() -> None:
    health = combine(views(DOWN), 2)

    assert health.short_of_quorum
    assert any("another vantage" in reason for reason in health.reasons)


def test_a_configured_vantage_without_evidence_counts_as_configured() -> None:
    assert not combine(views(DOWN), 2, configured=2).short_of_quorum


def test_other_axes_are_left_out() -> None:
    imap = VantageView("a", DOWN, START, START, (), Axis.ACCESS)

    assert combine([imap, *views(UP)], 1, axis=Axis.ACCESS).verdict is DOWN
    assert combine([imap, *views(UP)], 1).verdict is UP


def test_a_lone_down_among_those_who_see_it_up_is_told_as_a_ban() -> None:
    assert any("a seems to be banned" in reason for reason in combine(views(DOWN, UP), 2).reasons)


def test_every_vantage_gives_its_reason() -> None:
    health = combine(views(UP, DOWN), 1)

    assert "a says up: because 0" in health.reasons
    assert "b says down: because 1" in health.reasons


@given(st.lists(st.sampled_from([UP, DOWN, LYING, UNKNOWN]), max_size=6), st.integers(1, 4))
def test_down_is_concluded_exactly_when_a_quorum_says_so_and_nobody_says_up(verdicts: list[Verdict], quorum: int) -> None:
    bad = sum(verdict in {DOWN, LYING} for verdict in verdicts)

    assert (combine(views(*verdicts), quorum).verdict in {DOWN, LYING}) == (bad >= quorum and UP not in verdicts)
