"""Scenes that a seed rarely meets: each has one trouble at the moment where one guard matters. `number` varies it by seconds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from failsafe.failover.delivery import CANARY, INSIDE
from failsafe.model import MxSet, Strategy
from tests.simulate.engine import START
from tests.simulate.homes import dead_for_a_day
from tests.simulate.scenario import HERE, Fault, Scenario

AT = START + timedelta(hours=5, minutes=2)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def _scene(
    number: int, *faults: Fault, vantages: tuple[str, ...] = (HERE, "vps2"), machines: tuple[str, ...] = ("nas",)
) -> Scenario:
    plain = dead_for_a_day(number)
    policy = replace(plain.policy, vantages=len(vantages))
    return replace(
        plain, policy=policy, vantages=vantages, machines=machines, own_nameserver=False, until=START + 20 * HOUR,
        faults=tuple(sorted(faults, key=lambda one: one.at)),
    )  # fmt: skip


def _dead(lasts: timedelta) -> Fault:
    return Fault("primary", AT, AT + lasts, "", "dead")


def references_gone(number: int) -> Scenario:
    """The primary is dead, and so are the references that would tell that our own line works."""
    return _scene(
        number, _dead(3 * HOUR), Fault("line", AT - MINUTE, AT + 2 * HOUR, "nas", "references"), vantages=(HERE, "vps2", "far")
    )


def restarted_while_one_gets_through(number: int) -> Scenario:
    """Two vantages lose their route, a third one does not; what it saw last is lost with the process."""
    crash = AT + 46 * MINUTE + number * timedelta(seconds=11)
    routes = (Fault("route", AT, AT + 3 * HOUR, name) for name in (HERE, "vps2"))
    return _scene(number, *routes, Fault("crash", crash, crash + MINUTE, "nas", "idle"), vantages=(HERE, "vps2", "far"))


def both_gone(number: int) -> Scenario:
    """The secondary had been gone for hours when the primary died."""
    return _scene(number, _dead(3 * HOUR), Fault("secondary", AT - 3 * HOUR, AT + 2 * HOUR))


def back_while_the_answer_is_lost(number: int) -> Scenario:
    """The primary comes back while nobody knows whether the change was made."""
    lasts = 15 * MINUTE + number * timedelta(seconds=4)
    return _scene(number, _dead(lasts), Fault("provider", AT, AT + HOUR, "", "before"))


def stopped_when_due(number: int) -> Scenario:
    """The process is stopped just when it has read what makes the failover due."""
    return _scene(number, _dead(3 * HOUR), Fault("pause", AT + 12 * MINUTE, AT + 20 * MINUTE, "nas", "due"))


def stopped_while_another_leads(number: int) -> Scenario:
    """The leader is stopped in the middle of its failover, for longer than its lease."""
    how = ("begin", "sleep", "finish")[number % 3]
    return _scene(
        number, _dead(3 * HOUR), Fault("pause", AT + 12 * MINUTE, AT + 22 * MINUTE, "nas", how), machines=("nas", "nas2")
    )


def denied(number: int) -> Scenario:
    """The provider lets itself be read and refuses every write."""
    return _scene(number, _dead(3 * HOUR), Fault("provider", AT, AT + 2 * HOUR, "", "denied"))


def simply_dead(number: int) -> Scenario:
    return _scene(number, _dead(3 * HOUR))


def never_answered(number: int) -> Scenario:
    """Every request is lost on its way to the provider."""
    return _scene(number, _dead(3 * HOUR), Fault("provider", AT, AT + 2 * HOUR, "", "before"))


def lying(number: int) -> Scenario:
    """The primary refuses everybody for good, where such a primary is to be taken out of the records."""
    plain = _scene(number, Fault("primary", AT, AT + 3 * HOUR, "", "lying"))
    layout = replace(plain.policy.layout, strategy=Strategy.ON_DEMAND)
    peace = MxSet.of(*((10 + place, name) for place, name in enumerate(layout.primaries)), ttl_seconds=60)
    return replace(plain, policy=replace(plain.policy, layout=layout, unlist_lying=True), peace=peace)


def flapping_for_hours(number: int) -> Scenario:
    """The primary comes back for good only after it has died and come back four times, an hour each time."""
    deaths = (Fault("primary", AT + every * 4 * HOUR, AT + (every * 4 + 1) * HOUR, "", "dead") for every in range(4))
    plain = _scene(number, *deaths)
    return replace(plain, policy=replace(plain.policy, flips_per_day=20), until=START + 40 * HOUR)


def _behind(number: int, *faults: Fault, vantages: tuple[str, ...] = (HERE, "vps2"), hours: float = 20) -> Scenario:
    """With canaries, and somebody who looks from inside."""
    plain = _scene(number, *faults, vantages=vantages)
    return replace(plain, lookers=(CANARY, INSIDE), canary_every=15 * MINUTE, until=START + hours * HOUR)


def losing(number: int) -> Scenario:
    """The primary takes mail from everybody, and it is gone."""
    at = AT + number * timedelta(seconds=37)
    return _behind(number, Fault("primary", at, at + 5 * HOUR, "", "losing"))


def losing_while_one_is_banned(number: int) -> Scenario:
    """The same, where one vantage does not get through."""
    return _behind(number, Fault("primary", AT, AT + 5 * HOUR, "", "losing"), Fault("route", AT, AT + 5 * HOUR, "vps2"))


def losing_for_a_moment(number: int) -> Scenario:
    """It is mended just before it would be left, where a single witness is enough; canaries turn up."""
    at = AT + number // 8 * 11 * MINUTE
    plain = _behind(number, Fault("primary", at, at + (38 + 1.7 * (number % 8)) * MINUTE, "", "misfiling"))
    return replace(plain, policy=replace(plain.policy, quorum=1, down_for=12 * MINUTE))


def queueing(number: int) -> Scenario:
    """Mail waits in the queue for hours, then all of it is delivered; nobody but the canaries writes, so that nothing else proves life."""
    at = AT + number * 5 * MINUTE
    return replace(_behind(number, Fault("primary", at, at + 3 * HOUR, "", "queueing")), letters=())


def third_party_holds(number: int) -> Scenario:
    """The primary is well; whoever carries the canaries does not hand them over."""
    return _behind(number, Fault("third-party", AT + number * MINUTE, AT + 5 * HOUR, "", "held"))


def losing_with_a_clock_that_goes_back(number: int) -> Scenario:
    """The clock is set back while mail goes to the secondary because the primary lost it."""
    jump = AT + 4 * HOUR + number * 7 * MINUTE
    return _behind(number, Fault("primary", AT, AT + 9 * HOUR, "", "losing"), Fault("clock", jump, jump + HOUR, "nas", "-600"))


def restarted_while_mail_is_mended(number: int) -> Scenario:
    """The controller is away for some minutes in which the primary is mended and the canaries turn up."""
    crash = AT + (58 + number % 10) * MINUTE
    return _behind(
        number, Fault("primary", AT, crash + 2 * MINUTE, "", "misfiling"), Fault("hold", AT, crash + MINUTE),
        Fault("crash", crash, crash + 5 * MINUTE, "nas", "idle"),
    )  # fmt: skip
