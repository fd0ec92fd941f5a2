"""Which generation is proven to lie in which repository. Only a cache: it is made anew from the repositories' own lists."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

MAXIMUM_BYTES = 1 << 20  # of the file: some 200 bytes for each repository
BEGUN = " begun"  # no repository's name has a blank


@dataclass(frozen=True, slots=True)
class Proof:
    """A snapshot was read back and holds every file of one generation."""

    snapshot_id: str
    generation: int
    state: str  # digest of the generation's file: numbers begin again where staging was lost
    generation_at: datetime
    proven_at: datetime
    opened_at: datetime  # when restic itself last opened the repository and listed it


@dataclass(frozen=True, slots=True)
class Begun:
    """A generation, and the digest of its file."""

    generation: int
    state: str


class Proofs:
    """One server's proofs, in one small file. A missing or damaged file is an empty one."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def get(self, repository: str) -> Proof | None:
        row = self._read().get(repository)
        if not isinstance(row, dict):
            return None
        try:
            return Proof(
                str(row["snapshot_id"]),
                int(row["generation"]),
                str(row["state"]),
                datetime.fromisoformat(row["generation_at"]),
                datetime.fromisoformat(row["proven_at"]),
                datetime.fromisoformat(row["opened_at"]),
            )
        except (KeyError, TypeError, ValueError):
            return None

    def highest(self) -> int:
        """The highest generation that any repository was given; 0 where none is known."""
        rows = [row for row in self._read().values() if isinstance(row, dict)]
        numbers = (row.get("generation") for row in rows)
        return max((number for number in numbers if isinstance(number, int)), default=0)

    def begun(self, repository: str) -> Begun | None:
        """The snapshot that was begun and of which nobody has seen since what it came to."""
        row = self._read().get(repository + BEGUN)
        try:
            return Begun(int(row["generation"]), str(row["state"])) if isinstance(row, dict) else None
        except (KeyError, TypeError, ValueError):
            return None

    def begin(self, repository: str, generation: int, state: str) -> None:
        """Before restic is asked to make it: a kill in between leaves a word of it."""
        self._change(repository + BEGUN, {"generation": generation, "state": state})

    def settle(self, repository: str) -> None:
        """What was begun has been looked at."""
        self._change(repository + BEGUN, None)

    def put(self, repository: str, proof: Proof) -> None:
        """A full disk is no reason to call a good snapshot bad: then it is proven again next time. What was begun is settled by it."""
        row = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(proof).items()}
        self._change(repository, row, settled=repository + BEGUN)

    def forget(self, repository: str) -> None:
        self._change(repository, None)

    def _change(self, key: str, row: dict[str, object] | None, settled: str = "") -> None:
        with self._alone():
            before = self._read()
            rows = {name: kept for name, kept in before.items() if name not in (key, settled)}
            rows |= {} if row is None else {key: row}
            if rows != before:
                self._write(rows)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Repositories are served at the same time, by threads and by processes: none may write away what another just proved."""
        descriptor = -1
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self._file.with_name(f"{self._file.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _read(self) -> dict[str, object]:
        try:
            with self._file.open("rb") as file:
                rows = json.loads(file.read(MAXIMUM_BYTES))
        except (OSError, ValueError):
            return {}
        return rows if isinstance(rows, dict) else {}

    def _write(self, rows: dict[str, object]) -> None:
        fresh = self._file.with_name(f"{self._file.name}.{os.getpid()}.new")
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh.write_text(json.dumps(rows, indent=1, sort_keys=True))
            fresh.replace(self._file)
