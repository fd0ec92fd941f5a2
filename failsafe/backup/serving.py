"""All repositories at the same time, each on its own account: one that fails, hangs or is busy never holds up another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from failsafe.backup.report import Skipped, SnapshotReport
from failsafe.backup.snapshot import Snapshotter, Target
from failsafe.errors import Refused
from failsafe.ports import Progress

MOST_AT_ONCE = 16  # more repositories than that wait for one another

# One repository's part, with everything but these two bound to it.
Maker = Callable[[Progress], Snapshotter]


@dataclass(frozen=True, slots=True)
class Served:
    """What became of every repository, in the order in which they were given."""

    snapshots: tuple[SnapshotReport, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def serve_all(targets: Sequence[Target], make: Maker, progress: Progress, stop: Callable[[], None]) -> Served:
    """Whatever fails is in the reports. `stop` ends what other threads run, when this one is interrupted."""
    if not targets:
        return Served()
    together = Together(progress, [target.repository.name for target in targets])
    with ThreadPoolExecutor(min(len(targets), MOST_AT_ONCE), thread_name_prefix="repository") as pool:
        parts = [pool.submit(_serve, target, make(together.part())) for target in targets]
        try:
            done = [part.result() for part in parts]
        except BaseException:
            for part in parts:
                part.cancel()
            stop()
            raise
    return Served(
        tuple(one for one in done if isinstance(one, SnapshotReport)), tuple(one for one in done if isinstance(one, Skipped))
    )


def _serve(target: Target, snapshotter: Snapshotter) -> SnapshotReport | Skipped | None:
    """Nobody waits for a repository that is busy: an upload may take days, and the next run comes soon."""
    try:
        with target.hold():
            return snapshotter.serve(target)
    except Refused as busy:
        return Skipped(target.repository.name, str(busy))


class Together:
    """One progress for what several threads do: the sum of all their stages."""

    def __init__(self, progress: Progress, names: Sequence[str]) -> None:
        self._progress, self._text = progress, f"snapshots into {', '.join(names)}" if len(names) > 1 else ""
        self._lock = threading.Lock()
        self._parts: list[_Part] = []

    def part(self) -> Progress:
        made = _Part(self)
        self._parts.append(made)
        return made

    def begin(self, part: _Part, text: str, total: int | None, unit: str) -> None:
        with self._lock:
            part.total, part.done, part.unit = total, 0, unit
            alike = [each for each in self._parts if each.unit == unit]  # bytes and files cannot be added up
            totals = [each.total for each in alike if each.total is not None]
            self._progress.stage(self._text or text, sum(totals) or None, unit)
            self._progress.advance(sum(each.done for each in alike))

    def advance(self, part: _Part, amount: int) -> None:
        with self._lock:
            part.done += amount
            self._progress.advance(amount)


@dataclass(slots=True)
class _Part:
    whole: Together = field(repr=False)
    total: int | None = None
    done: int = 0
    unit: str = ""

    def stage(self, text: str, total: int | None = None, unit: str = "") -> None:
        self.whole.begin(self, text, total, unit)

    def advance(self, amount: int) -> None:
        self.whole.advance(self, amount)
