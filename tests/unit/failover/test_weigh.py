"""What the view of a vantage is worth: near ones, shallow ones, ones that the server seems to ban."""

from __future__ import annotations

from datetime import UTC, datetime

from failsafe.failover.health import VantageView
from failsafe.failover.weigh import Standing, suspected_bans, weigh
from failsafe.model import Axis, Verdict

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
UP, DOWN, LYING, UNKNOWN = Verdict.UP, Verdict.DOWN, Verdict.LYING, Verdict.UNKNOWN
PLACES = Standing(near=frozenset({"rack"}), shallow=frozenset({"robot"}))


def view(vantage: str, verdict: Verdict, *, degraded: bool = False, axis: Axis = Axis.INBOUND) -> VantageView:
    return VantageView(vantage, verdict, AT, AT, ("seen",), axis, False, AT if verdict is UP else None, None, degraded)


def verdicts(*views: VantageView) -> dict[str, Verdict]:
    return {each.vantage: each.verdict for each in weigh(views, PLACES)}


def test_in_the_servers_own_network_down_counts_and_up_does_not() -> None:
    assert verdicts(view("rack", UP)) == {"rack": UNKNOWN}
    assert verdicts(view("rack", DOWN)) == {"rack": DOWN}


def test_a_monitor_that_sees_the_port_answer_holds_against_those_who_cannot_reach_it() -> None:
    assert verdicts(view("here", DOWN), view("robot", UP)) == {"here": DOWN, "robot": UP}


def test_a_monitor_that_sees_the_port_answer_says_nothing_against_lies() -> None:
    assert verdicts(view("here", LYING), view("robot", UP)) == {"here": LYING, "robot": UNKNOWN}


def test_a_monitor_that_sees_the_port_answer_says_nothing_against_a_server_that_only_says_later() -> None:
    assert verdicts(view("here", DOWN, degraded=True), view("robot", UP))["robot"] is UNKNOWN


def test_a_monitors_up_is_never_mail_taken_which_a_failback_needs() -> None:
    (robot,) = weigh([view("robot", UP)], PLACES)

    assert (robot.verdict, robot.taking_since_at) == (UP, None)


def test_other_axes_are_left_as_they_are() -> None:
    assert verdicts(view("rack", UP, axis=Axis.ACCESS)) == {"rack": UP}


def test_one_that_cannot_reach_what_others_see_up_seems_to_be_banned() -> None:
    assert suspected_bans([view("here", DOWN), view("vps2", UP)]) == ("here",)


def test_nobody_seems_banned_where_all_see_it_down() -> None:
    assert suspected_bans([view("here", DOWN), view("vps2", DOWN)]) == ()


def test_one_that_was_spoken_to_is_not_banned() -> None:
    assert suspected_bans([view("here", DOWN, degraded=True), view("vps2", UP)]) == ()


def test_a_monitor_that_says_down_alone_is_not_called_banned() -> None:
    assert suspected_bans([view("robot", DOWN), view("here", UP)], PLACES.shallow) == ()
