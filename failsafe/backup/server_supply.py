"""Where the bytes of a whole-server restore come from: sent by this machine, or brought by restic onto the server itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from failsafe.backup.archive import Location
from failsafe.backup.archive.layout import index_path, path_of
from failsafe.backup.recall import Source
from failsafe.backup.server_plan import Letter
from failsafe.backup.write_session import Settled, WriteSession
from failsafe.errors import ArchiveError, ResticError
from failsafe.mail.manifest import FileRef, MailboxManifest
from failsafe.ports import Narrator

BATCH_BYTES = 16 << 20  # sent before it is asked whether all of it is on the disk there
BATCH_FILES = 500
FETCHED = 32  # segments that lie on the server at a time: 512 MB, but for single messages that are larger
FILES_FETCHED = 256 << 20  # bytes of the server's own files that restic brings at a time
FETCH_SECONDS = 6 * 3600.0  # for one run of restic there; it says nothing meanwhile, and the program there gives signs of life

Row = dict[str, object]  # a request to serverwrite, but for where the bytes are


@dataclass(frozen=True, slots=True)
class Place:
    """One message and where it goes."""

    letter: Letter
    row: Row


class Supply(Protocol):
    """Puts what is asked for onto the server. What cannot be had is silently not put: the caller looks what is there."""

    def messages(self, manifest: MailboxManifest, places: Sequence[Place], told: Callable[[Settled], None]) -> None:
        """`told` hears each time that what was sent is on the disk. Raises what the session and the source raise."""
        ...

    def files(self, wanted: Sequence[tuple[FileRef, Row]], told: Callable[[Settled], None]) -> None: ...


class Batch:
    """Counts what was sent, and settles before it becomes much."""

    def __init__(self, session: WriteSession, told: Callable[[Settled], None]) -> None:
        self._session, self._told = session, told
        self._bytes = self._files = 0

    def sent(self, size: int) -> None:
        self._bytes, self._files = self._bytes + size, self._files + 1
        if self._bytes >= BATCH_BYTES or self._files >= BATCH_FILES:
            self.settle()

    def settle(self) -> None:
        if self._files:
            self._told(self._session.settle())
        self._bytes = self._files = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """From sources that this machine can read, the nearest first; what one has not whole is asked of the next that knows the state."""

    session: WriteSession
    sources: Sequence[Source]
    server: str
    number: int  # of the generation
    narrate: Narrator

    def messages(self, manifest: MailboxManifest, places: Sequence[Place], told: Callable[[Settled], None]) -> None:
        left = _by_id(places)
        batch = Batch(self.session, told)
        for source in self.sources:
            if not left:
                break
            try:
                with closing(source.read(self.server, self.number, manifest.mailbox, list(left), self.narrate)) as messages:
                    for id_, body in messages:
                        for place in left.pop(id_):
                            self.session.put(place.row, body.pieces())
                            batch.sent(body.size)
            except (ResticError, ArchiveError) as error:
                self.narrate(f"{source.name}: {error}")
        batch.settle()

    def files(self, wanted: Sequence[tuple[FileRef, Row]], told: Callable[[Settled], None]) -> None:
        batch = Batch(self.session, told)
        left = list(wanted)
        for source in self.sources:
            for portion in _portions(left):
                gone = self._send_files(source, portion, batch)
                left = [pair for pair in left if id(pair[1]) not in gone]
        batch.settle()

    def _send_files(self, source: Source, portion: Sequence[tuple[FileRef, Row]], batch: Batch) -> set[int]:
        sent: set[int] = set()
        try:
            archive = source.with_files(self.server, self.number, [path_of("files", file.digest) for file, _ in portion])
        except (ResticError, ArchiveError) as error:
            self.narrate(f"{source.name}: {error}")
            return sent
        for file, row in portion:
            try:
                data = archive.read_file(file)
            except ArchiveError as error:
                self.narrate(f"{source.name}: {error}")
                continue
            self.session.put(row, [data])
            sent.add(id(row))
            batch.sent(file.size)
        return sent


@dataclass(frozen=True, slots=True)
class Fetched:
    """restic, run on the server with a credential that only this conversation knows: mail does not pass this machine's line."""

    session: WriteSession
    source: Source  # the same repository, for names and places alone
    server: str
    number: int
    words: Callable[[Sequence[str]], Iterator[Sequence[str]]]  # restic's command lines that bring these files into our folder
    environment: Callable[[], Mapping[str, str]]
    hide: Callable[[str], str]  # a text without the credential
    narrate: Narrator

    def messages(self, manifest: MailboxManifest, places: Sequence[Place], told: Callable[[Settled], None]) -> None:
        by_id = _by_id(places)
        archive = self.source.with_files(self.server, self.number, [index_path(name) for name in manifest.segments])
        by_segment: dict[str, list[Location]] = {}
        for location in archive.locate(manifest.segments, by_id).values():
            by_segment.setdefault(location.segment, []).append(location)
        ordered = [name for name in manifest.segments if name in by_segment]
        batch = Batch(self.session, told)
        for start in range(0, len(ordered), FETCHED):
            names = ordered[start : start + FETCHED]
            paths = [path_of("segments", name) for name in names]
            self._fetch(paths)
            for name, path in zip(names, paths, strict=True):
                for location in sorted(by_segment[name], key=lambda location: location.offset):
                    for place in by_id[location.id]:
                        self.session.put({**place.row, "from": path, "offset": location.offset}, None)
                        batch.sent(location.size)
            batch.settle()
            self.session.remove(paths)

    def files(self, wanted: Sequence[tuple[FileRef, Row]], told: Callable[[Settled], None]) -> None:
        batch = Batch(self.session, told)
        for portion in _portions(wanted):
            paths = {file.digest: path_of("files", file.digest) for file, _ in portion}
            self._fetch(list(paths.values()))
            for file, row in portion:
                self.session.put({**row, "from": paths[file.digest], "offset": 0}, None)
                batch.sent(file.size)
            batch.settle()
            self.session.remove(list(paths.values()))

    def _fetch(self, paths: Sequence[str]) -> None:
        """Raises ResticError. What did not arrive whole is noticed by its digest."""
        for words in self.words(paths):
            ended = self.session.run(words, environment=self.environment(), seconds=FETCH_SECONDS)
            if not ended.is_good:
                said = self.hide(ended.said.strip())[-1000:]
                raise ResticError(
                    f"restic on the server ended with status {ended.status}\n{said}",
                    mend="check the address (--pull-url) and the credential as seen from there; running this again goes on",
                )


def _by_id(places: Sequence[Place]) -> dict[str, list[Place]]:
    found: dict[str, list[Place]] = {}
    for place in places:
        found.setdefault(place.letter.id, []).append(place)
    return found


def _portions(wanted: Sequence[tuple[FileRef, Row]]) -> Iterator[list[tuple[FileRef, Row]]]:
    portion: list[tuple[FileRef, Row]] = []
    size = 0
    for file, row in wanted:
        if portion and (size + file.size > FILES_FETCHED or len(portion) >= BATCH_FILES):
            yield portion
            portion, size = [], 0
        portion.append((file, row))
        size += file.size
    if portion:
        yield portion
