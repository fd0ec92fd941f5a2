"""Speaks with the program that restores a mail server (serverwrite) over a channel: requests and files out, answers in, everything bounded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from failsafe.backup.frames import CHATTER, Frames
from failsafe.backup.protocol import COMMAND
from failsafe.backup.serverwrite import packed_program
from failsafe.errors import ServerSideError
from failsafe.ports import Channel, MailHost

VERSION = 1  # of the protocol; serverwrite.VERSION is the other end
ROWS = 2_000  # folders, links or files in one request
MESSAGES = 10_000  # asked about in one request


@dataclass(frozen=True, slots=True)
class Sight:
    """What the target is like before anything is written there."""

    exists: bool  # the folder of mailboxes
    folders: int  # of mail, in it
    messages: int  # in them; at most some 100,000 are counted
    owner: tuple[int, int]  # of the folder of mailboxes, or of the one that it will lie in
    bytes_free: int
    inodes_free: int | None
    work: str  # our own folder there
    marker: Mapping[str, Any] | None  # of an earlier run
    journal: frozenset[str]  # what it had done for good
    has_restic: bool
    user: int  # whom we act as


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of files that were sent since the last time: all that were written are on the disk."""

    written: int
    problems: tuple[tuple[str, str], ...] = ()  # (path, why)
    more: int = 0  # problems that are not told


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended that was run there. `said`: the end of its output."""

    status: int
    late: bool
    said: str

    @property
    def is_good(self) -> bool:
        return self.status == 0 and not self.late


class WriteSession:
    """One conversation. Raises ServerSideError, and what the channel raises. After `put` and `folders` only `settle` says how it went."""

    def __init__(self, host: MailHost) -> None:
        self.host = host
        program = packed_program()
        self._channel: Channel = host.open(COMMAND)
        self._frames = Frames(self._channel, host.name)
        try:
            self._channel.send(b"%d\n" % len(program) + program)
            self._hello()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def _hello(self) -> None:
        kind, data = self._frames.next()
        hello = _object(data) if kind == b"J" else {}
        if hello.get("mode") == "installed":
            raise ServerSideError(
                f"{self.host.name}: that key is let in to read alone, by the program installed there",
                mend="say --ssh and --ssh-key with a login of your own that is root there", transient=False,
            )  # fmt: skip
        if hello.get("version") != VERSION:
            raise ServerSideError(f"{self.host.name}: the program there is not the one that was sent", mend=CHATTER)

    def look(self, root: str) -> Sight:
        row = dict(self._ask("look", root=root))
        marker = row["marker"]
        return Sight(
            exists=bool(row["exists"]),
            folders=int(row["folders"]),
            messages=int(row["messages"]),
            owner=(int(row["owner"][0]), int(row["owner"][1])),
            bytes_free=int(row["bytes_free"]),
            inodes_free=None if row["inodes_free"] is None else int(row["inodes_free"]),
            work=str(row["work"]),
            marker=dict(marker) if isinstance(marker, dict) else None,
            journal=frozenset(str(line) for line in row["journal"]),
            has_restic=row["restic"] is True,
            user=int(row["user"]),
        )

    def numbers(self, name: str) -> tuple[int, int]:
        """UID and GID of USER, USER:GROUP or numbers."""
        uid, gid = self._ask("numbers", name=name)
        return int(uid), int(gid)

    def nameless(self, numbers: Iterable[int]) -> tuple[int, ...]:
        """Those that no user of the server has."""
        return tuple(int(number) for number in self._ask("nameless", numbers=sorted(set(numbers))[:MESSAGES]))

    def begin(self, root: str, owner: tuple[int, int]) -> str:
        """Makes the folder of mailboxes and our own, and takes the lock there; gives our own folder."""
        return str(self._ask("begin", root=root, owner=list(owner)))

    def mark(self, marker: Mapping[str, object]) -> None:
        self._ask("mark", marker=dict(marker))

    def note(self, line: str) -> None:
        self._ask("note", line=line)

    def aside(self, places: Sequence[str], stamp: str) -> tuple[str, ...]:
        moved: list[str] = []
        for start in range(0, len(places), ROWS):
            moved += self._ask("aside", places=list(places[start : start + ROWS]), stamp=stamp)
        return tuple(moved)

    def folders(self, scope: str, rows: Sequence[tuple[str, int, int, int]]) -> None:
        """(path, mode, uid, gid), a folder before what is in it; `scope`: "mail" or "server"."""
        for start in range(0, len(rows), ROWS):
            self._tell("folders", scope=scope, rows=[list(row) for row in rows[start : start + ROWS]])

    def links(self, rows: Sequence[tuple[str, str]]) -> int:
        return sum(
            int(self._ask("links", rows=[list(row) for row in rows[start : start + ROWS]])) for start in range(0, len(rows), ROWS)
        )

    def appear(self, home: str, stamp: str) -> int | None:
        """Puts a mailbox that was built in our folder into its place. None: nothing was there; else the messages in what was, which is moved aside."""
        answer = self._ask("appear", home=home, stamp=stamp)
        return None if answer is None or answer == "" else int(answer)

    def exists(self, scope: str, path: str) -> bool:
        return self._ask("exists", scope=scope, path=path) is True

    def there(self, scope: str, folder: str, rows: Sequence[tuple[str, int, str]], *, whole: bool) -> list[int]:
        """Of (base name, size, digest) in a folder: 2 there and right, 1 there and wrong, 0 not there. `whole`: their bytes are read."""
        states: list[int] = []
        for start in range(0, len(rows), MESSAGES):
            wanted = [list(row) for row in rows[start : start + MESSAGES]]
            states += [int(state) for state in self._ask("there", scope=scope, folder=folder, rows=wanted, whole=whole)]
        return states

    def standing(self, rows: Sequence[tuple[str, int, str, int, int, int]]) -> set[int]:
        """Of (path, size, digest, mode, uid, gid): those that are there and right."""
        found: set[int] = set()
        for start in range(0, len(rows), ROWS):
            right = self._ask("standing", rows=[list(row) for row in rows[start : start + ROWS]])
            found.update(start + int(number) for number in right)
        return found

    def put(self, row: Mapping[str, object], pieces: Iterable[bytes] | None) -> None:
        """A file with its bytes, row["size"] of them; None: they lie in our folder there, at row["from"], row["offset"]."""
        self._tell("put", **row)
        for piece in pieces or ():
            self._channel.send(piece)

    def settle(self) -> Settled:
        row = dict(self._ask("settle"))
        problems = tuple((str(path), str(why)) for path, why in row["problems"])
        return Settled(int(row["written"]), problems, int(row["more"]))

    def run(self, words: Sequence[str], *, environment: Mapping[str, str] | None = None, seconds: float) -> Ended:
        row = dict(self._ask("run", words=list(words), environment=dict(environment or {}), seconds=seconds))
        return Ended(-1 if row["status"] is None else int(row["status"]), row["late"] is True, str(row["said"]))

    def remove(self, names: Sequence[str]) -> None:
        """Below our own folder there."""
        self._ask("remove", names=list(names))

    def _tell(self, verb: str, **values: object) -> None:
        request = json.dumps({"do": verb, **values}, separators=(",", ":")).encode("ascii")
        self._channel.send(request + b"\0")

    def _ask(self, verb: str, **values: object) -> Any:
        self._tell(verb, **values)
        while True:
            kind, data = self._frames.next()
            if kind == b"K":
                continue
            if kind == b"X":
                raise ServerSideError(f"{self.host.name}: {_object(data).get('error', 'no reason given')}", transient=False)
            if kind != b"E":
                raise ServerSideError(f"{self.host.name}: an answer of another kind", mend=CHATTER)
            return _value(data)


def _value(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError as error:
        raise ServerSideError(f"an answer that is not JSON: {error}", mend=CHATTER) from error


def _object(data: bytes) -> dict[str, Any]:
    value = _value(data)
    return value if isinstance(value, dict) else {}
