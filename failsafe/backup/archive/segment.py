"""Segments: sealed tar files of messages, each entry named by its SHA-256, and the index file beside each."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple

from failsafe.backup.archive import durable
from failsafe.backup.archive.layout import SEGMENT_LIMIT, index_path, path_of
from failsafe.errors import ArchiveError
from failsafe.mail.identity import Digester, digests
from failsafe.mail.manifest import is_digest

BLOCK = tarfile.BLOCKSIZE  # 512 bytes: tar's headers, padding and end marks
END = bytes(2 * BLOCK)  # two empty blocks end a tar file (POSIX ustar)
ELSEWHERE = -1
COPY = 1 << 20  # bytes moved at a time
HELD = 1 << 18  # bytes of whole messages that are digested and written in one go
DIGESTED = 1 << 16  # bytes: most messages are one read, and no memory is asked of the system for it
INDEX_HEAD = b"failsafe index 1\n"
_INDEX_NAME = re.compile(rb"[0-9a-f]{64}\0")


class Stored(NamedTuple):
    """A message taken by a writer. `known`: its bytes were in the archive already and were not kept twice."""

    id: str
    canonical: str
    size: int
    known: bool


class IndexLine(NamedTuple):
    id: str
    canonical: str
    offset: int  # of the first byte of the message in the tar file
    size: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """A segment that is durable under its final name."""

    name: str
    size: int  # bytes of the tar file
    lines: tuple[IndexLine, ...]


def tar_header(id_: str, size: int) -> bytes:
    """Depends on nothing but the message, so equal messages make equal segments."""
    digits = b"%011o" % size
    if len(digits) > 11:
        return _tar_header(id_, size)
    name = id_.encode("ascii")  # what tarfile makes, in a tenth of the time: only name, size and checksum differ
    checksum = b"%06o\0 " % (_PLAIN_SUM + sum(name) + sum(digits))
    return b"".join((name, _PLAIN[64:124], digits, _PLAIN[135:148], checksum, _PLAIN[156:]))


def _tar_header(id_: str, size: int) -> bytes:
    info = tarfile.TarInfo(id_)
    info.size, info.mode, info.mtime = size, 0o600, 0
    return info.tobuf(tarfile.GNU_FORMAT)  # GNU: has a way to say sizes beyond 8 GiB


_PLAIN = _tar_header("0" * 64, 0)
_PLAIN_SUM = 256 + sum(_PLAIN[64:124]) + sum(_PLAIN[135:148]) + sum(_PLAIN[156:])  # a checksum counts its own field as 8 blanks


def encode_index(lines: Iterable[IndexLine]) -> bytes:
    body = INDEX_HEAD + b"".join(f"{line.id} {line.canonical} {line.offset} {line.size}\n".encode("ascii") for line in lines)
    return body + f"end {hashlib.sha256(body).hexdigest()}\n".encode("ascii")


def decode_index(data: bytes) -> tuple[IndexLine, ...]:
    """Raises ArchiveError where the last line is not the digest of those before."""
    rows = (line.split(" ") for line in _check_index(data).decode("ascii").splitlines()[1:])
    return tuple(IndexLine(id_, canonical, int(offset), int(size)) for id_, canonical, offset, size in rows)


def decode_index_ids(data: bytes) -> frozenset[str]:
    """The ids alone, at a fraction of the cost of the lines. Raises ArchiveError as `decode_index` does."""
    return frozenset(line[:64] for line in _check_index(data).decode("ascii").splitlines()[1:])


def _check_index(data: bytes) -> bytes:
    """The part that its last line, a digest, vouches for."""
    body, end = data[:-69], data[-69:]  # "end ", 64 digits, newline
    if not body.startswith(INDEX_HEAD) or end != f"end {hashlib.sha256(body).hexdigest()}\n".encode("ascii"):
        raise ArchiveError("an index file does not match its own digest", transient=False)
    return body


def scan_segment(path: Path) -> Iterator[tuple[str, int, int]]:
    """(id, offset, size) of each message as the tar file itself says. Raises ArchiveError where it is no such file."""
    try:
        with tarfile.open(path, "r:") as tar:
            end = 0
            for info in tar:
                tar.members = []  # type: ignore[attr-defined]  # else it keeps every header
                if not info.isreg() or not is_digest(info.name):
                    raise ArchiveError(f"{path}: {info.name!r} is not a message", transient=False)
                yield info.name, info.offset_data, info.size
                end = info.offset_data + info.size + (-info.size % BLOCK)
            if end + len(END) != path.stat().st_size:  # tarfile takes a damaged header for the end
                raise ArchiveError(f"{path}: no message is readable after byte {end}", transient=False)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise ArchiveError(f"{path} is not a readable tar file: {error}", transient=False) from error


def salvage_segment(path: Path) -> Iterator[tuple[str, int, int]]:
    """As `scan_segment`, of a file with holes: after one, the search goes on for the next header. What is given must be compared with its digest."""
    try:
        end, place = path.stat().st_size, 0
        with path.open("rb") as file:
            while place + BLOCK <= end:
                file.seek(place)
                found = _message_in(file.read(BLOCK))
                place += BLOCK
                if found is not None and place + found[1] <= end:
                    yield found[0], place, found[1]
                    place += found[1] + (-found[1] % BLOCK)
    except OSError as error:
        raise ArchiveError(f"cannot read {path}: {error.strerror}") from error


def _message_in(header: bytes) -> tuple[str, int] | None:
    """(id, size) where this is the header of a message."""
    if not _INDEX_NAME.match(header):
        return None
    try:
        info = tarfile.TarInfo.frombuf(header, "ascii", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return (info.name, info.size) if info.isreg() and is_digest(info.name) else None


def digest_of(path: Path | str) -> str:
    """SHA-256 of a file's content; empty where it cannot be read."""
    digest = hashlib.sha256()
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while piece := os.read(handle, DIGESTED):
                digest.update(piece)
        finally:
            os.close(handle)
    except OSError:
        return ""
    return digest.hexdigest()


def write_index(folder: Path, temporary: Path, segment: str) -> tuple[IndexLine, ...]:
    """Makes the index of a segment anew from its messages. Raises ArchiveError where any byte of the segment is wrong."""
    tar = folder / path_of("segments", segment)
    lines = []
    if digest_of(tar) != segment:
        mend, path = "take it from a snapshot, or remove it", path_of("segments", segment)
        raise ArchiveError(f"{tar} does not match its digest", mend=mend, transient=False, damaged=path)
    with durable.disk_errors("read", tar), tar.open("rb") as file:
        for id_, offset, size in scan_segment(tar):
            digester = Digester()
            for piece in read_range(file, offset, size):
                digester.update(piece)
            if digester.id != id_ or digester.size != size:
                raise ArchiveError(f"{tar}: message {id_} does not match its digest", transient=False)
            lines.append(IndexLine(id_, digester.canonical, offset, size))
    durable.replace_file(temporary, folder / index_path(segment), [encode_index(lines)])
    return tuple(lines)


def read_range(file: IO[bytes], offset: int, size: int) -> Iterator[bytes]:
    file.seek(offset)
    while size > 0 and (piece := file.read(min(size, COPY))):
        size -= len(piece)
        yield piece


class SegmentWriter:
    """Takes messages one after the other into a tar file and seals it at `limit` bytes. Holds one piece, or HELD bytes of small ones, in memory.

    `known(id)` is asked after a message has been read: True drops the bytes. `on_sealed` is told of each segment as soon as it
    is durable; with `keep_lines` False memory does not grow with the number of messages. A fault in the middle of a message given in pieces takes that
    message back and leaves those before it in place.
    """

    def __init__(
        self,
        folder: Path,
        temporary: Path,
        *,
        known: Callable[[str], bool] | None = None,
        on_sealed: Callable[[Sealed], None] | None = None,
        limit: int = SEGMENT_LIMIT,
        keep_lines: bool = True,
    ) -> None:
        self._keep_lines = keep_lines
        self._folder, self._temporary, self._limit = folder, temporary, limit
        self._known, self._on_sealed = known, on_sealed
        self._begin()
        self.sealed: list[Sealed] = []  # all of them; `lines` is empty where `keep_lines` is False

    def _begin(self) -> None:
        self._file: IO[bytes] | None = None
        self._lines: dict[str, IndexLine] = {}
        self._end = 0  # where the next header goes
        self._held: list[bytes] = []  # of the tar file, up to `_end`: what is not written yet
        self._written = 0  # bytes of the tar file before it
        self._whole = hashlib.sha256()  # of those
        self._place = 0  # where the file stands
        self._is_doubted = False  # the disk refused something of it once

    def __enter__(self) -> SegmentWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()  # after a fault too: whole messages are worth keeping

    def add(self, chunks: Iterable[bytes]) -> Stored:
        """Reads one message to its end. Raises ArchiveError where the disk fails, and whatever `chunks` raises."""
        digester = Digester()
        try:
            for chunk in chunks:
                digester.update(chunk)
                self._write(digester.size - len(chunk), chunk)
        except BaseException:
            self._take_back()
            raise
        known = digester.id in self._lines or (self._known is not None and self._known(digester.id))
        if known:
            self._take_back()
        else:
            self._finish(digester)
        return Stored(digester.id, digester.canonical, digester.size, known)

    def add_whole(self, data: bytes, named: tuple[str, str] | None = None) -> Stored:
        """As `add`, for a message that is in memory: it is written in one go. `named`: its digests, where they are reckoned already."""
        id_, canonical = named or digests(data)
        known = id_ in self._lines or (self._known is not None and self._known(id_))
        if not known:
            if self._lines and self._needs(len(data)) > self._limit:
                with self._on_disk():
                    self._seal()
            self._held += (tar_header(id_, len(data)), data, bytes(-len(data) % BLOCK))
            self._note(id_, canonical, len(data))
            if self._end - self._written >= HELD:
                self._write_held()
        return Stored(id_, canonical, len(data), known)

    def _write_held(self) -> None:
        """What cannot be written stays held: the next try, at the latest the seal's, begins anew."""
        if not self._held:
            return
        with self._on_disk():
            file, block = self._opened(), b"".join(self._held)
            if self._place != self._written:  # a seek is a write of its own
                file.seek(self._written)
            self._place = ELSEWHERE
            file.write(block)
        self._whole.update(block)
        self._held.clear()
        self._written = self._place = self._end

    @staticmethod
    def _put_in_place(file: IO[bytes], target: Path) -> None:
        """Once only: after an fsync that failed, the next one may succeed although pages are lost (fsync(2), errors are told once)."""
        try:
            durable.put_in_place(file, target)
            durable.sync_folder(target.parent)
        except BaseException:
            durable.discard(file)
            raise

    def close(self) -> None:
        """Seals what is left. Safe to call twice."""
        if self._lines:
            self._seal()
        elif self._file is not None:
            self._discard()

    def _discard(self) -> None:
        if self._file is not None:
            durable.discard(self._file)
        self._begin()

    @contextlib.contextmanager
    def _on_disk(self) -> Iterator[None]:
        """What a disk refused once is not believed afterwards: the segment is read back before it gets its name."""
        try:
            with durable.disk_errors("write", self._temporary):
                yield
        except ArchiveError:
            self._is_doubted = True
            raise

    def _write(self, done: int, chunk: bytes) -> None:
        self._write_held()
        with self._on_disk():
            if self._lines and self._needs(done + len(chunk)) > self._limit:
                self._roll(done)
            file, self._place = self._opened(), ELSEWHERE
            file.seek(self._end + BLOCK + done)
            file.write(chunk)

    def _needs(self, size: int) -> int:
        """Bytes of the tar file if a message of `size` bytes were its last."""
        return self._end + BLOCK + size + (-size % BLOCK) + len(END)

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self._file = durable.open_temporary(self._temporary)
        return self._file

    def _roll(self, done: int) -> None:
        """The message being read goes to a segment of its own: seal those before it, carry its first `done` bytes over."""
        assert self._file is not None
        fresh = durable.open_temporary(self._temporary)
        try:
            fresh.seek(BLOCK)
            fresh.writelines(read_range(self._file, self._end + BLOCK, done))
            self._seal()
        except BaseException:
            durable.discard(fresh)
            raise
        self._file = fresh

    def _take_back(self) -> None:
        self._place = ELSEWHERE
        if self._file is not None:
            with self._on_disk():
                self._file.truncate(self._end)

    def _finish(self, digester: Digester) -> None:
        self._write_held()  # where the message was empty, nothing was written before
        with self._on_disk():
            if self._lines and self._needs(digester.size) > self._limit:
                self._roll(digester.size)  # only the padding is too much, or the message is empty
            file, self._place = self._opened(), ELSEWHERE
            file.seek(self._end)
            file.write(tar_header(digester.id, digester.size))
            file.seek(digester.size, 1)
            file.write(bytes(-digester.size % BLOCK))
            whole = self._whole.copy()
            for piece in read_range(file, self._end, BLOCK + digester.size + (-digester.size % BLOCK)):
                whole.update(piece)
        self._whole = whole
        self._note(digester.id, digester.canonical, digester.size)
        self._written = self._end

    def _note(self, id_: str, canonical: str, size: int) -> None:
        offset = self._end + BLOCK
        self._lines[id_] = IndexLine(id_, canonical, offset, size)
        self._end = offset + size + (-size % BLOCK)

    def _seal(self) -> None:
        """The index first, the tar file last: a segment exists when its tar file does."""
        self._write_held()
        assert self._file is not None
        file, lines = self._file, tuple(self._lines.values())
        with self._on_disk(), durable.disk_errors("write", self._folder):
            file.truncate(self._end)
            file.seek(self._end)
            file.write(END)
            file.flush()
            if os.fstat(file.fileno()).st_size != self._end + len(END):
                raise ArchiveError(
                    f"{file.name} has another size than what was written", mend="look at the disk that holds state_dir"
                )
            whole = self._whole.copy()  # after a fault it is sealed anew
            whole.update(END)
            name = whole.hexdigest()
            if self._is_doubted and digest_of(file.name) != name:
                self._discard()
                raise ArchiveError(
                    f"{self._folder}: what the disk took is not what was written", mend="look at the disk that holds state_dir"
                )
            durable.replace_file(self._temporary, self._folder / index_path(name), [encode_index(lines)])
            size = self._end + len(END)
            self._begin()
            self._put_in_place(file, self._folder / path_of("segments", name))
        sealed = Sealed(name, size, lines)
        self.sealed.append(sealed if self._keep_lines else replace(sealed, lines=()))
        if self._on_sealed is not None:
            self._on_sealed(sealed)
