"""What a seed means: a household's configuration, and what goes wrong when. Everything is drawn here, before anything runs."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from failsafe.failover.canary import CANARY_LOOKS
from failsafe.failover.delivery import CANARY, INSIDE, INSIDE_ROUNDS
from failsafe.failover.facts import Policy
from failsafe.failover.zone import MxLayout
from failsafe.model import Mode, MxSet, Strategy
from tests.simulate.engine import START, chance

DOMAIN = "example.org"
MAILS, AWAYS = ("mail.example.org", "mail2.example.org"), ("mx.away.example", "mx2.away.example")
FOREIGN = "mx.foreign.example"
QUIET_BEFORE, QUIET_AFTER = timedelta(hours=1), timedelta(hours=9)  # a fault lies between these
HERE = "here"
POINTS = ("begin", "begun", "apply", "applied", "finish", "finished", "change", "changed", "read", "due", "sleep", "idle")
PAUSES = tuple(point for point in POINTS if point != "apply")  # a request that is on its way can be fenced by the provider alone


@dataclass(frozen=True, slots=True)
class Fault:
    """`kind` begins at `at` and ends at `until`; `who` is the vantage, machine or name server it hits; `how` a variant of it."""

    kind: str
    at: datetime
    until: datetime
    who: str = ""
    how: str = ""

    def __str__(self) -> str:
        words = " ".join(word for word in (self.kind, self.who, self.how) if word)
        return f"{words} for {self.until - self.at}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that somebody sends to the domain."""

    at: datetime
    sender: str  # a key of senders.SCHEDULES
    number: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """One household and its bad days."""

    seed: int
    policy: Policy
    peace: MxSet
    vantages: tuple[str, ...]
    machines: tuple[str, ...]
    nameservers: tuple[str, ...]
    own_nameserver: bool  # the first of them runs on the primary
    fenced: bool  # the provider itself compares and sets
    whole: bool  # a change becomes visible at once on each name server, never half-way
    spread: timedelta  # until the slowest name server follows
    until: datetime
    faults: tuple[Fault, ...] = ()
    letters: tuple[Letter, ...] = field(default=(), repr=False)
    lookers: tuple[str, ...] = ()  # at delivery: the canary, and the look from inside
    canary_every: timedelta = timedelta(minutes=15)
    followed: bool = False  # the homecoming has an account for the canary's address

    @property
    def interval(self) -> timedelta:
        return self.policy.probe_every

    def every(self, looker: str) -> timedelta:
        """Between two looks of a vantage, or of one that looks at delivery."""
        own = {CANARY: self.canary_every / CANARY_LOOKS, INSIDE: self.interval * INSIDE_ROUNDS}
        return own.get(looker, self.interval)

    def describe(self) -> str:
        policy = self.policy
        return (
            f"seed {self.seed}: {policy.layout.strategy}, {len(self.vantages)} vantage(s) for a quorum of {policy.quorum}, a probe every "
            f"{policy.probe_every.total_seconds():.0f} s, down_for {policy.down_for}, up_for {policy.up_for}, min_dwell {policy.min_dwell}, "
            f"{policy.flips_per_day} flips a day, {len(self.machines)} machine(s), {len(self.nameservers)} name server(s), "
            f"fenced {self.fenced}, whole {self.whole}, {self._delivery()}{len(self.faults)} faults, until {self.until:%d %H:%M}"
        )

    def _delivery(self) -> str:
        if not self.lookers:
            return ""
        return f"{' and '.join(self.lookers)} at delivery (one every {self.canary_every}, {'' if self.followed else 'not '}followed away), "


def draw(seed: int) -> Scenario:
    """The scenario of a seed: at least 48 hours and five faults."""
    dice = random.Random(seed)
    strategy = dice.choice(list(Strategy))
    primaries, secondaries = MAILS[: dice.choice((1, 1, 2))], AWAYS[: dice.choice((1, 1, 2))]
    vantages = (HERE, "vps2", "far")[: dice.choices((1, 2, 3), (1, 5, 4))[0]]
    policy = Policy(
        domain=DOMAIN,
        zone=DOMAIN,
        server="vps",
        layout=MxLayout(strategy, primaries, secondaries),
        mode=Mode.AUTO,
        vantages=len(vantages),
        quorum=dice.choices((1, 2), (1, 7))[0],
        down_for=timedelta(minutes=dice.choice((6, 15, 15, 20))),
        up_for=timedelta(minutes=dice.choice((15, 30, 30, 60))),
        min_dwell=timedelta(minutes=dice.choice((30, 60, 60, 90))),
        probe_every=timedelta(seconds=dice.choice((60, 60, 60, 120))),
        flips_per_day=dice.choice((2, 3, 3, 4)),
        ttl_seconds=dice.choice((None, 60, 300)),
        auto_failback=dice.random() < 0.95,
        unlist_lying=chance(seed, "fence") < 0.5,
    )
    machines = ("nas", "nas2") if dice.random() < 0.25 else ("nas",)
    nameservers = ("ns1", "ns2", "ns3")[: dice.choice((1, 2, 2, 3))]
    days = timedelta(hours=dice.choice((48, 48, 54, 60)))
    scenario = Scenario(
        seed=seed,
        policy=policy,
        peace=_peace(dice, policy.layout),
        vantages=vantages,
        machines=machines,
        nameservers=nameservers,
        own_nameserver=len(nameservers) > 1 and dice.random() < 0.4,
        fenced=dice.random() < 0.6,
        whole=dice.random() < 0.6,
        spread=timedelta(seconds=dice.choice((0, 2, 20))),
        until=START + days,
    )
    faults = tuple(sorted(_faults(dice, scenario), key=lambda fault: (fault.at, fault.kind, fault.who)))
    from tests.simulate.behind import with_delivery

    return with_delivery(replace(scenario, faults=faults, letters=_letters(dice, scenario, faults)))


def _peace(dice: random.Random, layout: MxLayout) -> MxSet:
    """The set a person wrote: with gaps, or without any room between the numbers."""
    base, gap = dice.choice(((10, 10), (0, 1), (1, 1), (5, 20), (50, 5)))
    names = list(layout.primaries)
    if layout.strategy is Strategy.SWAP:
        names += layout.secondaries
    return MxSet.of(*((base + gap * place, name) for place, name in enumerate(names)), ttl_seconds=60)


def _letters(dice: random.Random, scenario: Scenario, faults: tuple[Fault, ...]) -> tuple[Letter, ...]:
    from tests.simulate.senders import SCHEDULES

    span, letters = scenario.until - START - QUIET_AFTER, []
    for number in range(24):
        at = START + span * dice.random()
        if number % 2 and faults:
            fault = dice.choice(faults)
            at = fault.at + (fault.until - fault.at) * dice.random()
        letters.append(Letter(at, dice.choice(tuple(SCHEDULES)), number))
    return tuple(letters)


def _faults(dice: random.Random, scenario: Scenario) -> list[Fault]:
    """One real outage at least, and four to nine other things, which like to come while something else is wrong."""
    span = scenario.until - START - QUIET_BEFORE - QUIET_AFTER
    faults = _outage(dice, scenario, START + QUIET_BEFORE + span * dice.random() * 0.7)
    wanted = len(faults) + dice.randint(4, 9)
    while len(faults) < wanted:
        at = START + QUIET_BEFORE + span * dice.random()
        if dice.random() < 0.6:  # around a moment at which the machine has something to do
            other = dice.choice(faults)
            at = dice.choice((other.at, other.until, other.at + scenario.policy.down_for, other.until + scenario.policy.up_for))
            at += timedelta(seconds=dice.uniform(-120, 600))
        at = max(at, START + QUIET_BEFORE)
        kind = dice.choices([one for one, _ in KINDS], [weight for _, weight in KINDS])[0]
        faults += MAKERS[kind](dice, scenario, at)
    latest = scenario.until - QUIET_AFTER
    return [Fault(one.kind, min(one.at, latest), min(one.until, latest), one.who, one.how) for one in faults]


def span_of(dice: random.Random, shortest: float, longest: float) -> timedelta:
    """Minutes, short ones more often than long ones."""
    return timedelta(minutes=shortest * (longest / shortest) ** dice.random())


def _outage(dice: random.Random, scenario: Scenario, at: datetime) -> list[Fault]:
    how = dice.choices(("dead", "silent", "lying"), (6, 2, 2))[0]
    until = at + span_of(dice, 20, 18 * 60)
    faults = [Fault("primary", at, until, "", how)]
    if how == "dead" and dice.random() < 0.25:  # it comes back with an empty store, until a person restores it
        faults.append(Fault("store", at, until + span_of(dice, 30, 300)))
    return faults


def _sick(dice: random.Random, scenario: Scenario, at: datetime) -> list[Fault]:
    return [Fault("primary", at, at + span_of(dice, 5, 300), "", dice.choice(("greylisting", "degraded", "picky", "picky")))]


def _flapping(dice: random.Random, scenario: Scenario, at: datetime) -> list[Fault]:
    faults = []
    for _ in range(dice.randint(3, 12)):
        until = at + span_of(dice, 1, 25)
        faults.append(Fault("primary", at, until, "", "dead"))
        at = until + span_of(dice, 1, 40)
    return faults


def _line(dice: random.Random, scenario: Scenario, at: datetime) -> list[Fault]:
    how = dice.choice(("", "", "references"))  # the latter: those that tell whether the line works are gone, and nothing else
    return [Fault("line", at, at + span_of(dice, 1, 360), dice.choice(scenario.machines), how)]


def _route(dice: random.Random, scenario: Scenario, at: datetime) -> list[Fault]:
    return [Fault("route", at, at + span_of(dice, 2, 360), dice.choice(scenario.vantages))]


def _vantage(dice: random.Random, scenario: Scenario, at: datetime) -> list[Fault]:
    return [Fault("vantage", at, at + span_of(dice, 5, 600), dice.choice(scenario.vantages))]


def _banned(dice: random.Random, scenario: Scenario, at: datetime) -> list[Fault]:
    return [Fault("banned", at, at + span_of(dice, 30, 600), HERE, dice.choices(("banned", "probe-blocked"), (5, 1))[0])]


PROVIDER_FAULTS = ("before", "after", "late", "limited", "garbage", "revoked", "deaf", "slow", "unreadable", "denied")


def _provider(dice: random.Random, scenario: Scenario, at: datetime) -> list[Fault]:
    return [Fault("provider", at, at + span_of(dice, 2, 240), "", dice.choice(PROVIDER_FAULTS))]


def _nameserver(dice: random.Random, scenario: Scenario, at: datetime) -> list[Fault]:
    return [Fault(dice.choice(("ns-silent", "ns-stale")), at, at + span_of(dice, 1, 180), dice.choice(scenario.nameservers))]


def _clock(dice: random.Random, scenario: Scenario, at: datetime) -> list[Fault]:
    how = str(dice.choice((-3600, -600, 600, 3600)))
    back = at + span_of(dice, 2, 240)
    return [Fault("clock", at, back, dice.choice(scenario.machines), how)]


def _crash(dice: random.Random, scenario: Scenario, at: datetime) -> list[Fault]:
    return [Fault("crash", at, at + span_of(dice, 0.2, 60), dice.choice(scenario.machines), dice.choice(POINTS))]


def _pause(dice: random.Random, scenario: Scenario, at: datetime) -> list[Fault]:
    return [Fault("pause", at, at + span_of(dice, 1, 30), dice.choice(scenario.machines), dice.choice(PAUSES))]


def _database(dice: random.Random, scenario: Scenario, at: datetime) -> list[Fault]:
    return [Fault("database", at, at + span_of(dice, 1, 60), dice.choice(scenario.machines))]


def _hold(dice: random.Random, scenario: Scenario, at: datetime) -> list[Fault]:
    return [Fault("hold", at, at + span_of(dice, 20, 480))]


def _secondary(dice: random.Random, scenario: Scenario, at: datetime) -> list[Fault]:
    return [Fault("secondary", at, at + span_of(dice, 30, 600))]


def _foreign(dice: random.Random, scenario: Scenario, at: datetime) -> list[Fault]:
    return [Fault("foreign", at, at + span_of(dice, 20, 240), "", dice.choice(("added", "replaced")))]


MAKERS = {
    "outage": _outage,
    "sick": _sick,
    "flapping": _flapping,
    "line": _line,
    "route": _route,
    "vantage": _vantage,
    "banned": _banned,
    "provider": _provider,
    "nameserver": _nameserver,
    "clock": _clock,
    "crash": _crash,
    "pause": _pause,
    "database": _database,
    "hold": _hold,
    "secondary": _secondary,
    "foreign": _foreign,
}
KINDS = (
    ("outage", 3), ("sick", 2), ("flapping", 1), ("line", 3), ("route", 2), ("vantage", 2), ("banned", 1), ("provider", 5), ("nameserver", 3),
    ("clock", 2), ("crash", 5), ("pause", 3), ("database", 1), ("hold", 2), ("secondary", 1), ("foreign", 1),
)  # fmt: skip
