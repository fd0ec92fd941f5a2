"""Stores the parts of a pull that takes long, while it goes on: each repository at its own pace, never one waiting for another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from failsafe.backup.serving import MOST_AT_ONCE, Served, serve_all
from failsafe.backup.snapshot import Snapshotter, Target
from failsafe.mail.manifest import Generation
from failsafe.ports import Progress

Maker = Callable[[Generation, Progress], Snapshotter]


class Checkpoints:
    """Where a pull says that a part is durable in staging; the job that runs it listens."""

    def __init__(self) -> None:
        self._listener: Callable[[Generation], None] = lambda _: None

    def listen(self, listener: Callable[[Generation], None]) -> None:
        self._listener = listener

    def __call__(self, generation: Generation) -> None:
        self._listener(generation)


class Parts:
    """Call it with each part. A repository that is still at the one before passes this one over: the next comes within the hour.

    Leaving the `with` by an exception ends what runs; else `after` waits for it, repository by repository.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        make: Maker,
        stop: Callable[[], None],
        served: Callable[[Generation, Served], None],
    ) -> None:
        self._targets, self._make, self._stop, self._served = targets, make, stop, served
        self._pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="part")
        self._running: dict[str, Future[None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._stop()
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)

    def __call__(self, generation: Generation) -> None:
        for target in self._targets:
            before = self._running.get(target.repository.name)
            if before is None or before.done():
                self._running[target.repository.name] = self._pool.submit(self._serve, target, generation)

    @contextmanager
    def after(self, target: Target) -> Iterator[None]:
        """Holds the repository once its part is in it, or has failed."""
        before = self._running.get(target.repository.name)
        if before is not None:
            before.exception()  # what failed is tried again with the whole, and told then
        with target.hold():
            yield

    def _serve(self, target: Target, generation: Generation) -> None:
        served = serve_all([target], lambda progress: self._make(generation, progress), _Unseen(), lambda: None)
        self._served(generation, served)


class _Unseen:
    """Progress beside a pull, which shows its own."""

    def stage(self, text: str, total: int | None = None, unit: str = "") -> None:
        pass

    def advance(self, amount: int) -> None:
        pass
