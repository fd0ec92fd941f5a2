"""What a drill fetches from a repository: only what it needs, and of that as much as a damaged repository still gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from failsafe.backup.drill_report import Fault
from failsafe.errors import ResticError
from failsafe.model import SnapshotInfo
from failsafe.ports import Repository

ATTEMPTS = 60  # restic runs to find out which files of a damaged repository can be had


class Fetcher:
    """One snapshot's files in one folder. Raises ResticError where it is not the repository's data that is at fault."""

    def __init__(self, repository: Repository, snapshot: SnapshotInfo, folder: Path) -> None:
        self._repository, self._snapshot, self.folder = repository, snapshot, folder
        self._left = ATTEMPTS
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
        try:
            self._repository.fetch(self._snapshot.id, paths, self.folder)
            return
        except ResticError as error:
            if error.kind != "failed":
                raise
            self._left -= 1
            for path in paths:
                (self.folder / path).unlink(missing_ok=True)
            if len(paths) == 1 or self._left <= 0:
                self.faults += [Fault(f"{path} could not be fetched: {_first_line(error)}") for path in paths]
                return
        middle = len(paths) // 2
        self._fetch(paths[:middle])
        self._fetch(paths[middle:])


def _first_line(error: ResticError) -> str:
    return next(iter(str(error).splitlines()), "")
