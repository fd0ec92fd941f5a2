"""The world around the controllers: what is broken now, what each vantage would see, where mail ends up, and the person who is called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from failsafe.events import Event
from failsafe.failover.facts import PrimaryCheck, PrimaryProof
from failsafe.failover.health import ACCEPTING
from failsafe.model import MxSet, ProbeClass
from failsafe.ports import FlipJournal
from failsafe.store.duties import DoctorRun
from failsafe.store.lease import Lease
from tests.fakes.journal import LeasedStore, MemoryLeases, leased_journal
from tests.simulate.behind import LOSING
from tests.simulate.engine import START, Engine, chance
from tests.simulate.machine import Machine
from tests.simulate.person import Person
from tests.simulate.ports import DOCTOR_BEGAN, DOCTOR_EVERY
from tests.simulate.scenario import FOREIGN, HERE, Fault, Letter, Scenario
from tests.simulate.senders import Sender, side_of
from tests.simulate.watchman import Watchman
from tests.simulate.zone import Zone

PRIMARY_WORST_FIRST = ("dead", "silent", "lying", "losing", "misfiling", "picky", "degraded", "greylisting", "queueing")
SEEN = {
    "dead": ProbeClass.DOWN, "silent": ProbeClass.DOWN, "lying": ProbeClass.LYING, "picky": ProbeClass.DOWN, "degraded": ProbeClass.DEGRADED,
    "greylisting": ProbeClass.GREYLISTED, "well": ProbeClass.UP, "losing": ProbeClass.UP, "misfiling": ProbeClass.UP, "queueing": ProbeClass.UP,
}  # fmt: skip
STRANGERS_WRITE_EVERY = timedelta(minutes=3)  # to a primary that only refuses those who probe it


class Keeper(Protocol):
    """Where the journal and the lease are kept."""

    def journal(self, lease: Lease | None, heard: Callable[[Event], None] | None = None) -> FlipJournal: ...
    def acquire(self, holder: str, now: datetime) -> Lease | None: ...
    @property
    def store(self) -> LeasedStore: ...


class MemoryKeeper:
    """In memory."""

    def __init__(self) -> None:
        self.store = LeasedStore()
        self._leases = MemoryLeases(self.store)

    def journal(self, lease: Lease | None, heard: Callable[[Event], None] | None = None) -> FlipJournal:
        return leased_journal(self.store, lease, heard)

    def acquire(self, holder: str, now: datetime) -> Lease | None:
        return self._leases.acquire(holder, now)


class World:
    """One run of one scenario."""

    def __init__(self, scenario: Scenario, *, skips: bool = True, keeper: MemoryKeeper | None = None) -> None:
        self.scenario, self.skips = scenario, skips
        self.engine = Engine()
        self.log: list[tuple[datetime, str]] = []
        self.keeper = keeper or MemoryKeeper()
        self.active: dict[tuple[str, str], list[Fault]] = {}
        self.primary, self.primary_since = "well", START
        self.put_off = 0  # messages of strangers that wait in the primary's queue
        self.store_suspect = False
        self.watchman = Watchman(self)
        self.zone = Zone(self)
        self.person = Person(self)
        self.machines = {name: Machine(self, name) for name in scenario.machines}
        self.letters: Counter[str] = Counter()
        self._heard_outside: datetime | None = None
        self._picky_since: datetime | None = None
        self._doctor: dict[tuple[str, int], DoctorRun] = {}
        self._arrange()

    @property
    def store(self) -> LeasedStore:
        return self.keeper.store

    def _arrange(self) -> None:
        engine = self.engine
        for fault in self.scenario.faults:
            engine.at(fault.at, self._begin, fault)
            engine.at(fault.until, self._end, fault)
        for letter in self.scenario.letters:
            engine.at(letter.at, Sender(self, letter).attempt)
        for number, machine in enumerate(self.machines.values()):
            engine.at(START + timedelta(seconds=5 * number), machine.start)
        engine.at(START + timedelta(minutes=30), self.person.look)

    def run(self) -> None:
        """To the end of the scenario. Raises ViolationError."""
        self.engine.run_until(self.scenario.until)
        self.wake()
        self.watchman.ended()

    # -- faults ----------------------------------------------------------------------------------------------------------

    def on(self, kind: str, who: str = "") -> bool:
        return bool(self.active.get((kind, who)))

    def how(self, kind: str, who: str = "") -> str:
        found = self.active.get((kind, who))
        return found[0].how if found else ""

    def offline(self, machine: str) -> bool:
        """Nothing gets through its line."""
        return any(fault.how != "references" for fault in self.active.get(("line", machine), []))

    def _begin(self, fault: Fault) -> None:
        self.wake()
        self.note(f"-- {fault}")
        self.active.setdefault((fault.kind, fault.who), []).append(fault)
        self._turn(fault, begins=True)

    def _end(self, fault: Fault) -> None:
        self.wake()
        self.note(f"-- over: {fault.kind} {fault.who} {fault.how}")
        self.active[(fault.kind, fault.who)].remove(fault)
        self._turn(fault, begins=False)

    def _turn(self, fault: Fault, *, begins: bool) -> None:
        kind = fault.kind
        if kind == "primary":
            states = {one.how for one in self.active.get(("primary", ""), [])}
            self._become(next((state for state in PRIMARY_WORST_FIRST if state in states), "well"))
            self._picky_since = self.engine.now if self.primary == "picky" else None
        elif kind == "store":
            self.store_suspect = self.on("store")
        elif kind == "clock":
            self.machines[fault.who].jump(timedelta(seconds=int(fault.how)) * (1 if begins else -1))
        elif kind in ("crash", "pause"):
            if begins:
                self.machines[fault.who].strike(fault)
        elif kind == "database":
            self.machines[fault.who].book.unreachable = self.on("database", fault.who)
        elif kind == "ns-stale" and not begins and not self.on("ns-stale", fault.who):
            self.zone.catch_up(fault.who)
        elif kind == "hold" and begins:
            self.person.hold(fault.until)
        elif kind == "foreign":
            self.person.meddle(fault.how) if begins else self.person.put_back()
        self.watchman.disturbed()

    def _become(self, state: str) -> None:
        """What waits in the primary's queue is delivered as soon as it delivers again."""
        if state != self.primary:
            self.primary, self.primary_since = state, self.engine.now
        if self.put_off and state not in ("dead", "silent", "queueing", *LOSING):
            self.put_off, self._heard_outside = 0, self.engine.now

    def wake(self, but: object = None) -> None:
        """Something changes: nobody sleeps through it."""
        for machine in self.machines.values():
            if machine.process is not None and machine.process is not but:
                machine.process.wake()
            machine.canaries.advance(self.engine.now)

    # -- what is seen ----------------------------------------------------------------------------------------------------

    def sight(self, vantage: str, machine: Machine) -> ProbeClass | None:
        """What a look would see; None where the vantage says nothing, or nothing reaches the controller."""
        if self.on("vantage", vantage):
            return None
        if vantage == HERE:
            if self.offline(machine.name):
                return ProbeClass.DOWN  # it looks just like that; only the own line tells
            if self.on("banned", HERE):
                return ProbeClass(self.how("banned", HERE))
        elif self.offline(machine.name):
            return None
        return ProbeClass.DOWN if self.on("route", vantage) else SEEN[self.primary]

    def truly(self, seen: ProbeClass, vantage: str, machine: Machine) -> ProbeClass:
        """The same for the simulator's own books: through a dead line nothing is seen, but for mail that is taken, which no dead line fakes."""
        blind = vantage == HERE and self.on("line", machine.name) and seen not in ACCEPTING
        return ProbeClass.UNKNOWN if blind else seen

    def outside_mail_at(self, machine: Machine) -> datetime | None:
        """When a stranger's mail last reached the primary, as far as this machine can ask it over SSH."""
        if self.offline(machine.name) or self.on("route", HERE) or self.primary == "dead":
            return None
        if self._picky_since is not None:
            passed = (self.engine.now - self._picky_since) // STRANGERS_WRITE_EVERY
            return self._picky_since + passed * STRANGERS_WRITE_EVERY if passed else self._heard_outside
        return self._heard_outside

    def prove_primary(self, machine: Machine, now: datetime) -> PrimaryProof:
        reached = not self.offline(machine.name) and not self.on("route", HERE) and self.primary not in ("dead", "silent")
        checks = [PrimaryCheck("login", reached, "our key is let in" if reached else "no answer")]
        if reached:
            checks.append(PrimaryCheck("accounts", True, "all are there"))
            checks.append(PrimaryCheck("store", not self.store_suspect, "nothing in it" if self.store_suspect else "sane"))
        return PrimaryProof(now, tuple(checks))

    def doctor_run(self, machine: Machine, number: int) -> DoctorRun:
        """The hourly run of that number (true time); before the start all was well."""
        key = (machine.name, number)
        if key not in self._doctor:
            at = DOCTOR_BEGAN + number * DOCTOR_EVERY
            rows = []
            if self._was("line", machine.name, at):
                rows.append({"code": "own-line", "severity": "warn", "subject": machine.name, "text": "our own line is down"})
            elif self._was("secondary", "", at):
                rows.append(
                    {
                        "code": "secondary-unreachable",
                        "severity": "fail",
                        "subject": "",
                        "text": "no answer",
                        "blocks_failover": True,
                    }
                )
            self._doctor[key] = DoctorRun(at, rows, {})
        return self._doctor[key]

    def _was(self, kind: str, who: str, at: datetime) -> bool:
        return any(one.kind == kind and one.who == who and one.at <= at < one.until for one in self.scenario.faults)

    # -- mail ------------------------------------------------------------------------------------------------------------

    def receive(self, exchange: str) -> str:
        """What a sender is told: "later" (or nothing), or how it ended."""
        said = self.answer(exchange, self.engine.now)
        if said == "delivered: primary" and self.primary == "queueing":
            self.put_off += 1
        elif said == "delivered: primary":
            self._heard_outside = self.engine.now
        elif said.startswith("swallowed"):
            self.watchman.swallowed()
        return said

    def answer(self, exchange: str, at: datetime, *, greylists: bool = True) -> str:
        """The same; nothing is noted."""
        side = side_of(exchange)
        if side == "secondary":
            return "later" if self.on("secondary") else "delivered: secondary"
        if side == "foreign":
            return f"astray: {FOREIGN}"
        if self.primary in ("dead", "silent", "degraded"):
            return "later"
        if self.primary == "lying":
            return "bounced: the primary refuses for good"
        if greylists and self.primary == "greylisting" and chance(self.scenario.seed, "grey", at) < 0.5:
            return "later"
        if self.store_suspect:
            return "bounced: the primary knows no such mailbox"
        return "swallowed: the primary took it, and lost it" if self.primary in LOSING else "delivered: primary"

    def letter_ended(self, letter: Letter, how: str) -> None:
        self.letters[how.split(":", maxsplit=1)[0]] += 1
        self.note(f"letter {letter.number} ({letter.sender}, written {letter.at:%d %H:%M}): {how}")
        self.watchman.letter(letter, how)

    # -- the log ---------------------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        self.log.append((self.engine.now, text))

    def known_sets(self) -> list[MxSet]:
        """Every set that the journal knows of."""
        return [one for intent in self.store.intents for one in (intent.before, intent.desired)]
