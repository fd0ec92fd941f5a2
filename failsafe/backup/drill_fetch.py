"""What a drill fetches from a repository: only what it needs, and of that as much as a damaged repository still gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from failsafe.backup.drill_report import Fault
from failsafe.errors import ResticError
from failsafe.model import SnapshotInfo
from failsafe.ports import Repository

ATTEMPTS = 24  # failed restic runs, to find out which files of a damaged repository can be had
PATIENCE = 300.0  # seconds for the same: restic asks again for what is not there, newer ones for a quarter of an hour


class Fetcher:
    """One snapshot's files in one folder. Raises ResticError where it is not the repository's data that is at fault."""

    def __init__(self, repository: Repository, snapshot: SnapshotInfo, folder: Path, monotonic: Callable[[], float]) -> None:
        self._repository, self._snapshot, self.folder, self._monotonic = repository, snapshot, folder, monotonic
        self._attempts, self._lost = ATTEMPTS, 0.0
        self._sizes: Mapping[str, int] | None = None
        self.faults: list[Fault] = []

    @property
    def sizes(self) -> Mapping[str, int]:
        """Every file of the snapshot, in bytes."""
        if self._sizes is None:
            self._sizes = self._repository.list_sizes(self._snapshot.id)
        return self._sizes

    def fetch(self, paths: Iterable[str]) -> None:
        """Those that are not here yet. What the snapshot does not have, or the repository cannot give, is a fault."""
        wanted = [path for path in dict.fromkeys(paths) if not (self.folder / path).is_file()]
        for path in wanted:
            if path not in self.sizes:
                self.faults.append(Fault(f"snapshot {self._snapshot.id[:8]} lacks {path}"))
        self._fetch([path for path in wanted if path in self.sizes])

    def bytes_of(self, paths: Iterable[str]) -> int:
        """Of those that are still to be fetched."""
        return sum(self.sizes.get(path, 0) for path in set(paths) if not (self.folder / path).is_file())

    def _fetch(self, paths: Sequence[str]) -> None:
        """All at once; where that fails, by halves: a damaged pack costs the files that lie in it, not their neighbours."""
        if not paths:
            return
        began = self._monotonic()
        try:
            self._repository.fetch(self._snapshot.id, paths, self.folder)
            return
        except ResticError as error:
            if error.kind != "failed":
                raise
            self._attempts -= 1
            self._lost += self._monotonic() - began
            for path in paths:
                (self.folder / path).unlink(missing_ok=True)
            if len(paths) == 1 or self._attempts <= 0 or self._lost > PATIENCE:
                more = f" and {len(paths) - 1} more files" if len(paths) > 1 else ""
                self.faults.append(Fault(f"{paths[0]}{more} could not be fetched: {_first_line(error)}"))
                return
        middle = len(paths) // 2
        self._fetch(paths[:middle])
        self._fetch(paths[middle:])


def _first_line(error: ResticError) -> str:
    return next(iter(str(error).splitlines()), "")
