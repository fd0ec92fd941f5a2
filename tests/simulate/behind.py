"""What a seed means behind the way in: in one of five households canaries are sent and somebody looks from inside, and mail is lost there, or waits.

Drawn with dice of its own, after everything else: a seed means what it meant before there was this, and this.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from failsafe.failover.delivery import CANARY, INSIDE
from tests.simulate.engine import START, chance
from tests.simulate.scenario import HERE, QUIET_AFTER, QUIET_BEFORE, Fault, Letter, Scenario, span_of

LOSING = ("losing", "misfiling")  # the primary takes mail, and it is gone; of the second the canaries turn up when it is mended
SHARE = 0.2  # of the households
LETTERS = 6  # that are written while mail is lost
KINDS = (("losing", 4), ("misfiling", 3), ("queueing", 4), ("refused", 2), ("held", 2), ("swallows", 1), ("inside", 2))


def with_delivery(scenario: Scenario) -> Scenario:
    """The household with its lookers at delivery, and one to four faults there."""
    if chance(scenario.seed, "canary") >= SHARE:
        return scenario
    dice = random.Random(f"{scenario.seed} delivery")
    lookers = (CANARY, INSIDE) if dice.random() < 0.9 else (CANARY,)
    every = timedelta(minutes=dice.choice((10, 15, 15, 30)))
    scenario = replace(scenario, lookers=lookers, canary_every=every, followed=dice.random() < 0.5)
    faults = tuple(fault for _ in range(dice.randint(1, 4)) for fault in _fault(dice, scenario))
    all_of_them = tuple(sorted((*scenario.faults, *faults), key=lambda fault: (fault.at, fault.kind, fault.who)))
    letters = (*scenario.letters, *_letters(dice, scenario, faults))
    return replace(scenario, faults=all_of_them, letters=letters)


def _fault(dice: random.Random, scenario: Scenario) -> Iterator[Fault]:
    latest = scenario.until - QUIET_AFTER
    at = START + QUIET_BEFORE + (latest - START - QUIET_BEFORE) * dice.random()
    if dice.random() < 0.4:
        other = dice.choice(scenario.faults)
        at = dice.choice((other.at, other.until)) + timedelta(seconds=dice.uniform(-1200, 1200))
    at = min(max(at, START + QUIET_BEFORE), latest)
    how = dice.choices([one for one, _ in KINDS], [weight for _, weight in KINDS])[0]
    until = min(at + span_of(dice, 10, 360), latest)
    if how in (*LOSING, "queueing"):
        yield Fault("primary", at, until, "", how)
        if dice.random() < 0.3:  # mended by halves
            yield Fault(
                "primary", until, min(until + span_of(dice, 1, 120), latest), "", dice.choice(("queueing", "degraded", "losing"))
            )
        if dice.random() < 0.1:
            yield Fault("route", at, until, dice.choice([name for name in scenario.vantages if name != HERE] or [HERE]))
    elif how == "inside":
        yield Fault("inside", at, until)
    else:
        yield Fault("third-party", at, until, "", how)


def _letters(dice: random.Random, scenario: Scenario, faults: tuple[Fault, ...]) -> Iterator[Letter]:
    from tests.simulate.senders import SCHEDULES

    lost = [fault for fault in faults if fault.how in LOSING]
    for number in range(LETTERS if lost else 0):
        fault = dice.choice(lost)
        at: datetime = fault.at + (fault.until - fault.at) * dice.random()
        yield Letter(at, dice.choice(tuple(SCHEDULES)), len(scenario.letters) + number)
