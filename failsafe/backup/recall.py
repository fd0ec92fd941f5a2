"""Messages back out of the archive: from a repository, metadata first and then only the segments that are needed, or from staging."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol

from failsafe.backup.archive import Archive
from failsafe.backup.archive.layout import generation_path, index_path, path_of
from failsafe.backup.archive.segment import digest_of
from failsafe.backup.one_ahead import one_ahead
from failsafe.backup.segments_read import places_in, portions, searched, whole
from failsafe.backup.shortcut import Shortcut
from failsafe.errors import ArchiveError, ResticError
from failsafe.mail.manifest import Generation, MailboxManifest, is_digest
from failsafe.model import Body, Result, SnapshotInfo
from failsafe.ports import Narrator, Progress, Repository

Messages = Generator[tuple[str, Body], None, None]  # (id, the message)
WANTING = f"result:{Result.INCOMPLETE}"


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

    def surely(self, server: str) -> tuple[int, ...]:
        """Those of which it is known without asking."""
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

    def read(self, server: str, number: int, mailbox: str, ids: Sequence[str], narrate: Narrator) -> Messages:
        """Those it has whole, each once, in the order they lie; the others are silently not given. To be used before the next one is asked for,
        and to be closed: a fetch may be under way."""
        ...


class StagingSource:
    """Staging folders on this machine."""

    name = "staging"

    def __init__(self, archives: Mapping[str, Archive]) -> None:
        self._archives = archives

    def generations(self, server: str) -> tuple[int, ...]:
        archive = self._archives.get(server)
        return archive.numbers() if archive is not None else ()

    def surely(self, server: str) -> tuple[int, ...]:
        return self.generations(server)

    def moments(self, server: str) -> tuple[Moment, ...]:
        return tuple(Moment(server, number, self.generation(server, number).at) for number in self.generations(server))

    def generation(self, server: str, number: int) -> Generation:
        return self._archives[server].generation(number)

    def folders(self, server: str, number: int, mailbox: str) -> tuple[Archive, MailboxManifest]:
        archive = self._archives[server]
        return archive, archive.mailbox(archive.generation(number), mailbox)

    def with_files(self, server: str, number: int, paths: Sequence[str]) -> Archive:  # noqa: ARG002 - staging has them all
        return self._archives[server]

    def read(self, server: str, number: int, mailbox: str, ids: Sequence[str], narrate: Narrator) -> Messages:
        archive = self._archives[server]
        with archive.held():
            _, manifest = self.folders(server, number, mailbox)
            located = archive.locate(manifest.segments, ids)
            yield from whole(archive, list(located.values()), narrate, self.name)


class RepositorySource:
    """One restic repository; what is fetched lies below `folder` until the restore ends. `nearby`: archives that may have a file already;
    `progress` hears of what is under way; `stop` ends what a thread is fetching; `meanwhile` may
    use the time in which a first answer is awaited.

    Once the place as a whole failed, it is not asked again: each time would cost the whole of its deadline.
    """

    def __init__(
        self,
        repository: Repository,
        folder: Path,
        nearby: Sequence[Path] = (),
        progress: Progress | None = None,
        shortcut: Callable[[str], Shortcut | None] = lambda _server: None,
        stop: Callable[[], None] = lambda: None,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        self._repository, self._folder, self._nearby = repository, folder, tuple(nearby)
        self._progress, self._shortcut, self._stop, self._meanwhile = progress, shortcut, stop, meanwhile
        self._out: ResticError | None = None
        self._snapshots: dict[str, dict[int, SnapshotInfo]] = {}
        self._generations: dict[tuple[str, int], Generation] = {}
        self.name = repository.name

    def snapshots(self, server: str) -> dict[int, SnapshotInfo]:
        """The newest snapshot of each generation, by the generation's number, oldest first."""
        if server not in self._snapshots:
            found = {}
            with self._asking(), self._waiting():
                listed = self._repository.snapshots(f"failsafe-{server}")
            for snapshot in listed:
                number = generation_of(snapshot)
                if number is not None:
                    found[number] = snapshot
            self._snapshots[server] = dict(sorted(found.items()))
        return self._snapshots[server]

    def generations(self, server: str) -> tuple[int, ...]:
        return tuple(self.snapshots(server))

    def surely(self, server: str) -> tuple[int, ...]:
        short = self._shortcut(server)
        return () if short is None else (short.generation,)

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

    def read(self, server: str, number: int, mailbox: str, ids: Sequence[str], narrate: Narrator) -> Messages:
        left = dict.fromkeys(ids)
        with closing(self._read_known(server, number, ids, narrate)) as known:
            yield from _each_once(known, left)
        if left:
            with closing(self._read_listed(server, number, mailbox, tuple(left), narrate)) as listed:
                yield from _each_once(listed, left)

    def _read_known(self, server: str, number: int, ids: Sequence[str], narrate: Narrator) -> Messages:
        """Where the segments are known here: from one run of restic, with nothing asked before. What fails is left to the long way."""
        short = self._shortcut(server)
        if short is None or short.generation != number:
            return
        archive = Archive(self._room(short.snapshot_id))
        segments = tuple(dict.fromkeys(short.segments_of(ids).values()))
        wanted = frozenset(ids)
        fetch = partial(self._fetch_known, short, archive.folder)
        with closing(one_ahead(portions(segments), fetch, self._stop, self._meanwhile)) as coming:
            for batch, came in coming:
                places, _ = places_in(archive, batch, wanted)
                for segment in batch:
                    yield from whole(archive, places.get(segment, ()), narrate, self.name)
                    if came:
                        (archive.folder / path_of("segments", segment)).unlink(missing_ok=True)

    def _fetch_known(self, short: Shortcut, folder: Path, segments: Sequence[str]) -> bool:
        """False where restic complained: what came is kept then, so that the long way does not wait for the same damage again."""
        try:
            with self._asking(), self._waiting():
                paths = [path for segment in segments for path in (path_of("segments", segment), index_path(segment))]
                self._repository.fetch_some(short.snapshot_id, paths, folder)
        except ResticError as error:
            if is_out(error):
                raise
            return False
        return True

    def _read_listed(self, server: str, number: int, mailbox: str, ids: Sequence[str], narrate: Narrator) -> Messages:
        archive = self._archive(server, number)
        segments = self._segments(server, number, mailbox, narrate)
        self._fetch_indexes(server, number, segments, narrate)
        places, dark = places_in(archive, segments, frozenset(ids))
        known = {place.id for found in places.values() for place in found}
        lacking = frozenset(ids) - known
        if lacking and dark:
            narrate(
                f"{self.name}: {len(dark)} index file(s) cannot be read; those segments are searched for {len(lacking)} message(s)"
            )
        ordered = [*places, *(dark if lacking else ())]
        fetch = partial(self._fetch_segments, server, number, narrate)
        with closing(one_ahead(portions(ordered), fetch, self._stop)) as coming:
            for batch, _ in coming:
                for segment in batch:
                    yield from whole(archive, places.get(segment) or searched(archive, segment, lacking), narrate, self.name)
                    (archive.folder / path_of("segments", segment)).unlink(missing_ok=True)

    def with_files(self, server: str, number: int, paths: Sequence[str]) -> Archive:
        self._fetch(server, number, paths)
        return self._archive(server, number)

    def snapshot(self, server: str, number: int) -> str:
        """The whole id of the snapshot that holds a generation."""
        return self.snapshots(server)[number].id

    def close(self) -> None:
        shutil.rmtree(self._folder / self.name, ignore_errors=True)

    def _segments(self, server: str, number: int, mailbox: str, narrate: Narrator) -> tuple[str, ...]:
        """Those of the mailbox; where its manifest cannot be read, all that the snapshot has: one lost file costs no more than itself."""
        try:
            return self._manifest(server, number, mailbox).segments
        except (ResticError, ArchiveError) as error:
            if is_out(error):
                raise
            narrate(f"{self.name}: {error}; the messages are looked for in all segments of the snapshot")
        with self._asking():
            listed = self._repository.list_files(self.snapshots(server)[number].id, "segments")
        return tuple(PurePosixPath(path).stem for path in listed if path.endswith(".tar"))

    def _fetch_indexes(self, server: str, number: int, segments: Sequence[str], narrate: Narrator) -> None:
        try:
            self._fetch(server, number, [index_path(segment) for segment in segments])
        except ResticError as error:
            if is_out(error):
                raise
            narrate(f"repository {self.name}: {error}")

    def _fetch_segments(self, server: str, number: int, narrate: Narrator, segments: Sequence[str]) -> None:
        """All at once. restic goes on past a damaged pack, so what arrived is used, message by message; it tries a pack that is gone for a
        minute, so a segment is asked for once more only where nothing of it arrived."""
        try:
            self._fetch(server, number, [path_of("segments", segment) for segment in segments])
        except ResticError as error:
            if is_out(error):
                raise
            narrate(f"repository {self.name}: {error}")
            folder = self._archive(server, number).folder
            absent = [segment for segment in segments if not (folder / path_of("segments", segment)).is_file()]
            for segment in absent if len(segments) > 1 else ():
                with contextlib.suppress(ResticError):
                    self._fetch(server, number, [path_of("segments", segment)])

    def _archive(self, server: str, number: int) -> Archive:
        return Archive(self._room(self.snapshots(server)[number].id))

    def _room(self, snapshot_id: str) -> Path:
        return self._folder / self.name / snapshot_id[:16]

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
            with self._asking():
                self._repository.fetch(self.snapshots(server)[number].id, missing, folder, self._progress)

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """A place that does not answer takes minutes to be given up."""
        if self._progress is not None:
            self._progress.stage(f"asking {self.name}", 1)
        try:
            yield
        finally:
            if self._progress is not None:
                self._progress.advance(1)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        if self._out is not None:
            raise self._out
        try:
            yield
        except ResticError as error:
            if is_out(error):
                self._out = error
            raise

    def _borrow(self, path: str, folder: Path) -> bool:
        """A file whose name is its digest is the same everywhere; an index proves itself when it is read."""
        stem = Path(path).stem
        for near in self._nearby if is_digest(stem) else ():
            if (near / path).is_file() and (path.endswith(".idx") or digest_of(near / path) == stem):
                with contextlib.suppress(OSError):
                    (folder / path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    shutil.copyfile(near / path, folder / path)
                    return True
        return False


def _each_once(messages: Messages, left: dict[str, None]) -> Messages:
    """A message may lie in two segments. Takes those that are given out of `left`."""
    for id_, body in messages:
        if id_ in left:
            del left[id_]
            yield id_, body


def is_out(error: Exception) -> bool:
    """Whether the place as a whole failed, and not some of what it holds."""
    return isinstance(error, ResticError) and error.kind not in ("failed", "incomplete")


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
