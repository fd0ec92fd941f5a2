"""Writing an archive: the only place that changes a staging folder.

Nothing changes in place. A file is written under the digest of its content, and the generation that names it is written last; so a
kill at any moment leaves the newest generation whole, and at worst files that no generation names.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from failsafe.backup.archive import durable, readme
from failsafe.backup.archive.layout import (
    ERASING,
    GENERATIONS,
    KINDS,
    LOCK,
    README,
    REBUILD,
    SEGMENT_LIMIT,
    TEMPORARY,
    generation_path,
    index_path,
    path_of,
)
from failsafe.backup.archive.mending import newest_aside, set_aside_damaged
from failsafe.backup.archive.proving import prove
from failsafe.backup.archive.reader import Archive
from failsafe.backup.archive.segment import IndexLine, Sealed, SegmentWriter, read_range, write_index
from failsafe.backup.archive.shards import Line, line_of, shards_of
from failsafe.errors import ArchiveError
from failsafe.mail.manifest import (
    Entry,
    FileRef,
    Generation,
    GenerationDraft,
    MailboxManifest,
    encode_files,
    encode_generation,
    encode_mailbox,
)


class Staging:
    """One server's staging folder, open for writing. Use `open`; `close` (or the end of a `with`) gives the hold on it back."""

    def __init__(self, folder: Path, server: str, lock: int) -> None:
        self.folder, self.server = folder, server
        self.archive = Archive(folder)
        self._temporary = folder / TEMPORARY
        self._lock = lock
        self._after = 0  # generations count on from here where staging was lost
        self._fresh: set[str] = set()  # written or found again since the last commit: not to be collected
        self._unsynced: set[Path] = set()  # folders whose new names are not durable yet
        self._together = durable.Together()  # shards, until the manifest that names them is written

    @classmethod
    def open(cls, folder: Path, server: str, *, sets_aside: bool = False) -> Staging:
        """Creates the folder (mode 0700) or recovers it from a killed run; leftovers are cleared only while nobody else has it open.

        With `sets_aside` a newest generation that cannot be understood is moved out of the way, and `was_damaged` says so until another
        has taken its place. Raises ArchiveError where it belongs to another server, or the disk fails.
        """
        folder = Path(folder)
        with durable.disk_errors("open", folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            for part in (TEMPORARY, GENERATIONS):
                durable.make_folder(folder / part)
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        staging = cls(folder, server, lock)
        try:
            with durable.disk_errors("recover", folder):
                staging._recover(sets_aside=sets_aside)
            staging._check_owner()
            staging._write_helpers()
        except BaseException:
            staging.close()
            raise
        return staging

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # What is there

    def numbers(self) -> tuple[int, ...]:
        return self.archive.numbers()

    @property
    def was_damaged(self) -> bool:
        """Whether what is here is older than a generation that was put aside."""
        return newest_aside(self.folder) > max(self.numbers(), default=0)

    def newest(self) -> Generation | None:
        """None in an empty staging folder. Raises ArchiveError where the newest generation is damaged."""
        return self.archive.generation() if self.numbers() else None

    def generation(self, number: int) -> Generation:
        return self.archive.generation(number)

    def segments(self) -> tuple[str, ...]:
        """Every sealed segment on disk, named by a generation or not: what a killed pull had already stored can be found again."""
        return tuple(sorted(path.stem for path in self.present("segments") if path.suffix == ".tar"))

    def index(self, segment: str) -> tuple[IndexLine, ...]:
        """One that is damaged is made anew from its segment. Raises ArchiveError where that is damaged, too."""
        try:
            return self.archive.index(segment)
        except ArchiveError as error:
            if not error.damaged:
                raise
            return self.remake_index(segment)

    def remake_index(self, segment: str) -> tuple[IndexLine, ...]:
        """Raises ArchiveError where the segment is damaged."""
        return write_index(self.folder, self._temporary, segment)

    # Writing

    def segment_writer(
        self,
        mailbox: str,
        *,
        known: Callable[[str], bool] | None = None,
        on_sealed: Callable[[Sealed], None] | None = None,
        limit: int = SEGMENT_LIMIT,
    ) -> SegmentWriter:
        """A writer for one mailbox's messages (`mailbox` is for the reader of the code: segments do not hold it).

        With `on_sealed` the index lines go to it alone, and `writer.sealed` has none: a million would be 300 MB.
        """
        assert mailbox, "one mailbox's messages to a segment"

        def note(sealed: Sealed) -> None:
            self._fresh.update((path_of("segments", sealed.name), index_path(sealed.name)))
            if on_sealed is not None:
                on_sealed(sealed)

        return SegmentWriter(self.folder, self._temporary, known=known, on_sealed=note, limit=limit, keep_lines=on_sealed is None)

    def write_shards(self, entries: Iterable[Entry]) -> tuple[str, ...]:
        """As `write_lines`, of entries."""
        return self.write_lines(map(line_of, entries))

    def write_lines(self, lines: Iterable[Line]) -> tuple[str, ...]:
        """Names of the shards that hold these entries, given in any order; they are there once a manifest was written. Equal ones write nothing."""
        return tuple(self._write("shards", [content]) for content in shards_of(lines, self._temporary))

    def write_mailbox(self, manifest: MailboxManifest) -> str:
        with durable.disk_errors("write", self._temporary):
            self._together.settle()
        return self._write("mailboxes", [encode_mailbox(manifest)])

    def store_file(
        self, path: str, data: bytes | Iterable[bytes], *, mode: int = 0o600, uid: int = 0, gid: int = 0, mtime: int = 0
    ) -> FileRef:
        """Keeps a file's content once; `path` is what it is called where it came from (relative, surrogateescape)."""
        size = 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for piece in (data,) if isinstance(data, bytes) else data:
                size += len(piece)
                yield piece

        if isinstance(data, bytes):  # what is there is not written at all, not even to see that it is
            stored = path_of("files", hashlib.sha256(data).hexdigest())
            if (target := self.folder / stored).is_file() and target.stat().st_size == len(data):
                self._unsynced.add(target.parent)
                self._fresh.add(stored)
                return FileRef(path, target.name, len(data), mode, uid, gid, mtime)
        digest = self._write("files", counted())
        return FileRef(path, digest, size, mode, uid, gid, mtime)

    def rewrite_segments(self, mailbox: str, segments: Iterable[str], wanted: Callable[[str], bool]) -> tuple[Sealed, ...]:
        """Copies the wanted messages of these segments into new ones, for merging small ones and for leaving erased mail behind.

        The old ones stay until `collect` finds that no kept generation names them. Every message is compared with its digest.
        """
        with self.segment_writer(mailbox) as writer:
            for segment in segments:
                path = path_of("segments", segment)
                try:
                    with (self.folder / path).open("rb") as file:
                        for line in self.index(segment):
                            if wanted(line.id) and writer.add(read_range(file, line.offset, line.size)).id != line.id:
                                text = f"{self.folder / path}: message {line.id} does not match its digest"
                                raise ArchiveError(text, transient=False, damaged=path)
                except OSError as error:  # of reading: what a writer meets is an ArchiveError already
                    is_damage = error.errno == errno.EIO
                    text = f"cannot read {self.folder / path}: {error.strerror}"
                    raise ArchiveError(text, transient=not is_damage, damaged=path if is_damage else "") from error
        return tuple(writer.sealed)

    def go_on_after(self, number: int) -> None:
        """Lets a staging folder count on from a generation that a repository holds, so that no number means two states."""
        self._after = max(self._after, number)

    def commit(self, draft: GenerationDraft) -> Generation:
        """Writes the next generation, last of all. Refuses one that names what is not here, down to each message.

        Raises ArchiveError; then the newest generation is still the one before.
        """
        newest = self.newest()
        files, controller = (self._write_list(listed) for listed in (draft.files, draft.controller))
        generation = Generation(
            number=max(newest.number if newest else 0, self._after) + 1,
            server=self.server,
            at=draft.at,
            result=draft.result,
            messages=draft.messages,
            mailboxes=dict(draft.mailboxes),
            files=files,
            controller=controller,
            missing=draft.missing,
            notes=dict(draft.notes),
        )
        prove(self.archive, generation, newest)
        with durable.disk_errors("write", self.folder):
            durable.sync_all(self._unsynced)
        self._unsynced.clear()
        durable.replace_file(self._temporary, self.folder / generation_path(generation.number), [encode_generation(generation)])
        self._fresh.clear()
        return generation

    def collect(self, keep: Collection[int], spare: Collection[str] = ()) -> int:
        """Deletes what neither the newest generation nor one of `keep` names, and the other generations; gives the bytes freed.

        Spared: the paths of `spare`, what was written since the last commit, segments sealed after the newest generation (a killed pull's work), and everything
        while someone else has the folder open. A kept generation that cannot be read stops it: ArchiveError, nothing deleted.
        """
        numbers = self.numbers()
        if not numbers or not self._only_user():
            return 0
        try:
            kept = {number for number in numbers if number in keep} | {numbers[-1]}
            named = {path for number in kept for path in self._named_by(self.generation(number))} | self._fresh
            named.update(spare)
            with durable.disk_errors("clear", self.folder):
                return self._delete(
                    [n for n in numbers if n not in kept], named, (self.folder / generation_path(numbers[-1])).stat()
                )
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def restic_excludes(self, number: int) -> tuple[str, ...]:
        """Patterns (in this order) with which a snapshot of the folder holds this generation's file and no other."""
        any_generation = f"{GENERATIONS}/{'[0-9]' * 8}.json"  # exact: a folder above staging may be called generations too
        return (any_generation, f"!{generation_path(number)}", TEMPORARY, LOCK, ERASING)

    # Inside

    def _write(self, kind: str, pieces: Iterable[bytes]) -> str:
        """Stores content under its digest. What is there in the same size is left alone: nothing changes in place."""
        digest, size = hashlib.sha256(), 0
        with durable.disk_errors("write", self._temporary):
            file = durable.open_temporary(self._temporary)
        try:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                with durable.disk_errors("write", self._temporary):
                    file.write(piece)
            path = path_of(kind, digest.hexdigest())
            self._put(file, self.folder / path, size, together=kind == "shards")
        except BaseException:
            durable.discard(file)
            raise
        self._fresh.add(path)
        return digest.hexdigest()

    def _put(self, file: durable.File, target: Path, size: int, *, together: bool) -> None:
        with durable.disk_errors("write", target):
            self._unsynced.add(target.parent)  # a killed run may have left the file without syncing its folder
            if target.is_file() and target.stat().st_size == size:
                durable.discard(file)
            else:
                (self._together.add if together else durable.put_in_place)(file, target)

    def _write_list(self, files: Iterable[FileRef]) -> str | None:
        listed = list(files)
        return self._write("lists", encode_files(listed)) if listed else None

    def _named_by(self, generation: Generation) -> Iterator[str]:
        yield generation_path(generation.number)
        yield from self.archive.manifest_files(generation)
        yield from self.archive.metadata_files(generation)
        yield from self.archive.data_files(generation)

    def _delete(self, numbers: Collection[int], named: set[str], newest: os.stat_result) -> int:
        """Generations first, so that none ever names what is gone."""
        freed = 0
        for number in numbers:
            path = self.folder / generation_path(number)
            freed += path.stat().st_size
            path.unlink()
        doomed: dict[Path, int] = {}
        for kind in KINDS:
            for path in self.present(kind):
                status = path.stat()
                recent = kind == "segments" and status.st_mtime_ns >= newest.st_mtime_ns
                if path.relative_to(self.folder).as_posix() not in named and not recent:
                    doomed[path] = status.st_size
        if numbers or doomed:
            durable.sync_folder(self.folder / GENERATIONS)
        for path in doomed:
            path.unlink()
        return freed + sum(doomed.values())

    def present(self, kind: str) -> Iterator[Path]:
        """Files of one kind that are here, sorted."""
        with contextlib.suppress(FileNotFoundError):
            for place in sorted((self.folder / kind).iterdir()):
                yield from sorted(place.iterdir()) if place.is_dir() else (place,)

    def _only_user(self) -> bool:
        """Takes the lock for ourselves alone, if nobody else has the folder open; else it is shared as before."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (
            BlockingIOError
        ):  # flock(2): what was held is given up before another kind is asked for, also where that is refused
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            return False
        return True

    def _recover(self, *, sets_aside: bool) -> None:
        if self._only_user():
            for path in self._temporary.iterdir():
                path.unlink()
            for path in self.present("segments"):
                if path.suffix == ".idx" and not path.with_suffix(".tar").exists():
                    path.unlink()
                elif path.suffix == ".tar" and not path.with_suffix(".idx").exists():
                    write_index(self.folder, self._temporary, path.stem)
            if sets_aside:
                set_aside_damaged(self.folder)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        self.go_on_after(newest_aside(self.folder))

    def _check_owner(self) -> None:
        newest = self.newest()
        if newest is not None and newest.server != self.server:
            raise ArchiveError(
                f"{self.folder} is the staging folder of {newest.server}, not of {self.server}",
                mend="give each mail server a staging folder of its own",
                transient=False,
            )

    def _write_helpers(self) -> None:
        """README.txt and rebuild.py, the only files that a newer failsafe replaces."""
        for name, content in ((README, readme.readme(self.server)), (REBUILD, readme.rebuild())):
            target = self.folder / name
            if not target.is_file() or target.read_bytes() != content:
                durable.replace_file(self._temporary, target, [content])
