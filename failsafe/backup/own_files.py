"""failsafe's own files of a generation (`controller/` in the archive format): how they are cut, when they make a generation, and reading them.

Theory. All that a dead controller knew must be in every repository, and a repository must not grow by it: what changes with every backup is one
small file, `state.jsonl`; what is only added to lies in files that never change once they are full. A flip, a hold or another configuration is
carried with the next run, even where the mail server is dead; other news within a day; and what every backup leaves behind only along with mail.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from failsafe.backup.archive.reader import Archive
from failsafe.backup.archive.staging import Staging
from failsafe.errors import ArchiveError
from failsafe.mail.manifest import FileRef, Generation, GenerationDraft

FORMAT = 1
STATE, CONFIGURATION = "state.jsonl", "failsafe.toml"
NEWS_EVERY = timedelta(days=1)
TENS = (10, 100, 1000)  # numbers in a file: 27 files and the newest few rows hold 3,000 events
HUNDREDS = (100, 1000)
HEAD = "controller"  # the `table` of the first line

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """`pressing`, `news`: digests of what happened, "" where nothing ever does. `files` gives path -> content, the state without its first line."""

    pressing: str
    news: str
    files: Callable[[], Mapping[str, bytes]]
    head: Row

    @classmethod
    def fixed(cls, files: Mapping[str, bytes]) -> OwnFiles:
        """Files alone, that never make a generation."""
        return cls("", "", lambda: files, {})


@dataclass(frozen=True, slots=True)
class Carried:
    """What the newest generation carries, from the first line of its state."""

    at: datetime
    pressing: str
    news: str


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a generation holds of the controller that made it."""

    controller: str
    at: datetime
    schema: str
    configuration: bytes | None
    rows: tuple[Row, ...]


def digest_of(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


# ---------------------------------------------------------------- writing


def encode_rows(rows: Iterable[Row]) -> bytes:
    """One JSON object a line, ASCII, keys sorted: equal rows make equal files."""
    return "".join(json.dumps(dict(row), sort_keys=True, separators=(",", ":")) + "\n" for row in rows).encode("ascii")


def cut(
    name: str, rows: Sequence[Row], steps: Sequence[int], last: int, *, lasting: Callable[[Row], bool] = lambda _row: True
) -> tuple[dict[str, bytes], list[Row]]:
    """(path -> content, the newest rows, which fill no file yet). By `id`: a file holds all of its numbers, small ones become a larger one
    when that is full, so that a number is written once for each of `steps`. Into the largest go only those that are `lasting`."""
    files: dict[str, list[Row]] = {}
    rest: list[Row] = []
    for row in rows:
        span = _span(int(row["id"]), steps, last + 1)
        if span is None:
            rest.append(row)
        elif lasting(row) or span[1] - span[0] + 1 < max(steps):
            files.setdefault(f"{name}/{span[0]:09d}-{span[1]:09d}.jsonl", []).append(row)
    return {path: encode_rows(found) for path, found in files.items()}, rest


def _span(number: int, steps: Sequence[int], end: int) -> tuple[int, int] | None:
    """The largest full span that holds a number; all numbers are below `end`."""
    for step in sorted(steps, reverse=True):
        start = number // step * step
        if start + step <= end:
            return start, start + step - 1
    return None


def store_own_files(staging: Staging, own: OwnFiles, now: datetime) -> list[FileRef]:
    """Into staging; what is there already is not written."""
    files = dict(own.files())
    if own.head:
        head = {"table": HEAD, "format": FORMAT, "at": _text(now), "pressing": own.pressing, "news": own.news, **own.head}
        files[STATE] = encode_rows([head]) + files.get(STATE, b"")
    return [staging.store_file(path, data) for path, data in sorted(files.items())]


def is_due(carried: Carried | None, own: OwnFiles, now: datetime) -> bool:
    """Whether failsafe's own files alone are worth a generation."""
    if not own.pressing:
        return False
    if carried is None or carried.pressing != own.pressing:
        return True
    return carried.news != own.news and not timedelta() <= now - carried.at < NEWS_EVERY


def carry(staging: Staging, own: OwnFiles, now: datetime) -> tuple[Generation, Generation] | None:
    """A generation that repeats the newest one with own files of today, where they are due: for a server that cannot be pulled. (before, after).

    It is of the same mail at the same time, so it is dated one second later and no more.
    """
    newest = staging.newest()
    if newest is None or not is_due(read_carried(staging.archive, newest), own, now):
        return None
    draft = GenerationDraft(
        at=newest.at + timedelta(seconds=1),
        result=newest.result,
        messages=newest.messages,
        mailboxes=newest.mailboxes,
        files=list(staging.archive.files(newest)),
        controller=store_own_files(staging, own, now),
        missing=newest.missing,
        notes=newest.notes,
    )
    return newest, staging.commit(draft)


# ---------------------------------------------------------------- reading


def read_carried(archive: Archive, generation: Generation) -> Carried | None:
    """None where the generation has no state, or one that nobody can read: then it is written anew."""
    try:
        for file in archive.controller_files(generation):
            if file.path == STATE:
                head = next(_rows(archive, file))
                return Carried(_instant(head["at"]), str(head["pressing"]), str(head["news"]))
    except (ArchiveError, StopIteration, KeyError, ValueError):
        return None
    return None


def read_knowledge(archive: Archive, generation: Generation) -> Knowledge | None:
    """All of it; None where there is no state. Raises ArchiveError where something is damaged, or of a later format."""
    files = {file.path: file for file in archive.controller_files(generation)}
    if STATE not in files:
        return None
    rows = [row for path, file in sorted(files.items()) if path.endswith(".jsonl") for row in _rows(archive, file)]
    head = next((row for row in rows if row.get("table") == HEAD), None)
    if head is None or head.get("format") != FORMAT:
        kind = "nothing" if head is None else f"format {head.get('format')}"
        raise ArchiveError(f"generation {generation.number}: its controller/{STATE} says {kind}; known here is format {FORMAT}")
    own = files.get(CONFIGURATION)
    try:
        return Knowledge(
            str(head["controller"]),
            _instant(head["at"]),
            str(head["schema"]),
            None if own is None else archive.read_file(own),
            tuple(rows),
        )
    except (KeyError, ValueError) as error:
        raise ArchiveError(f"generation {generation.number}: its controller/{STATE} is not readable: {error}") from error


def _rows(archive: Archive, file: FileRef) -> Iterator[Row]:
    for line in archive.read_file(file).splitlines():
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ArchiveError(f"controller/{file.path} is not readable: {error}", transient=False) from error
        if not isinstance(row, dict):
            raise ArchiveError(f"controller/{file.path}: a line is no object", transient=False)
        yield row


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _instant(text: object) -> datetime:
    return datetime.fromisoformat(str(text)).astimezone(UTC)
