"""Runs one seed from beginning to end."""

from __future__ import annotations

import gc
import hashlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from tests.simulate.engine import START
from tests.simulate.scenario import Scenario, draw
from tests.simulate.watchman import ViolationError
from tests.simulate.world import MemoryKeeper, World


@dataclass(frozen=True)
class Outcome:
    """What a run came to. `violation` is "" where every invariant held."""

    scenario: Scenario
    violation: str
    kind: str
    log: tuple[tuple[datetime, str], ...]
    flips: int
    false_flips: int
    letters: dict[str, int]
    hours: float
    end: str
    left_after: tuple[timedelta, ...]  # beyond down_for, until the verified failover, where nothing else stood in the way

    @property
    def digest(self) -> str:
        """Names exactly this run."""
        return hashlib.sha256("\n".join(f"{at.isoformat()} {text}" for at, text in self.log).encode()).hexdigest()

    def text(self) -> str:
        lines = [self.scenario.describe(), *(f"{at:%d %H:%M:%S} {text}" for at, text in self.log)]
        return "\n".join([*lines, self.violation or f"all invariants held; {self.end}"])


@contextmanager
def _no_collection() -> Iterator[None]:
    """Looking for cycles among objects that live as long as the run is a sixth of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def simulate(seed: int, *, skips: bool = True) -> Outcome:
    """The run of a seed."""
    return simulate_scenario(draw(seed), skips=skips)


def simulate_scenario(scenario: Scenario, *, skips: bool = True, keeper: MemoryKeeper | None = None) -> Outcome:
    """Never raises: what the core raises is a violation too."""
    world = World(scenario, skips=skips, keeper=keeper)
    violation = kind = ""
    try:
        with _no_collection():
            world.run()
    except ViolationError as error:
        violation, kind = str(error), error.kind
    except Exception as error:  # noqa: BLE001 - whatever the core raises is a finding
        place = "".join(traceback.format_exception(error)[-6:])
        violation, kind = f"{world.engine.now:%d %H:%M:%S}: the core raised {type(error).__name__}: {error}\n{place}", "raised"
    record = next(iter(world.store.records.values()), None)
    return Outcome(
        scenario=scenario,
        violation=violation,
        kind=kind,
        log=tuple(world.log),
        flips=len(world.watchman.flips),
        false_flips=world.watchman.false_flips,
        letters=dict(world.letters),
        hours=(world.engine.now - START) / timedelta(hours=1),
        end=str(record.state) if record is not None else "normal",
        left_after=tuple(world.watchman.liveness.left_after),
    )
