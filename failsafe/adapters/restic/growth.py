"""How far a `restic restore` is: by the files that grow, since older restics say nothing while they restore."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from failsafe.ports import Progress

EVERY_SECONDS = 0.5
WATCHED = 2_000  # files, the largest: looking must cost less than fetching
BLOCK = 512  # bytes of st_blocks (POSIX), which counts what was written of a file that has its full length from the start


@contextlib.contextmanager
def shown_growth(target: Path, sizes: Mapping[str, int], progress: Progress | None, stage: str) -> Iterator[None]:
    """Tells `progress` of bytes that arrive below `target` while the block runs, and of all of them at its end, whatever came of it."""
    if progress is None:
        yield
        return
    growth = _Growth(target, sizes, progress)
    progress.stage(stage, growth.total, "B")
    ended = threading.Event()
    watch = threading.Thread(target=growth.run, args=(ended,), daemon=True)
    watch.start()
    try:
        yield
    finally:
        ended.set()
        watch.join()
        growth.tell(growth.total)


class _Growth:
    def __init__(self, target: Path, sizes: Mapping[str, int], progress: Progress) -> None:
        self.total = sum(sizes.values())
        largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:WATCHED]
        self._files = [(target / path, sizes[path]) for path in largest]
        self._progress, self._shown = progress, 0

    def run(self, ended: threading.Event) -> None:
        while not ended.wait(EVERY_SECONDS):
            self.tell(sum(min(_written(path), size) for path, size in self._files))

    def tell(self, done: int) -> None:
        if done > self._shown:
            self._progress.advance(done - self._shown)
            self._shown = done


def _written(path: Path) -> int:
    try:
        return path.stat().st_blocks * BLOCK
    except OSError:
        return 0
