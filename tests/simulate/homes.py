"""Long stretches of one household: a healthy primary behind a home line that drops, and a primary that is dead for a day."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import datetime, timedelta

from tests.simulate.engine import START
from tests.simulate.scenario import HERE, Fault, Scenario, draw

BETWEEN = timedelta(days=3)  # two drops of the line, on average
MEDIAN, LATE = timedelta(minutes=4), timedelta(hours=6)  # how long a drop lasts: the median, and all but one in a hundred
ROUTE_ONLY = 0.2  # of the drops hit nothing but the route to the primary
ONE_IN_A_HUNDRED = 2.326  # standard deviations
WHO = {1: (HERE,), 2: (HERE, "vps2")}


def home(seed: int, hours: int, quorum: int, *, both: bool = False) -> Scenario:
    """A healthy primary, and our own line. With `both` the second vantage loses its route to the primary just as often as we do."""
    dice = random.Random(f"{seed} {quorum}")
    until = START + timedelta(hours=hours)
    faults = _drops(dice, until, ours=True)
    if both:
        faults += _drops(dice, until, ours=False)
    return replace(
        _plain(seed, quorum), until=until, faults=tuple(sorted(faults, key=lambda one: (one.at, one.kind, one.who))), letters=()
    )


def _drops(dice: random.Random, until: datetime, *, ours: bool) -> list[Fault]:
    faults, at = [], START
    spread = math.log(LATE / MEDIAN) / ONE_IN_A_HUNDRED
    while True:
        at += BETWEEN * dice.expovariate(1)
        lasts = MEDIAN * math.exp(dice.gauss(0, spread))
        if at + lasts >= until:
            return faults
        route_only = dice.random() < ROUTE_ONLY
        if route_only:
            faults.append(Fault("route", at, at + lasts, HERE if ours else "vps2"))
        elif ours:
            faults.append(Fault("line", at, at + lasts, "nas"))
        at += lasts


def dead_for_a_day(seed: int) -> Scenario:
    """Nothing of the primary answers: mail, SSH, and the name server that runs there. Its letters come all day."""
    plain = _plain(seed, 2)
    at = START + timedelta(hours=6, minutes=seed % 60)
    letters = tuple(replace(letter, at=at + timedelta(hours=number)) for number, letter in enumerate(draw(seed).letters))
    return replace(
        plain, nameservers=("ns1", "ns2"), own_nameserver=True, until=START + timedelta(hours=48),
        faults=(Fault("primary", at, at + timedelta(hours=24), "", "dead"),), letters=letters,
    )  # fmt: skip


def _plain(seed: int, quorum: int) -> Scenario:
    """A drawn household with what a person configures who changes nothing: the defaults, one machine, `quorum` vantages."""
    drawn = draw(seed)
    policy = replace(
        drawn.policy, vantages=quorum, quorum=quorum, down_for=timedelta(minutes=15), up_for=timedelta(minutes=30), min_dwell=timedelta(hours=1),
        flips_per_day=3, probe_every=timedelta(minutes=1), auto_failback=True,
    )  # fmt: skip
    return replace(drawn, policy=policy, vantages=WHO[quorum], machines=("nas",))
