"""`mbox:FILE`: all messages in one file, in the reversible form (mboxrd: a line ">From " gets one more ">").

An mbox has no folders, flags or keywords, and does not tell whether a message ended with a newline.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from failsafe.backup.destinations.base import disk_faults, make_folders, refuse_opaque, sync_folder
from failsafe.backup.restore_plan import Folders, Wanted
from failsafe.ports import Progress

_QUOTE = re.compile(rb"^(>*From )", re.MULTILINE)
_UNQUOTE = re.compile(rb"^>(>*From )", re.MULTILINE)


class MboxDestination:
    identity = "id"
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

    def add(self, item: Wanted, data: bytes) -> None:
        refuse_opaque(data)
        with disk_faults("write", self.path):
            file = self._opened()
            # asctime's form in UTC, as the de facto format has it (RFC 4155)
            file.write(b"From MAILER-DAEMON " + time.asctime(time.gmtime(max(item.internal_date, 0))).encode() + b"\n")
            file.write(_QUOTE.sub(rb">\1", data))
            file.write(b"\n" if data.endswith(b"\n") else b"\n\n")

    def verify(self, added: Sequence[Wanted], progress: Progress) -> dict[Wanted, str]:
        if self._file is None or self._passing is None:
            return {}
        progress.stage(f"reading back {self.path}")
        with disk_faults("write", self.path):
            self._file.close()
            held = self._ids(self._passing)
            self._passing.replace(self.path)
        sync_folder(self.path.parent)
        return {item: f"{self.path} does not hold the message" for item in added if item.id not in held}

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
        ids = set()
        with disk_faults("read", path), path.open("rb") as file:
            for message in _split(file):
                body = _UNQUOTE.sub(rb"\1", message)
                for form in (body, body.removesuffix(b"\n")):
                    ids.add(hashlib.sha256(form).hexdigest())
        return frozenset(ids)


def _split(file: IO[bytes]) -> Iterator[bytes]:
    """Messages of an mbox without their "From " lines and the empty line after each. One message in memory."""
    lines: list[bytes] | None = None
    for line in file:
        if line.startswith(b"From "):
            if lines is not None:
                yield _trimmed(lines)
            lines = []
        elif lines is not None:
            lines.append(line)
    if lines is not None:
        yield _trimmed(lines)


def _trimmed(lines: list[bytes]) -> bytes:
    if lines and lines[-1] == b"\n":
        lines.pop()
    return b"".join(lines)
