"""What the view of a vantage is worth: near ones, shallow ones, ones that the server seems to ban."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

from failsafe.failover.health import VantageView
from failsafe.failover.quorum import combine
from failsafe.failover.weigh import Standing, suspected_bans, weigh
from failsafe.model import Axis, Verdict

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
UP, DOWN, LYING, UNKNOWN = Verdict.UP, Verdict.DOWN, Verdict.LYING, Verdict.UNKNOWN
PLACES = Standing(near=frozenset({"rack"}), shallow=frozenset({"robot"}))


def view(
    vantage: str, verdict: Verdict, *, degraded: bool = False, answered: bool = False, axis: Axis = Axis.INBOUND
) -> VantageView:
    return VantageView(vantage, verdict, AT, AT, ("seen",), axis, False, AT if verdict is UP else None, None, degraded, answered)


def verdicts(*views: VantageView, quorum: int = 2) -> dict[str, Verdict]:
    return {each.vantage: each.verdict for each in weigh(views, replace(PLACES, quorum=quorum))}


def test_in_the_servers_own_network_down_counts_and_up_does_not() -> None:
    assert verdicts(view("rack", UP)) == {"rack": UNKNOWN}
    assert verdicts(view("rack", DOWN)) == {"rack": DOWN}


def test_a_monitor_that_sees_the_port_answer_holds_against_those_who_cannot_reach_it() -> None:
    assert verdicts(view("here", DOWN), view("robot", UP)) == {"here": DOWN, "robot": UP}


def test_a_monitor_that_sees_the_port_answer_says_nothing_against_lies() -> None:
    assert verdicts(view("here", LYING), view("robot", UP)) == {"here": LYING, "robot": UNKNOWN}


def test_a_monitor_that_sees_the_port_answer_says_nothing_against_a_server_that_only_says_later() -> None:
    assert verdicts(view("here", DOWN, degraded=True), view("robot", UP))["robot"] is UNKNOWN


def test_a_monitor_that_sees_the_port_answer_says_nothing_against_a_server_that_takes_calls_and_serves_nobody() -> None:
    assert verdicts(view("here", DOWN, answered=True), view("robot", UP)) == {"here": DOWN, "robot": UNKNOWN}


def test_with_a_quorum_of_one_a_line_that_swallows_port_25_is_no_server_that_serves_nobody() -> None:
    assert verdicts(view("here", DOWN, answered=True), view("robot", UP), quorum=1) == {"here": DOWN, "robot": UP}
    assert verdicts(view("here", LYING), view("robot", UP), quorum=1)["robot"] is UNKNOWN


def test_who_cannot_reach_what_others_speak_with_and_a_monitor_sees_has_no_vote() -> None:
    """It may be banned, or cut off: what the one who got through saw is one voice, and not two."""
    seen = verdicts(view("here", DOWN, answered=True), view("vps2", DOWN), view("robot", UP))

    assert seen == {"here": DOWN, "vps2": UNKNOWN, "robot": UNKNOWN}


def test_a_monitor_that_sees_nothing_answer_leaves_everybody_their_vote() -> None:
    seen = verdicts(view("here", DOWN, answered=True), view("vps2", DOWN), view("robot", DOWN))

    assert set(seen.values()) == {DOWN}


KINDS = {
    "up": view("", UP), "unreached": view("", DOWN), "silent": view("", DOWN, answered=True), "later": view("", DOWN, degraded=True),
    "lying": view("", LYING), "unknown": view("", UNKNOWN),
}  # fmt: skip
MONITORS = ("up", "unreached", "unknown")


def test_where_a_monitor_sees_it_answer_nothing_but_a_quorum_of_those_who_spoke_with_it_makes_it_down() -> None:
    """Every combination of two machines, this one and two monitors, for every quorum."""
    deep, monitors = ("here", "vps2", "far"), ("robot", "kuma")
    standing = Standing(shallow=frozenset(monitors))
    for quorum, *kinds in product((1, 2, 3), *[KINDS] * 3, *[MONITORS] * 2):
        who = dict(zip((*deep, *monitors), kinds, strict=True))
        views = [replace(KINDS[kind], vantage=name) for name, kind in who.items()]
        verdict = combine(views, quorum, standing=replace(standing, quorum=quorum)).verdict
        spoke = sum(who[name] in ("silent", "later", "lying") for name in deep)
        refused = sum(who[name] in ("later", "lying") for name in deep)
        if any(who[name] == "up" for name in deep):
            assert verdict is UP, who
        elif any(who[name] == "up" for name in monitors):
            assert (verdict in (DOWN, LYING)) is ((spoke if quorum > 1 or refused else 0) >= quorum), (quorum, who)
        else:
            assert (verdict in (DOWN, LYING)) is (
                sum(kind in ("unreached", "silent", "later", "lying") for kind in kinds) >= quorum
            )


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


def test_one_whose_call_was_taken_is_not_banned() -> None:
    assert suspected_bans([view("here", DOWN, answered=True), view("vps2", UP)]) == ()
