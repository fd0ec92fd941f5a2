"""Deleted messages leave staging: a segment that holds one which nothing names any more is copied without it, within `erase_after`.

Looked for once a day, by a pull. What was found is remembered by segment, so that one that loses messages all the time is copied once in
that time and not every day. Snapshots that were made before keep theirs, until they are forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from failsafe.backup.archive.layout import path_of
from failsafe.backup.inventory import text
from failsafe.backup.merging import AT_ONCE, Merger
from failsafe.errors import ArchiveError

ERASE_AFTER = timedelta(days=90)
EVERY = timedelta(days=1)
EARLY = 2 * EVERY  # it is found up to a day late, and its turn may come a day late


@dataclass(frozen=True, slots=True)
class Partly:
    """A segment with messages that nothing names, since `at`; `size` in bytes."""

    name: str
    size: int
    at: datetime


def plan_sweep(segments: Sequence[Partly], now: datetime, after: timedelta, room: int) -> tuple[str, ...]:
    """Whose turn it is, oldest first, up to `room` bytes and at least one."""
    due = sorted((each for each in segments if now - each.at >= max(after - EARLY, timedelta())), key=lambda each: each.at)
    chosen: list[str] = []
    for each in due:
        if chosen and each.size > room:
            break
        chosen.append(each.name)
        room -= each.size
    return tuple(chosen)


class Sweeper:
    """Runs in a pull after the merger, before manifests are written. A kill at any moment costs repeated work, as there."""

    def __init__(self, merger: Merger, after: timedelta) -> None:
        self._merger, self._after = merger, after
        self._inventory, self._staging, self._db = merger.inventory, merger.staging, merger.inventory.db

    def run(self, now: datetime) -> str:
        """Copies what is due; says what it cost, "" where nothing was."""
        swept = self._inventory.get("swept")
        if swept is not None and timedelta() <= now - datetime.fromisoformat(swept) < EVERY:
            return ""
        known = list(self._partly(now))
        due = plan_sweep(known, now, self._after, AT_ONCE)
        if due:
            self._merger.own_strangers()
        sizes = [size for name in due if (size := self._try(name)) is not None]
        if due:
            self._merger.rewrite_manifests(set(due))
        if not set(plan_sweep(known, now, self._after, 1 << 62)) - set(due):  # else the next run goes on
            self._inventory.put("swept", now.isoformat())
        return f"{len(sizes)} segments held deleted messages: {sum(sizes) / 1e6:.1f} MB will be stored anew" if sizes else ""

    def _partly(self, now: datetime) -> Iterator[Partly]:
        """Those that hold both kinds; one that holds nothing that is named goes as a whole. Remembers since when."""
        db = self._db
        db.execute("CREATE TABLE IF NOT EXISTS partly (segment INTEGER PRIMARY KEY, at TEXT NOT NULL)")
        db.execute("CREATE TEMP TABLE IF NOT EXISTS named (id BLOB PRIMARY KEY) WITHOUT ROWID")
        db.execute("DELETE FROM named")
        db.execute("INSERT OR IGNORE INTO named SELECT content FROM entry")
        counts = dict(
            db.execute("SELECT c.segment, COUNT(*) FROM content c JOIN named l ON l.id = c.id GROUP BY c.segment").fetchall()
        )
        rows = db.execute("SELECT id, name FROM segment").fetchall()
        found = [(number, name) for number, name in rows if number in counts and self._held(name) > counts[number]]
        numbers = [number for number, _ in found]
        before = dict(db.execute("SELECT segment, at FROM partly").fetchall())
        gone = [(number,) for number in before if number not in set(numbers)]
        db.executemany("DELETE FROM partly WHERE segment = ?", gone)
        db.executemany("INSERT OR IGNORE INTO partly VALUES (?, ?)", ((number, now.isoformat()) for number in numbers))
        for number, name in found:
            at = datetime.fromisoformat(before.get(number, now.isoformat()))
            yield Partly(name, (self._staging.folder / path_of("segments", name)).stat().st_size, at)

    def _held(self, name: str) -> int:
        """Messages in a segment; 0 where it is not here any more, or its index cannot be read."""
        if not (self._staging.folder / path_of("segments", name)).is_file():
            return 0
        try:
            return len(self._staging.archive.index_ids(name))
        except ArchiveError:  # the daily reading of staging brings the file back from a snapshot, and this comes again tomorrow
            return 0

    def _try(self, name: str) -> int | None:
        """None for a damaged segment, which waits for its repair: no pull fails for that."""
        try:
            return self._copy(name)
        except ArchiveError as error:
            if not error.damaged:
                raise
            self._merger.damaged.append(error.damaged)
            return None

    def _copy(self, name: str) -> int:
        """Only what is named and has no newer copy elsewhere; gives bytes. Then the old segment holds nothing that is named."""
        (number, owner), *_ = self._db.execute(
            "SELECT s.id, o.mailbox FROM segment s LEFT JOIN owned o ON o.segment = s.id WHERE s.name = ?", (name,)
        ).fetchall()
        rows = self._db.execute("SELECT c.id FROM content c JOIN named l ON l.id = c.id WHERE c.segment = ?", (number,))
        wanted = {id_.hex() for (id_,) in rows}
        mailbox = text(owner) if owner is not None else "?"
        made = self._staging.rewrite_segments(mailbox, [name], wanted.__contains__)
        self._merger.note([name], made, mailbox)
        self._db.execute("DELETE FROM content WHERE segment = ?", (number,))
        self._db.execute("DELETE FROM partly WHERE segment = ?", (number,))
        return sum(sealed.size for sealed in made)
