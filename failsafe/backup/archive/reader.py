"""Reading an archive: the staging folder, or any folder to which (parts of) a snapshot were restored."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from failsafe.backup.archive.layout import (
    GENERATIONS,
    LOCK,
    README,
    REBUILD,
    Location,
    generation_number,
    generation_path,
    index_path,
    path_of,
)
from failsafe.backup.archive.segment import IndexLine, decode_index, decode_index_ids, read_range
from failsafe.errors import ArchiveError
from failsafe.mail.manifest import (
    Entry,
    FileRef,
    FolderManifest,
    Generation,
    MailboxManifest,
    decode_entry,
    decode_file,
    decode_generation,
    decode_mailbox,
)

if TYPE_CHECKING:
    from failsafe.backup.archive.verify import Problem

A = TypeVar("A")
B = TypeVar("B")

LINE_HEAD = '{"id":"'  # as encode_entry begins a line; no JSON text holds it unescaped
METADATA_LIMIT = 256 << 20  # bytes of one manifest, shard or list: more is no file of ours (a million messages need some 0.2 MB)


class Archive:
    """Everything it gives was compared with its digest; what does not match raises ArchiveError naming the file."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While inside, nothing of this staging folder is collected. Without effect on a restored copy."""
        lock = self.folder / LOCK
        if not lock.exists():
            yield
            return
        handle = os.open(lock, os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH)
            yield
        finally:
            os.close(handle)

    def numbers(self) -> tuple[int, ...]:
        """Of the generations here, oldest first."""
        with contextlib.suppress(FileNotFoundError):
            found = (generation_number(path.name) for path in (self.folder / GENERATIONS).iterdir())
            return tuple(sorted(number for number in found if number is not None))
        return ()

    def generation(self, number: int | None = None) -> Generation:
        """The newest where no number is given. Raises ArchiveError where there is none or it is damaged."""
        if number is None:
            numbers = self.numbers()
            if not numbers:
                raise ArchiveError(f"{self.folder} holds no generation", mend="restore a snapshot there first", transient=False)
            number = numbers[-1]
        path = generation_path(number)
        generation = self._translated(path, decode_generation, self._read(path))
        if generation.number != number:
            raise ArchiveError(f"{self.folder / path} says it is generation {generation.number}", transient=False)
        return generation

    def mailbox(self, generation: Generation, mailbox: str) -> MailboxManifest:
        name = generation.mailboxes.get(mailbox)
        if name is None:
            raise ArchiveError(f"generation {generation.number} has no mailbox {mailbox}", transient=False)
        return self.manifest(name)

    def manifest(self, name: str) -> MailboxManifest:
        """A mailbox manifest by its name."""
        return self._translated(path_of("mailboxes", name), decode_mailbox, self._checked("mailboxes", name))

    def entries(self, manifest: FolderManifest) -> Iterator[Entry]:
        """In order of UID, those without last; holds one shard in memory."""
        for shard in manifest.shards:
            yield from self.shard(shard)

    def shard(self, name: str) -> Iterator[Entry]:
        for line in self._checked("shards", name).splitlines():
            yield self._translated(path_of("shards", name), decode_entry, line)

    def shard_changes(self, old: str, new: str) -> tuple[list[Entry], list[Entry]]:
        """(what `new` has and `old` has not, what `old` has and `new` has not): only lines that differ are decoded."""
        before, now = (self._checked("shards", name).splitlines() for name in (old, new))
        known, still = set(before), set(now)
        path = path_of("shards", new)
        fresh = [self._translated(path, decode_entry, line) for line in now if line not in known]
        return fresh, [self._translated(path, decode_entry, line) for line in before if line not in still]

    def shard_ids(self, name: str) -> set[str]:
        """The messages that a shard names, at a fraction of the cost of its entries."""
        head, *lines = self._checked("shards", name).decode("ascii", "replace").split(LINE_HEAD)
        usual = not head and all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
        return {line[:64] for line in lines} if usual else {entry.id for entry in self.shard(name)}

    def files(self, generation: Generation) -> Iterator[FileRef]:
        """The server's files of a generation; their content is read with `read_file`."""
        yield from self._list(generation.files)

    def controller_files(self, generation: Generation) -> Iterator[FileRef]:
        yield from self._list(generation.controller)

    def read_file(self, file: FileRef) -> bytes:
        return self._checked("files", file.digest, limit=None)

    def index(self, segment: str) -> tuple[IndexLine, ...]:
        path = index_path(segment)
        return self._translated(path, decode_index, self._read(path))

    def index_ids(self, segment: str) -> frozenset[str]:
        """The messages in a segment, at a fraction of the cost of its index."""
        path = index_path(segment)
        return self._translated(path, decode_index_ids, self._read(path))

    def locate(self, segments: Iterable[str], ids: Iterable[str]) -> dict[str, Location]:
        """Where these messages are; one that is in none of the segments is not in the answer. Reads index files only.

        Memory is that of the answer, so ask for as many as are worked on at a time. Give the segments in the manifest's order.
        """
        wanted = set(ids)
        found: dict[str, Location] = {}
        for segment in segments:
            if len(found) == len(wanted):
                break
            for line in self.index(segment):
                if line.id in wanted and line.id not in found:
                    found[line.id] = Location(line.id, segment, line.offset, line.size)
        return found

    def message_chunks(self, location: Location) -> Iterator[bytes]:
        """A message in pieces of at most 1 MiB. Raises ArchiveError after the last piece if the digest is wrong: keep nothing before."""
        path = path_of("segments", location.segment)
        digest = hashlib.sha256()
        try:
            with (self.folder / path).open("rb") as file:
                for piece in read_range(file, location.offset, location.size):
                    digest.update(piece)
                    yield piece
        except OSError as error:
            raise ArchiveError(f"cannot read {self.folder / path}: {error.strerror}") from error
        self._demand_same(location, digest.hexdigest())

    def read_message(self, location: Location) -> bytes:
        return b"".join(self.message_chunks(location))

    def message_in(self, segment: int, location: Location) -> bytes:
        """As `read_message`, of a segment that is open for reading (its descriptor): many messages of it are read in turn."""
        try:
            data = os.pread(segment, location.size, location.offset)
        except OSError as error:
            raise ArchiveError(f"cannot read {self.folder / path_of('segments', location.segment)}: {error.strerror}") from error
        self._demand_same(location, hashlib.sha256(data).hexdigest())
        return data

    def _demand_same(self, location: Location, digest: str) -> None:
        if digest != location.id:
            path = self.folder / path_of("segments", location.segment)
            raise ArchiveError(f"{path}: the message at {location.offset} is not {location.id}", transient=False)

    def verify(self, generation: Generation, *, read_messages: bool) -> list[Problem]:
        """All that is wrong with a generation; with `read_messages` every byte of every segment and file is read too."""
        from failsafe.backup.archive.verify import verify_generation

        return verify_generation(self, generation, read_messages=read_messages)

    # What to fetch from a repository, in three steps: each needs what the one before brought.

    def manifest_files(self, generation: Generation, mailboxes: Collection[str] | None = None) -> tuple[str, ...]:
        """Step one, after the generation's own file: mailbox manifests (of these mailboxes, or all) and the lists of files."""
        wanted = self._wanted(generation, mailboxes)
        lists = [path_of("lists", name) for name in (generation.files, generation.controller) if name is not None]
        return tuple(sorted({path_of("mailboxes", name) for name in wanted.values()} | set(lists)))

    def metadata_files(self, generation: Generation, mailboxes: Collection[str] | None = None) -> tuple[str, ...]:
        """Step two: shards and index files."""
        paths: set[str] = set()
        for name in self._wanted(generation, mailboxes).values():
            manifest = self.manifest(name)
            paths.update(path_of("shards", shard) for folder in manifest.folders for shard in folder.shards)
            paths.update(map(index_path, manifest.segments))
        return tuple(sorted(paths))

    def data_files(self, generation: Generation, mailboxes: Collection[str] | None = None) -> tuple[str, ...]:
        """Step three: segments and control files; with all mailboxes the server's files too. `segment_files` is the frugal way."""
        paths: set[str] = set()
        for name in self._wanted(generation, mailboxes).values():
            manifest = self.manifest(name)
            paths.update(path_of("segments", segment) for segment in manifest.segments)
            paths.update(path_of("files", file.digest) for file in manifest.files)
        if mailboxes is None:
            for listed in (self.files(generation), self.controller_files(generation)):
                paths.update(path_of("files", file.digest) for file in listed)
        return tuple(sorted(paths))

    def segment_files(self, locations: Iterable[Location]) -> tuple[str, ...]:
        """The segments that hold these messages."""
        return tuple(sorted({path_of("segments", location.segment) for location in locations}))

    def files_needed(self, generation: Generation, mailboxes: Collection[str] | None = None) -> tuple[str, ...]:
        """Every file of a generation (or of some of its mailboxes), its own, README.txt and rebuild.py among them."""
        own = (generation_path(generation.number), README, REBUILD)
        steps = (self.manifest_files, self.metadata_files, self.data_files)
        return (*own, *(path for step in steps for path in step(generation, mailboxes)))

    def _wanted(self, generation: Generation, mailboxes: Collection[str] | None) -> dict[str, str]:
        if mailboxes is None:
            return dict(generation.mailboxes)
        unknown = sorted(set(mailboxes) - set(generation.mailboxes))
        if unknown:
            raise ArchiveError(f"generation {generation.number} has no mailbox {', '.join(unknown)}", transient=False)
        return {mailbox: generation.mailboxes[mailbox] for mailbox in mailboxes}

    def _list(self, name: str | None) -> Iterator[FileRef]:
        if name is not None:
            for line in self._checked("lists", name).splitlines():
                yield self._translated(path_of("lists", name), decode_file, line)

    def _checked(self, kind: str, name: str, *, limit: int | None = METADATA_LIMIT) -> bytes:
        path = path_of(kind, name)
        data = self._read(path, limit=limit)
        if hashlib.sha256(data).hexdigest() != name:
            raise ArchiveError(f"{self.folder / path} does not match its digest", mend=MEND, transient=False, damaged=path)
        return data

    def _read(self, path: str, *, limit: int | None = METADATA_LIMIT) -> bytes:
        try:
            with (self.folder / path).open("rb") as file:
                if limit is not None and os.fstat(file.fileno()).st_size > limit:
                    raise ArchiveError(f"{self.folder / path} is larger than {limit} bytes", transient=False)
                return file.read()
        except OSError as error:
            damaged = path if error.errno == errno.EIO else ""
            raise ArchiveError(f"cannot read {self.folder / path}: {error.strerror}", mend=MEND, damaged=damaged) from error

    def _translated(self, path: str, decode: Callable[[A], B], data: A) -> B:
        try:
            return decode(data)
        except ArchiveError as error:
            raise ArchiveError(
                f"{self.folder / path}: {error}", mend=error.mend or MEND, transient=False, damaged=path
            ) from error


MEND = "take this file from another snapshot or repository (failsafe verify says which are whole)"
