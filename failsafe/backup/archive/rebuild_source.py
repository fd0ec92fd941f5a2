#!/usr/bin/env python3
"""Makes Maildirs from a failsafe archive. Needs Python 3.9 or newer and nothing else.

It lies beside the archive that it reads (a restored restic snapshot) and writes DEST/DOMAIN/USER/ for each mailbox: messages with their
bytes, names, flags, keywords and dates, folders, dovecot-uidlist, dovecot-keywords, subscriptions and other control files; and the
server's own files below DEST/_server/. Every digest is compared. It never writes outside DEST, and refuses a mailbox folder that is not empty.

Exit codes: 0 everything was there and right, 1 something was not (listed at the end), 2 it could not begin.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import tarfile
import time
from collections.abc import Iterator
from typing import Any

FORMAT = 1
DIGEST = re.compile(r"[0-9a-f]{64}\Z")
PIECE = 1 << 20
SHOWN = 1000  # problems printed; all are counted
ENDINGS = {"mailboxes": ".json", "shards": ".jsonl", "segments": ".tar", "lists": ".jsonl", "files": ""}

Row = dict[str, Any]  # one JSON object of the archive


class Damage(Exception):
    """A file of the archive is missing or is not what its name says."""


class Report:
    """What went wrong, what was changed on the way, and how much was written."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.more = self.messages = self.bytes = self.files = 0
        self._last = time.monotonic()

    def problem(self, text: str) -> None:
        if len(self.problems) < SHOWN:
            self.problems.append(text)
        else:
            self.more += 1

    def note(self, text: str) -> None:
        if len(self.notes) < SHOWN:
            self.notes.append(text)

    def progress(self, where: str) -> None:
        if time.monotonic() - self._last > 2:
            self._last = time.monotonic()
            say("  %s: %d messages, %.1f MB so far" % (shown(where), self.messages, self.bytes / 1e6))


def shown(text: str) -> str:
    """Text that is safe on a terminal: names come from strangers."""
    return "".join(c if c.isprintable() else "\\x%02x" % ord(c) for c in text.encode("utf-8", "backslashreplace").decode("utf-8"))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


class Source:
    """The archive's folder, read only; everything is compared with the digest that names it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def path(self, kind: str, name: Any, ending: str | None = None) -> str:
        if not isinstance(name, str) or not DIGEST.match(name):
            raise Damage("%r is not the name of a file of the archive" % (name,))
        return os.path.join(self.folder, kind, name[:2], name + (ENDINGS[kind] if ending is None else ending))

    def generation(self, number: int | None) -> Row:
        folder = os.path.join(self.folder, "generations")
        names = sorted(name for name in (os.listdir(folder) if os.path.isdir(folder) else []) if re.match(r"\d{8}\.json\Z", name))
        if number is not None:
            names = [name for name in names if int(name[:8]) == number]
        if len(names) != 1:
            raise Damage("%s holds %d generation files and must hold one (--generation N chooses)" % (folder, len(names)))
        with open(os.path.join(folder, names[0]), "rb") as file:
            data = file.read()
        head, found, tail = data.rpartition(b'\n"digest": "')
        if not found or tail != b'%s"}\n' % hashlib.sha256(head + b"\n").hexdigest().encode():
            raise Damage("generations/%s does not match its own digest" % names[0])
        generation: Row = json.loads(data)
        if generation["format"] != FORMAT:
            raise Damage("format %r is not known to this program" % generation["format"])
        return generation

    def read(self, kind: str, name: str) -> bytes:
        """A whole small file."""
        path = self.path(kind, name)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise Damage("%s: %s" % (os.path.relpath(path, self.folder), error.strerror)) from error
        if hashlib.sha256(data).hexdigest() != name:
            raise Damage("%s does not match its digest" % os.path.relpath(path, self.folder))
        return data

    def rows(self, kind: str, name: str) -> Iterator[Row]:
        return (json.loads(line) for line in self.read(kind, name).splitlines())

    def scan(self, segment: str, report: Report) -> list[tuple[str, int, int]]:
        """(id, offset, size) of each message of a segment; also compares the whole file and its index."""
        path = self.path("segments", segment)
        shown_path = os.path.relpath(path, self.folder)
        found: list[tuple[str, int, int]] = []
        try:
            with open(path, "rb") as file:
                digest = hashlib.sha256()
                for piece in iter(lambda: file.read(PIECE), b""):
                    digest.update(piece)
            if digest.hexdigest() != segment:
                report.problem("%s does not match its digest" % shown_path)
            with tarfile.open(path, "r:") as tar:
                for info in tar:
                    tar.members = []  # type: ignore[attr-defined]  # else it keeps every header
                    found.append((info.name, info.offset_data, info.size))
        except OSError as error:
            report.problem("%s: %s" % (shown_path, error.strerror or error))
            return []
        except (tarfile.TarError, ValueError, OverflowError) as error:
            report.problem("%s is damaged: %s" % (shown_path, error))
        return self._index(segment, found, report) or found

    def _index(self, segment: str, found: list[tuple[str, int, int]], report: Report) -> list[tuple[str, int, int]]:
        """What a whole index says, which also reaches messages behind a damaged header; nothing where it is damaged itself."""
        path = self.path("segments", segment, ".idx")
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            report.problem("%s: %s" % (os.path.relpath(path, self.folder), error.strerror))
            return []
        body, end = data[:-69], data[-69:]
        whole = end == b"end %s\n" % hashlib.sha256(body).hexdigest().encode()
        rows = [line.decode("ascii").split(" ") for line in body.splitlines()[1:]] if whole else []
        told = [(row[0], int(row[2]), int(row[3])) for row in rows]
        if told != found:
            report.problem("%s is damaged or does not fit its segment" % os.path.relpath(path, self.folder))
        return told


def safe_parts(path: str) -> list[str] | None:
    """The components of a path from the archive, or None where following it could lead elsewhere."""
    parts = path.split("/")
    bad = any(part in ("", ".", "..") or "\0" in part or len(encoded(part)) > 255 for part in parts)
    return None if bad else parts


def make(path: str) -> None:
    os.makedirs(path, mode=0o700, exist_ok=True)


def write_new(path: str, data: bytes, mode: int = 0o600, mtime: int | None = None) -> None:
    """Never follows a link, never replaces anything."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.chmod(path, mode & 0o777)
    if mtime is not None:
        os.utime(path, (mtime, mtime))
