"""failsafe's own check: repositories by restic reading a part of their data, archives by their own digests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from failsafe.backup.archive.layout import README, REBUILD
from failsafe.backup.archive.reader import Archive
from failsafe.backup.report import Trouble
from failsafe.backup.snapshot import host_of, read_tags
from failsafe.errors import EXIT_EXTERNAL, EXIT_FINDINGS, EXIT_OK, FailsafeError, Interrupted, LeaseLost, NothingFound
from failsafe.events import Event
from failsafe.model import SnapshotInfo
from failsafe.ports import Clock, Recorder, Repository

PROBLEMS_NAMED = 100


@dataclass(frozen=True, slots=True)
class RepositoryVerdict:
    """What `restic check` said. `trouble`: it could not be asked, which is not the same as damage."""

    repository: str
    ok: bool
    read_percent: float = 0.0
    damaged: tuple[str, ...] = ()
    trouble: Trouble | None = None
    took: timedelta = timedelta()
    packs: int | None = None  # files of data in all, as restic counted them

    def to_json(self) -> dict[str, object]:
        line: dict[str, object] = {
            "repository": self.repository,
            "ok": self.ok,
            "read_percent": round(self.read_percent, 2),
            "damaged": list(self.damaged),
        }
        return line if self.trouble is None else {**line, "error": self.trouble.text, "mend": self.trouble.mend}


@dataclass(frozen=True, slots=True)
class ArchiveVerdict:
    """One generation against its own digests; `place` is "staging" or a repository's name."""

    server: str
    place: str
    ok: bool
    generation: int | None = None
    problems: tuple[str, ...] = ()
    trouble: Trouble | None = None
    files: tuple[str, ...] = ()  # in which the problems are

    def to_json(self) -> dict[str, object]:
        line: dict[str, object] = {
            "server": self.server,
            "place": self.place,
            "ok": self.ok,
            "generation": self.generation,
            "problems": list(self.problems[:PROBLEMS_NAMED]),
        }
        return line if self.trouble is None else {**line, "error": self.trouble.text, "mend": self.trouble.mend}


def verify_repository(repository: Repository, *, part: int, parts: int, clock: Clock, record: Recorder) -> RepositoryVerdict:
    """Checks the repository's structure and reads part `part` of `parts` (1…256) of its data. The caller remembers the next part."""
    try:
        found = repository.check(part=part, parts=parts)
    except (Interrupted, LeaseLost):
        raise
    except FailsafeError as error:
        return RepositoryVerdict(repository.name, ok=False, trouble=Trouble(str(error), error.mend))
    verdict = RepositoryVerdict(repository.name, found.ok, found.read_percent, found.damaged, took=found.took, packs=found.packs)
    name = "repository.checked" if found.ok else "repository.damaged"
    words = f"{found.read_percent:.0f} % of the data read, " + ("sound" if found.ok else "damage found")
    record(Event(name, repository.name, words, clock.now(), {**verdict.to_json(), "part": part, "parts": parts}))
    return verdict


def verify_staging(server: str, folder: Path, *, read_messages: bool) -> ArchiveVerdict:
    """The newest generation in a staging folder."""
    archive = Archive(folder)
    with archive.held():
        return _verify(archive, server, "staging", read_messages=read_messages)


def verify_snapshot(repository: Repository, server: str, target: Path) -> ArchiveVerdict:
    """The newest snapshot of a server, fetched whole to `target` (an empty folder) as a restore would, every byte compared."""
    try:
        newest = newest_snapshot(repository, server)
        archive = fetch_archive(repository, newest, target)
    except (Interrupted, LeaseLost):
        raise
    except FailsafeError as error:
        return ArchiveVerdict(server, repository.name, ok=False, trouble=Trouble(str(error), error.mend))
    return _verify(archive, server, repository.name, read_messages=True)


def newest_snapshot(repository: Repository, server: str) -> SnapshotInfo:
    """Raises NothingFound where the repository has none of this server."""
    ours = [info for info in repository.snapshots(host_of(server)) if read_tags(info.tags).generation is not None]
    if not ours:
        raise NothingFound(f"repository {repository.name} has no snapshot of {server}", mend=f"failsafe backup {server}")
    return max(ours, key=lambda info: (info.at, read_tags(info.tags).generation or 0))  # two may have been made within a second


def fetch_archive(repository: Repository, snapshot: SnapshotInfo, target: Path) -> Archive:
    """A snapshot's archive in a folder of its own, in steps: each says what the next one needs. Raises ResticError, ArchiveError."""
    archive = Archive(target)
    generations = repository.list_files(snapshot.id, "generations")
    repository.fetch(snapshot.id, [*generations, README, REBUILD], target)
    generation = archive.generation()
    for step in (archive.manifest_files, archive.metadata_files, archive.data_files):
        repository.fetch(snapshot.id, step(generation), target)
    return archive


def exit_code(repositories: Iterable[RepositoryVerdict], archives: Iterable[ArchiveVerdict]) -> int:
    """By the worst: something could not be asked, something is damaged, all is well."""
    verdicts: list[RepositoryVerdict | ArchiveVerdict] = [*repositories, *archives]
    if any(verdict.trouble is not None for verdict in verdicts):
        return EXIT_EXTERNAL
    return EXIT_OK if all(verdict.ok for verdict in verdicts) else EXIT_FINDINGS


def _verify(archive: Archive, server: str, place: str, *, read_messages: bool) -> ArchiveVerdict:
    try:
        generation = archive.generation()
        problems = archive.verify(generation, read_messages=read_messages)
    except FailsafeError as error:
        return ArchiveVerdict(server, place, ok=False, problems=(str(error),))
    files = tuple(dict.fromkeys(problem.file for problem in problems))
    return ArchiveVerdict(server, place, not problems, generation.number, tuple(map(str, problems)), files=files)
