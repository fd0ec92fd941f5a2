"""`mbox:FILE`: all messages in one file, in the reversible form (mboxrd: a line ">From " gets one more ">").

An mbox has no folders, flags or keywords, and does not tell whether a message ended with a newline.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from failsafe.backup.destinations.base import PIECE, disk_faults, make_folders, refuse_opaque, sync_folder
from failsafe.backup.restore_plan import Folders, Wanted
from failsafe.model import Body
from failsafe.ports import Progress

_QUOTE = re.compile(rb"\n(>*From )")
_MAY_BE = re.compile(rb"\n>*(?:F(?:r(?:om?)?)?)?")  # the beginning of such a line
_QUOTED = re.compile(rb">+From ")


class MboxDestination:
    identity = "id"
    as_stored = False
    follows_moves = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self._passing: Path | None = None
        self._file: IO[bytes] | None = None

    def there(self, wanted: Sequence[Wanted], progress: Progress) -> Mapping[str, Folders]:
        """A message is there once for all folders: the file has none."""
        progress.stage(f"reading {self.path}")
        held = self._ids(self.path) if self.path.exists() else frozenset()
        found: dict[str, dict[str, frozenset[str]]] = {}
        for item in wanted:
            found.setdefault(item.target_mailbox, {})[item.target_folder] = held
        return found

    def add(self, item: Wanted, body: Body) -> None:
        refuse_opaque(body)
        with disk_faults("write", self.path):
            file = self._opened()
            # asctime's form in UTC, as the de facto format has it (RFC 4155)
            file.write(b"From MAILER-DAEMON " + time.asctime(time.gmtime(max(item.internal_date, 0))).encode() + b"\n")
            file.writelines(_quoted(body.pieces()))

    def finish(self) -> dict[Wanted, str]:
        return {}

    def verify(self, added: Sequence[Wanted], progress: Progress) -> dict[Wanted, str]:
        if self._file is None or self._passing is None:
            return {}
        progress.stage(f"reading back {self.path}")
        with disk_faults("write", self.path):
            self._file.close()
            held = self._ids(self._passing)
            self._passing.replace(self.path)
        sync_folder(self.path.parent)
        return {item: f"{self.path} does not hold the message" for item in added if item.content_id not in held}

    def notes(self) -> tuple[str, ...]:
        return ("an mbox file has no folders, flags or keywords",) if self._file is not None else ()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._passing is not None:
            self._passing.unlink(missing_ok=True)

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            make_folders(self.path.parent)
            self._passing = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
            self._passing.touch(mode=0o600)
            self._file = self._passing.open("wb")
            if self.path.exists():
                with self.path.open("rb") as old:
                    while piece := old.read(1 << 20):
                        self._file.write(piece)
        return self._file

    def _ids(self, path: Path) -> frozenset[str]:
        """Digests of the messages, each with and without its last newline: the format does not tell which it was."""
        ids: set[str] = set()
        message: _Digests | None = None
        begins = True  # the next piece is the beginning of a line
        with disk_faults("read", path), path.open("rb") as file:
            while line := file.readline(PIECE):
                if begins and line.startswith(b"From "):
                    ids.update(message.ids() if message else ())
                    message = _Digests()
                elif message is not None:
                    message.take(line, begins=begins)
                begins = line.endswith(b"\n")
        ids.update(message.ids() if message else ())
        return frozenset(ids)


class _Digests:
    """Of one message as it is read: its last two bytes are held back, since either may be none of its own."""

    def __init__(self) -> None:
        self._digest, self._held, self._lines = hashlib.sha256(), b"", bytearray()
        self._ends_empty = False  # its last line is the empty one that the format puts after each message

    def take(self, line: bytes, *, begins: bool) -> None:
        self._ends_empty = begins and line == b"\n"
        self._lines += line[1:] if begins and _QUOTED.match(line) else line
        if len(self._lines) > PIECE:
            self._flush()

    def ids(self) -> tuple[str, str]:
        self._flush()
        whole = self._held[:-1] if self._ends_empty else self._held
        return self._with(whole), self._with(whole.removesuffix(b"\n"))

    def _flush(self) -> None:
        text = self._held + self._lines
        self._digest.update(text[:-2])
        self._held = bytes(text[-2:])
        self._lines.clear()

    def _with(self, end: bytes) -> str:
        digest = self._digest.copy()
        digest.update(end)
        return digest.hexdigest()


def _quoted(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """With one more ">" before each line "From ", ">From " and so on, however the pieces are cut; then the empty line that ends a message."""
    held, start = b"\n", 1  # as if a line had ended before the first
    last = b""
    for piece in pieces:
        text = held + piece
        end = text.rfind(b"\n")
        held = text[end:] if end >= 0 and _MAY_BE.fullmatch(text, end) else b""
        ready = text[: len(text) - len(held)]
        last = (last + ready)[-1:]
        yield _QUOTE.sub(rb"\n>\1", ready)[start if ready else 0 :]
        start = 0 if ready else start
    last = (last + held)[-1:]
    yield held[start:]
    yield b"\n" if last == b"\n" and not start else b"\n\n"
