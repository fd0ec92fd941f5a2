"""Speaks with the program on the mail server (serverside) over a channel: requests out, answers in, everything bounded."""

from __future__ import annotations

import io
import json
import struct
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, NamedTuple, Self

from failsafe.backup.doctor_access import how_to_install
from failsafe.backup.frames import CHATTER, Frames
from failsafe.backup.questions import Questions, parse_object
from failsafe.backup.reach import Reach, Skipped
from failsafe.backup.serverside import packed_program
from failsafe.errors import ServerSideError
from failsafe.mail.replies import printable
from failsafe.ports import Channel, MailHost

VERSION = 3  # of the protocol; serverside.VERSION is the other end
BOOTSTRAP = "import sys,zlib;s=sys.stdin.buffer;exec(compile(zlib.decompress(s.read(int(s.readline()))),'failsafe','exec'),{'__name__':'__main__','SENT':True})"
COMMAND = ("python3", "-I", "-c", BOOTSTRAP)
WHOLE = struct.Struct(">QqQH")  # as in serverside/ground.py; the name and the content of a small file follow
ENTRY = struct.Struct(">BQqQH")  # as in serverside/ground.py
SPOOL = 1 << 20  # bytes of a message that stay in memory; a larger one waits in a temporary file
BATCH = 500  # folders asked for in one request; far below the 1 MiB a request may have
FILES = 250  # asked for in one request
AHEAD = 32 << 10  # bytes of a request that is sent ahead: a pipe takes 64 KiB while nobody reads, SSH's first window is larger


class Facts(NamedTuple):
    """What names a file's state: bytes, mtime in ns since the epoch, inode."""

    size: int
    mtime_ns: int
    inode: int


# One file of a folder, as one pass saw it: cur or new, name, size in bytes, mtime in ns since the epoch, inode.
Listed = tuple[str, bytes, int, int, int]


@dataclass(frozen=True, slots=True)
class FolderPass:
    """The end of one pass over a folder."""

    before: tuple[int, int]  # mtimes of cur and new in ns before the pass; -1 where there is none
    after: tuple[int, int]
    now: int  # the server's clock in ns, after the pass
    problems: tuple[tuple[str, str], ...] = ()  # (name, why)
    error: str = ""
    gone: bool = False  # the folder is not there (any more)


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """A folder as the survey sees it: its path below the mailbox's own folder, and stamps that change when it does."""

    directory: str
    stamps: tuple[int, int]
    uidlist: str | None
    keywords: str | None


@dataclass(frozen=True, slots=True)
class FileFacts:
    path: str
    facts: Facts
    mode: int  # st_mode, type included
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class MailboxFacts:
    """A mailbox as the survey sees it. `path` is DOMAIN/USER below the root; `base` "" or "Maildir"."""

    path: str
    base: str = ""
    layout: str = "maildir++"
    folders: tuple[FolderFacts, ...] = ()
    files: tuple[FileFacts, ...] = ()
    problems: tuple[tuple[str, str], ...] = ()
    skipped: tuple[str, ...] = ()  # control files that are no regular files
    error: str = ""

    @property
    def mailbox(self) -> str:
        domain, _, user = self.path.partition("/")
        return f"{user}@{domain}" if user else domain

    def place(self, directory: str) -> str:
        """A folder's path below DOMAIN/USER."""
        return "/".join(part for part in (self.base, directory) if part)


class Answer(NamedTuple):
    """What became of one file that was asked for. `status`: ok, changed (while it was read), gone, failed (`why`)."""

    status: str
    why: str = ""
    facts: Facts | None = None
    name: str = ""  # SUB/NAME it had when it was opened
    id: str = ""  # where a digest was asked for
    body: IO[bytes] | None = None  # rewound; closed when the next answer is asked for


def opening() -> bytes:
    """What a session sends first: the program, which the server's side takes where none is installed there."""
    program = packed_program()
    return b"%d\n" % len(program) + program


class ServerSession(Questions):
    """One conversation with the server's side. Raises ServerSideError, and what the channel raises."""

    def __init__(self, host: MailHost, reach: Reach) -> None:
        self.host = host
        self._asked = 0  # requests whose answers have not been read to their ends
        self._channel: Channel = host.open(COMMAND)
        self._frames = Frames(self._channel, host.name)
        try:
            self._channel.send(opening())
            self.hello = self._hello()
            if self.hello["mode"] == "sent":
                self._frames.request(json.dumps(reach.settings()))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    @property
    def received(self) -> int:
        """Bytes that came over the channel."""
        return self._frames.received

    def survey(self) -> Iterator[MailboxFacts]:
        """Every mailbox with the stamps of its folders and control files; no message is listed."""
        for kind, row in self._ask("list", "mailboxes"):
            if kind == b"J":
                yield _mailbox(parse_object(row))

    def list_folders(self, targets: Sequence[tuple[str, str]]) -> Iterator[tuple[int, list[Listed] | FolderPass]]:
        """One pass over each (DOMAIN/USER, folder below it): its files in pieces, then its FolderPass; by index into `targets`."""
        for start in range(0, len(targets), BATCH):
            index = start
            for kind, data in self._ask(
                "list", "folders", *(part for target in targets[start : start + BATCH] for part in target)
            ):
                if kind == b"D":
                    yield index, list(_entries(data))
                elif kind == b"J":
                    yield index, _pass(parse_object(data))
                    index += 1

    def read_messages(self, mailbox: str, folder: str, items: Sequence[str]) -> Iterator[Answer]:
        """The messages SUB/NAME of a folder, in order, also where they were renamed since; their bodies are whole or not given."""
        return self._files("read", "messages", (mailbox, folder), items)

    def digest_messages(self, mailbox: str, folder: str, items: Sequence[str]) -> Iterator[Answer]:
        """Their SHA-256 alone, reckoned by the server."""
        return self._files("digest", "messages", (mailbox, folder), items)

    def find_messages(self, mailbox: str, folder: str, items: Sequence[str]) -> Iterator[Answer]:
        """Only whether each is there, under which name, and its facts."""
        return self._files("find", "messages", (mailbox, folder), items)

    def read_control(self, mailbox: str, paths: Sequence[str]) -> Iterator[Answer]:
        """Files below a mailbox's folder."""
        return self._files("read", "control", (mailbox,), paths)

    def inspect(self) -> list[dict[str, Any]]:
        """Containers and paths that the reach wants looked at."""
        return [parse_object(data) for kind, data in list(self._ask("inspect")) if kind == b"J"]

    def widen(self, reach: Reach) -> None:
        """Where the program was sent along: from now on this is what it may see."""
        list(self._ask("reach", json.dumps(reach.settings())))

    def permitted(self) -> dict[str, Any]:
        """What the program installed there may see: root, naming, files, names of commands."""
        return next(parse_object(data) for kind, data in list(self._ask("reach", "")) if kind == b"E")

    def list_files(self, number: int) -> Iterator[FileFacts | Skipped | tuple[str, str]]:
        """Files below extra path `number`, what is left out on purpose, and (path, why) of what cannot be taken."""
        for kind, data in self._ask("list", "files", str(number)):
            if kind == b"J":
                row = parse_object(data)
                if "file" in row:
                    yield _file(row["file"])
                elif "skipped" in row:
                    yield Skipped(str(row["skipped"]), str(row.get("link", "")))
                else:
                    yield str(row["problem"][0]), str(row["problem"][1])

    def read_files(self, number: int, paths: Sequence[str]) -> Iterator[Answer]:
        return self._files("read", "files", (str(number),), paths)

    def run(self, name: str, sink: IO[bytes], limit: int) -> str:
        """Runs a named command, its output into `sink`; gives "" or the reason why it cannot be trusted."""
        size = 0
        end: dict[str, Any] = {}
        for kind, data in self._ask("run", name):
            if kind == b"D":
                size += len(data)
                if size <= limit:
                    sink.write(data)
            elif kind == b"E":
                end = parse_object(data)
        return _verdict(end, size, limit)

    # ------------------------------------------------------------ frames

    def _files(self, verb: str, what: str, place: Sequence[str], items: Sequence[str]) -> Iterator[Answer]:
        """One request is sent ahead, so that the server reads files while we still work on those before."""
        portions = [items[start : start + FILES] for start in range(0, len(items), FILES)]
        sent = 0
        for number in range(len(portions)):
            while sent <= number or (sent == number + 1 < len(portions) and _is_light(portions[sent])):
                self._send(verb, what, *place, *portions[sent])
                sent += 1
            yield from self._answers(self._replies())

    def _answers(self, frames: Iterable[tuple[bytes, bytes]]) -> Iterator[Answer]:
        head: dict[str, Any] = {}
        with_body = _Body()
        for kind, data in frames:
            if kind == b"W":
                yield _whole(data)
            elif kind == b"D":
                with_body.write(data)
            elif kind == b"J":
                row = parse_object(data)
                head.update(row)
                if "status" in row:
                    with with_body.rewound() as body:
                        yield _answer(head, body)
                    head, with_body = {}, _Body()

    def _ask(self, *fields: str) -> Iterator[tuple[bytes, bytes]]:
        """Sends one request and yields its frames to the last, which is of kind E."""
        assert not self._asked, "an answer was left half read: the session can only be closed"
        self._send(*fields)
        yield from self._replies()

    def _send(self, *fields: str) -> None:
        self._frames.request(*fields)
        self._asked += 1

    def _replies(self) -> Iterator[tuple[bytes, bytes]]:
        """The frames that answer the oldest request. Where it was refused, those sent after it are read to their ends first."""
        kind = b""
        while kind != b"E":
            kind, data = self._frames.next()
            self._asked -= kind in (b"X", b"E")
            if kind == b"X":
                while self._asked:
                    self._asked -= self._frames.next()[0] in (b"X", b"E")
                said = parse_object(data)
                number = said.get("errno") if isinstance(said.get("errno"), int) else None
                raise ServerSideError(f"{self.host.name}: {said.get('error', 'no reason given')}", number=number)
            yield kind, data

    def _hello(self) -> dict[str, Any]:
        kind, data = self._frames.next()
        hello = parse_object(data) if kind == b"J" else {}
        if hello.get("hello") != "failsafe":
            raise ServerSideError(f"{self.host.name}: something else than our program answered", mend=CHATTER)
        if hello.get("version") != VERSION:
            raise ServerSideError(
                f"{self.host.name}: the program installed there speaks version {hello.get('version')}, this failsafe {VERSION}",
                mend=how_to_install(self.host.name), transient=False,
            )  # fmt: skip
        if hello.get("fault"):
            raise ServerSideError(
                f"{self.host.name}: the program installed there reads nothing: {printable(str(hello['fault']))}",
                mend=f"mend it there as root; or anew: {how_to_install(self.host.name)}",
            )
        return hello


def _is_light(fields: Sequence[str]) -> bool:
    return sum(len(field.encode("utf-8", "surrogateescape")) + 1 for field in fields) < AHEAD


class _Body:
    """Content on its way in, in memory while small."""

    def __init__(self) -> None:
        self.file: IO[bytes] = tempfile.SpooledTemporaryFile(SPOOL)  # noqa: SIM115 - closed by the `with` around rewound()

    def write(self, data: bytes) -> None:
        self.file.write(data)

    def rewound(self) -> IO[bytes]:
        self.file.seek(0)
        return self.file


def _whole(data: bytes) -> Answer:
    """A small file, head, name and content in one frame."""
    try:
        size, mtime_ns, inode, length = WHOLE.unpack_from(data)
    except struct.error as error:
        raise ServerSideError(f"a damaged answer: {error}") from error
    end = WHOLE.size + length
    name = data[WHOLE.size : end].decode("utf-8", "surrogateescape")
    return Answer("ok", "", Facts(size, mtime_ns, inode), name, "", io.BytesIO(data[end:]))


def _answer(head: Mapping[str, Any], body: IO[bytes]) -> Answer:
    facts = Facts(*(int(value) for value in head["facts"])) if "facts" in head else None
    status = str(head["status"])
    if status == "ok" and facts is None:
        raise ServerSideError("an answer without facts")
    digested = str(head.get("sha256", ""))
    return Answer(
        status=status,
        why=str(head.get("why", "")),
        facts=facts,
        name=str(head.get("name", "")),
        id=digested,
        body=body if status == "ok" and not digested else None,
    )


def _entries(data: bytes) -> Iterator[Listed]:
    place, end, head, unpack = 0, len(data), ENTRY.size, ENTRY.unpack_from
    try:
        while place < end:
            sub, size, mtime_ns, inode, length = unpack(data, place)
            place += head + length
            yield "new" if sub else "cur", data[place - length : place], size, mtime_ns, inode
    except struct.error as error:
        raise ServerSideError(f"a damaged listing: {error}") from error


def _pass(row: Mapping[str, Any]) -> FolderPass:
    if "error" in row:
        return FolderPass((-1, -1), (-1, -1), 0, (), str(row["error"]), row.get("gone") is True)
    before, after = tuple(row["before"]), tuple(row["after"])
    return FolderPass((before[0], before[1]), (after[0], after[1]), int(row["now"]), _pairs(row["problems"]))


def _pairs(rows: Iterable[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((str(name), str(why)) for name, why in rows)


def _file(row: Sequence[Any]) -> FileFacts:
    path, size, mtime_ns, inode, mode, uid, gid = row
    return FileFacts(str(path), Facts(size, mtime_ns, inode), mode, uid, gid)


def _mailbox(row: Mapping[str, Any]) -> MailboxFacts:
    if "error" in row:
        return MailboxFacts(str(row["mailbox"]), error=str(row["error"]))
    folders = tuple(FolderFacts(str(path), (cur, new), uidlist, keywords) for path, cur, new, uidlist, keywords in row["folders"])
    files = tuple(_file(item) for item in row["files"])
    skipped = tuple(str(path) for path in row.get("skipped", ()))
    return MailboxFacts(
        str(row["mailbox"]), str(row["base"]), str(row["layout"]), folders, files, _pairs(row["problems"]), skipped
    )


def _verdict(end: Mapping[str, Any], size: int, limit: int) -> str:
    said = str(end.get("said", "")).strip()
    if size > limit:
        return f"its output is larger than {limit >> 20} MiB"
    if end.get("late"):
        return "it did not end in time"
    if end.get("status") != 0:
        return f"it ended with status {end.get('status')}" + (f": {said[-300:]}" if said else "")
    return ""
