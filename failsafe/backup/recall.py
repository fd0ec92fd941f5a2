"""Messages back out of the archive: from a repository, metadata first and then only the segments that are needed, or from staging."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from failsafe.backup.archive import Archive, Location
from failsafe.backup.archive.layout import generation_path, index_path, path_of
from failsafe.errors import ArchiveError, ResticError
from failsafe.mail.manifest import Generation, MailboxManifest, is_digest
from failsafe.model import Result, SnapshotInfo
from failsafe.ports import Narrator, Repository

WANTING = f"result:{Result.INCOMPLETE}"
SEGMENTS_AT_ONCE = 16  # fetched together: 256 MB of disk, but for single messages that are larger


@dataclass(frozen=True, slots=True)
class Moment:
    """A state of a server that a source can show."""

    server: str
    number: int  # of the generation
    at: datetime
    snapshot_id: str = ""  # "" in staging
    is_wanting: bool = False  # its snapshot says that it is not all there


class Source(Protocol):
    """One place that has messages. What it gives was compared with its digest."""

    @property
    def name(self) -> str: ...
    def generations(self, server: str) -> tuple[int, ...]:
        """Those it can open, oldest first. Raises ResticError, ArchiveError."""
        ...

    def moments(self, server: str) -> tuple[Moment, ...]:
        """What it could show of the past, oldest first."""
        ...

    def generation(self, server: str, number: int) -> Generation: ...
    def folders(self, server: str, number: int, mailbox: str) -> tuple[Archive, MailboxManifest]:
        """A mailbox as it was, with an archive that has all its shards. Raises ArchiveError, ResticError."""
        ...

    def with_files(self, server: str, number: int, paths: Sequence[str]) -> Archive:
        """An archive in which these files of a generation are (paths as of archive/layout.py)."""
        ...

    def read(self, server: str, number: int, mailbox: str, ids: Sequence[str], narrate: Narrator) -> Iterator[tuple[str, bytes]]:
        """(id, bytes) of those it has whole, in the order they lie; the others are silently not given. One message in memory."""
        ...


class StagingSource:
    """Staging folders on this machine."""

    name = "staging"

    def __init__(self, archives: Mapping[str, Archive]) -> None:
        self._archives = archives

    def generations(self, server: str) -> tuple[int, ...]:
        archive = self._archives.get(server)
        return archive.numbers() if archive is not None else ()

    def moments(self, server: str) -> tuple[Moment, ...]:
        return tuple(Moment(server, number, self.generation(server, number).at) for number in self.generations(server))

    def generation(self, server: str, number: int) -> Generation:
        return self._archives[server].generation(number)

    def folders(self, server: str, number: int, mailbox: str) -> tuple[Archive, MailboxManifest]:
        archive = self._archives[server]
        return archive, archive.mailbox(archive.generation(number), mailbox)

    def with_files(self, server: str, number: int, paths: Sequence[str]) -> Archive:  # noqa: ARG002 - staging has them all
        return self._archives[server]

    def read(self, server: str, number: int, mailbox: str, ids: Sequence[str], narrate: Narrator) -> Iterator[tuple[str, bytes]]:
        archive = self._archives[server]
        with archive.held():
            _, manifest = self.folders(server, number, mailbox)
            located = archive.locate(manifest.segments, ids)
            yield from _whole(archive, list(located.values()), narrate, self.name)


class RepositorySource:
    """One restic repository; what is fetched lies below `folder` until the restore ends. `nearby`: archives that may have a file already."""

    def __init__(self, repository: Repository, folder: Path, nearby: Sequence[Path] = ()) -> None:
        self._repository, self._folder, self._nearby = repository, folder, tuple(nearby)
        self._snapshots: dict[str, dict[int, SnapshotInfo]] = {}
        self._generations: dict[tuple[str, int], Generation] = {}
        self.name = repository.name

    def snapshots(self, server: str) -> dict[int, SnapshotInfo]:
        """The newest snapshot of each generation, by the generation's number, oldest first."""
        if server not in self._snapshots:
            found = {}
            for snapshot in self._repository.snapshots(f"failsafe-{server}"):
                number = generation_of(snapshot)
                if number is not None:
                    found[number] = snapshot
            self._snapshots[server] = dict(sorted(found.items()))
        return self._snapshots[server]

    def generations(self, server: str) -> tuple[int, ...]:
        return tuple(self.snapshots(server))

    def moments(self, server: str) -> tuple[Moment, ...]:
        listed = self.snapshots(server).items()
        return tuple(Moment(server, number, taken.at, taken.id, WANTING in taken.tags) for number, taken in listed)

    def generation(self, server: str, number: int) -> Generation:
        if (server, number) not in self._generations:
            self._fetch(server, number, [generation_path(number)])
            self._generations[server, number] = self._archive(server, number).generation(number)
        return self._generations[server, number]

    def folders(self, server: str, number: int, mailbox: str) -> tuple[Archive, MailboxManifest]:
        manifest = self._manifest(server, number, mailbox)
        self._fetch(server, number, [path_of("shards", name) for folder in manifest.folders for name in folder.shards])
        return self._archive(server, number), manifest

    def read(self, server: str, number: int, mailbox: str, ids: Sequence[str], narrate: Narrator) -> Iterator[tuple[str, bytes]]:
        manifest = self._manifest(server, number, mailbox)
        archive = self._archive(server, number)
        self._fetch(server, number, [index_path(segment) for segment in manifest.segments])
        located = archive.locate(manifest.segments, ids)
        by_segment: dict[str, list[Location]] = {}
        for place in located.values():
            by_segment.setdefault(place.segment, []).append(place)
        ordered = [segment for segment in manifest.segments if segment in by_segment]
        for start in range(0, len(ordered), SEGMENTS_AT_ONCE):
            batch = ordered[start : start + SEGMENTS_AT_ONCE]
            self._fetch_segments(server, number, batch, narrate)
            yield from _whole(archive, [place for segment in batch for place in by_segment[segment]], narrate, self.name)
            for segment in batch:
                (archive.folder / path_of("segments", segment)).unlink(missing_ok=True)

    def with_files(self, server: str, number: int, paths: Sequence[str]) -> Archive:
        self._fetch(server, number, paths)
        return self._archive(server, number)

    def snapshot(self, server: str, number: int) -> str:
        """The whole id of the snapshot that holds a generation."""
        return self.snapshots(server)[number].id

    def close(self) -> None:
        shutil.rmtree(self._folder / self.name, ignore_errors=True)

    def _fetch_segments(self, server: str, number: int, segments: Sequence[str], narrate: Narrator) -> None:
        """All at once; where that fails, as it does for a damaged pack, one by one, so that one does not cost the others."""
        try:
            self._fetch(server, number, [path_of("segments", segment) for segment in segments])
        except ResticError as error:
            narrate(f"repository {self.name}: {error}")
            for segment in segments if len(segments) > 1 else ():
                (self._archive(server, number).folder / path_of("segments", segment)).unlink(missing_ok=True)
                with contextlib.suppress(ResticError):  # what did arrive is compared with its digest, message by message
                    self._fetch(server, number, [path_of("segments", segment)])

    def _archive(self, server: str, number: int) -> Archive:
        return Archive(self._folder / self.name / self.snapshots(server)[number].id[:16])

    def _manifest(self, server: str, number: int, mailbox: str) -> MailboxManifest:
        generation = self.generation(server, number)
        name = generation.mailboxes.get(mailbox)
        if name is not None:
            self._fetch(server, number, [path_of("mailboxes", name)])
        return self._archive(server, number).mailbox(generation, mailbox)

    def _fetch(self, server: str, number: int, paths: Sequence[str]) -> None:
        folder = self._archive(server, number).folder
        lacking = sorted({path for path in paths if not (folder / path).is_file()})
        missing = [path for path in lacking if not self._borrow(path, folder)]
        if missing:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._repository.fetch(self.snapshots(server)[number].id, missing, folder)

    def _borrow(self, path: str, folder: Path) -> bool:
        """A file whose name is its digest is the same everywhere; an index proves itself when it is read."""
        stem = Path(path).stem
        for near in self._nearby if is_digest(stem) else ():
            with contextlib.suppress(OSError):
                data = (near / path).read_bytes()
                if path.endswith(".idx") or hashlib.sha256(data).hexdigest() == stem:
                    (folder / path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    (folder / path).write_bytes(data)
                    return True
        return False


def generation_of(snapshot: SnapshotInfo) -> int | None:
    """The generation in a snapshot's tag `generation:N`; None for a snapshot that is not ours."""
    for tag in snapshot.tags:
        name, _, number = tag.partition(":")
        if name == "generation" and number.isascii() and number.isdigit():
            return int(number)
    return None


def best_generation(available: Sequence[int], first: int, last: int) -> int | None:
    """The newest one that lists the message; else the next later one, whose segments may still hold it; else none."""
    within = [number for number in available if min(first, last) <= number <= last]  # numbers begin anew after staging was lost
    if within:
        return max(within)
    later = [number for number in available if number > last]
    return min(later, default=None)


def _whole(archive: Archive, places: Sequence[Location], narrate: Narrator, name: str) -> Iterator[tuple[str, bytes]]:
    for place in places:
        if not (archive.folder / path_of("segments", place.segment)).is_file():
            continue  # it did not arrive, and that was told
        try:
            data = archive.read_message(place)
        except ArchiveError as error:
            narrate(f"{name}: {error}")
            continue
        yield place.id, data
