"""A controller's machine: what outlives its processes, and what happens to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from failsafe.failover.delivery import CANARY
from failsafe.failover.health import ACCEPTING, FAILING
from failsafe.model import ProbeClass
from tests.simulate.canaries import Canaries
from tests.simulate.engine import START
from tests.simulate.memory import Book
from tests.simulate.scenario import Fault

if TYPE_CHECKING:
    from tests.simulate.process import Process
    from tests.simulate.world import World

ARMED_FOR = timedelta(minutes=20)  # a crash that waits for its point comes after this long anyway


SOON = timedelta(seconds=30)


class KilledError(BaseException):
    """The process dies here."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the simulator itself knows of a vantage's looks, in true time: nothing but failing since then, nothing but well since then."""

    kind: str  # of the newest: "ok", "failing", "degraded" (may count as either) or "unknown"
    failing_since: datetime | None
    ok_since: datetime | None
    last: datetime
    lying_since: datetime | None = None


@dataclass
class Machine:
    """What outlives a process: the clock, the disk, and what is about to happen to it."""

    world: World
    name: str
    offset: timedelta = timedelta(0)
    worst_offset: timedelta = timedelta(0)
    book: Book = field(default_factory=Book)
    process: Process | None = None
    armed: list[Fault] = field(default_factory=list)
    sightings: dict[str, Sighting] = field(default_factory=dict)
    line: tuple[datetime, bool] | None = None
    frozen_until: datetime | None = None
    jumped_at: datetime = START
    passed: int = 0  # points of plans and of the journal, whatever they are called
    crash_on: int = 0  # of them; none where it is 0
    delivery: dict[str, Sighting] = field(default_factory=dict)  # of the lookers at delivery
    canaries: Canaries = field(init=False)
    has_arrived: bool = False  # a canary at the primary, ever
    lost_since: datetime | None = None  # the last that a canary's look knew of the primary is that they are lost there
    lost_behind_open_way: bool = False  # and a probe saw its way in up meanwhile

    def __post_init__(self) -> None:
        self.canaries = Canaries(self)

    @property
    def frozen(self) -> bool:
        return self.frozen_until is not None and self.world.engine.now < self.frozen_until

    def start(self) -> None:
        self.world.note(f"{self.name}: starts")
        from tests.simulate.process import Process

        self.process = Process(self)
        self.process.begin()

    def restart(self) -> None:
        if self.process is None:
            self.start()

    def kill(self, back_at: datetime) -> None:
        if self.process is not None:
            self.process.alive = False
            self.process = None
        self.world.note(f"{self.name}: killed")
        self.world.engine.at(max(back_at, self.world.engine.now), self.restart)

    def strike(self, fault: Fault) -> None:
        """A crash or a pause: now, or at the next passing of its point."""
        if fault.how != "idle":
            self.armed.append(fault)
            self.world.engine.after(ARMED_FOR, self._strike_anyway, fault)
        elif fault.kind == "crash":
            self.kill(fault.until)
        else:
            self._freeze(fault)

    def _strike_anyway(self, fault: Fault) -> None:
        if fault in self.armed:
            self.armed.remove(fault)
            if fault.kind == "crash":
                self.kill(self.world.engine.now + (fault.until - fault.at))

    def _freeze(self, fault: Fault) -> None:
        """SIGSTOP between two ticks: what was due meanwhile is done at the end."""
        if self.process is not None and not self.process.busy:
            self.process.wake()
            self.frozen_until = fault.until
            self.process.reschedule()
            self.world.note(f"{self.name}: stopped until {fault.until:%d %H:%M:%S}")

    def passing(self, process: Process, point: str) -> None:
        """Called at every named point. Raises KilledError; a pause lets the world go on without this process."""
        if not process.alive:
            raise KilledError
        if point not in ("", "read", "due"):
            self.passed += 1
            if self.passed == self.crash_on:
                self.kill(self.world.engine.now + SOON)
                raise KilledError
        for fault in [one for one in self.armed if one.how == point]:
            self.armed.remove(fault)
            self.world.note(f"{self.name}: {fault.kind} at {point}")
            if fault.kind == "crash":
                self.kill(self.world.engine.now + (fault.until - fault.at))
                raise KilledError
            self.world.watchman.disturbed()
            self.frozen_until = self.world.engine.now + (fault.until - fault.at)
            self.world.engine.run_until(self.world.engine.now + (fault.until - fault.at))
            if not process.alive:
                raise KilledError

    def jump(self, span: timedelta) -> None:
        """The clock is set."""
        if self.process is not None:
            self.process.wake()
        self.offset += span
        self.worst_offset = max(self.worst_offset, abs(self.offset))
        self.jumped_at = self.world.engine.now
        if self.process is not None:
            self.process.reschedule()

    def note_sight(self, vantage: str, seen: ProbeClass) -> None:
        now, kind = self.world.engine.now, kind_of(seen)
        before = self.sightings.get(vantage)
        if before is not None and now - before.last > 3 * self.world.scenario.interval:
            before = None
        failing = (before.failing_since if before is not None else None) or now
        well = before.ok_since if before is not None else None
        if kind == "ok":  # a time of health begins with mail that is taken
            well = well or now
        lying = (before.lying_since if before is not None else None) or now
        self.sightings[vantage] = Sighting(
            kind, failing if kind in ("failing", "degraded") else None, well if kind in ("ok", "degraded") else None, now,
            lying if seen is ProbeClass.LYING else None,
        )  # fmt: skip

    def note_delivery(self, looker: str, seen: ProbeClass) -> None:
        """The same of a look at delivery. Mail that waits ("degraded") is not lost: a time of loss begins with what is gone."""
        now, kind = self.world.engine.now, kind_of(seen)
        before = self.delivery.get(looker)
        if before is not None and now - before.last > 3 * self.world.scenario.every(looker):
            before = None
        since = {
            name: ((getattr(before, f"{name}_since") if before is not None else None) or now) if kind == name else None
            for name in ("failing", "ok")
        }
        self.delivery[looker] = Sighting(kind, since["failing"], since["ok"], now)
        if looker != CANARY or kind not in ("failing", "ok"):
            return
        self.has_arrived |= kind == "ok"
        self.lost_since = (self.lost_since or now) if kind == "failing" else None
        taken = (one.last for one in self.sightings.values() if one.kind == "ok")
        open_way = self.lost_since is not None and max(taken, default=START) >= self.lost_since
        self.lost_behind_open_way = open_way or (self.lost_behind_open_way and kind == "failing")


def kind_of(seen: ProbeClass) -> str:
    if seen is ProbeClass.DEGRADED:
        return "degraded"
    return "ok" if seen in ACCEPTING else "failing" if seen in FAILING else "unknown"
