"""Looks for bytes of staging that its own disk has lost: a share of it each day, so that all of it is read in a month.

Snapshots do not find them: restic reads no file again that looks unchanged. What is damaged is fetched from a snapshot and compared with its
name before it takes the place; what no snapshot can give now is asked for again by each backup, and until then none of them ends well.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from failsafe.backup.archive.mending import is_right
from failsafe.backup.archive.staging import Staging
from failsafe.mail.manifest import Generation
from failsafe.ports import Clock, Progress

EVERY = timedelta(days=1)
AGAIN = timedelta(hours=1)  # snapshots are asked for what they could not give
ROUND = 30  # days in which all of staging is read
LEAST, MOST = (
    256 << 20,
    8 << 30,
)  # bytes a day: a small staging is read at once, a large one keeps the disk busy for a minute or two
NAMED = 5
MAXIMUM_BYTES = 1 << 20  # of the file
DAMAGED_KEPT = 1000
RECHECKED = 20  # of the damaged, by each backup


@dataclass(frozen=True, slots=True)
class Looked:
    """How far it came. `last`: the file that was looked at last, "" at the beginning of a round."""

    at: datetime
    last: str = ""
    damaged: tuple[str, ...] = ()  # and not mended yet
    tried_at: datetime | None = None  # when snapshots were asked for them last


@dataclass(frozen=True, slots=True)
class Found:
    """What one look found: files that are not what their names say. `is_news`: some were not known. `is_due`: snapshots may be asked now."""

    damaged: tuple[str, ...] = ()
    bytes_read: int = 0
    is_news: bool = False
    is_due: bool = False

    def __str__(self) -> str:
        more = f" and {len(self.damaged) - NAMED} more" if len(self.damaged) > NAMED else ""
        return (
            f"{len(self.damaged)} file(s) of staging are damaged on this machine's disk: {', '.join(self.damaged[:NAMED])}{more}"
        )


def plan_look(files: Sequence[tuple[str, int]], last: str) -> tuple[str, ...]:
    """Whose turn it is: those after `last` by name, and on from the first; `files` are paths and sizes, sorted."""
    total = sum(size for _, size in files)
    left = min(max(total // ROUND, LEAST), MOST)
    start = next((place for place, (path, _) in enumerate(files) if path > last), 0)
    chosen: list[str] = []
    for path, size in (*files[start:], *files[:start]):
        if chosen and size > left:
            break
        chosen.append(path)
        left -= size
    return tuple(chosen)


class RotWatch:
    """One server's looks. `file` is small, and our own; without it the month begins anew."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file, self._clock = file, clock

    def look(self, staging: Staging, generation: Generation, progress: Progress) -> Found:
        """The day's share, where it is due, and what was known to be damaged before."""
        now, known = self._clock.now(), self._read()
        if known is None:  # staging was just written
            self._write(Looked(now))
            return Found()
        is_day = not timedelta() <= now - known.at < EVERY
        is_due = known.tried_at is None or not timedelta() <= now - known.tried_at < AGAIN
        if not is_day and not (known.damaged and is_due):
            return Found(self._still_there(staging.folder, known))
        files = _files(staging, generation)
        sizes = dict(files)
        due = plan_look(files, known.last) if is_day else ()
        chosen = [*(path for path in known.damaged if path in sizes and path not in due), *due]
        total = sum(sizes[path] for path in chosen)
        progress.stage("reading staging back", total, "B")
        damaged = tuple(path for path in chosen if _is_rotten(staging.folder, path, sizes[path], progress))
        at, last = (now, due[-1] if due else "") if is_day else (known.at, known.last)
        self._write(Looked(at, last, damaged[:DAMAGED_KEPT], now))
        return Found(damaged, total, is_news=not set(damaged) <= set(known.damaged), is_due=True)

    def _still_there(self, folder: Path, known: Looked) -> tuple[str, ...]:
        """A person may have moved some away, and the pull brought them anew."""
        first, others = known.damaged[:RECHECKED], known.damaged[RECHECKED:]
        left = (*(path for path in first if (folder / path).is_file() and not is_right(path, folder / path)), *others)
        if left != known.damaged:
            self._write(replace(known, damaged=left))
        return left

    def suspect(self, files: Sequence[str]) -> bool:
        """Somebody else found these damaged: the next look is at them, and mends them. False where all of them were known."""
        known = self._read() or Looked(self._clock.now())
        if set(files) <= set(known.damaged):
            return False
        damaged = tuple(dict.fromkeys((*known.damaged, *files)))[:DAMAGED_KEPT]
        self._write(replace(known, damaged=damaged, tried_at=None))
        return True

    def still(self, damaged: Sequence[str]) -> None:
        """What could not be mended."""
        known = self._read()
        if known is not None:
            self._write(replace(known, damaged=tuple(damaged[:DAMAGED_KEPT])))

    def _read(self) -> Looked | None:
        try:
            with self._file.open("rb") as file:
                row = json.loads(file.read(MAXIMUM_BYTES))
            at, tried = (row[key] and datetime.fromisoformat(row[key]).astimezone(UTC) for key in ("at", "tried_at"))
            return Looked(at, str(row["last"]), tuple(map(str, row["damaged"])), tried)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, looked: Looked) -> None:
        """Not being able to is no reason to call a good backup bad: then more is looked at next time."""
        fresh = self._file.with_name(f"{self._file.name}.new")
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            row = {**asdict(looked), "at": looked.at.isoformat(), "tried_at": looked.tried_at and looked.tried_at.isoformat()}
            fresh.write_text(json.dumps(row))
            fresh.replace(self._file)


def watch_of(proofs: Path, clock: Clock) -> RotWatch:
    """Its file lies beside the server's proofs."""
    return RotWatch(proofs.with_name(f"{proofs.stem}.looked.json"), clock)


def _files(staging: Staging, generation: Generation) -> list[tuple[str, int]]:
    """All that a generation names, but for manifests and lists, which are compared with their names before each pull."""
    named = (*staging.archive.metadata_files(generation), *staging.archive.data_files(generation))
    found = []
    for path in sorted(named):
        with contextlib.suppress(OSError):  # what is missing is looked for before each pull
            found.append((path, (staging.folder / path).stat().st_size))
    return found


def _is_rotten(folder: Path, path: str, size: int, progress: Progress) -> bool:
    right = is_right(path, folder / path)
    progress.advance(size)
    return not right and (folder / path).is_file()  # it may have been collected meanwhile
