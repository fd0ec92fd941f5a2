"""What was pulled from one server: an SQLite file of its own, beside staging, rebuildable from the archive at any time.

Sets of a million names live here and not in memory. Rows are committed only when the segments they speak of are durable; if the file
lags behind the archive, is lost or is damaged, `begin` mends it from the archive's index files or its newest generation.
"""
# ruff: noqa: S608 - the parts put into queries are our own constants; what others named goes in as parameters

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from failsafe.backup.archive.durable import disk_errors
from failsafe.backup.archive.segment import Sealed
from failsafe.backup.archive.staging import Staging
from failsafe.backup.guards import CONTENT, KINDS, Standing
from failsafe.backup.inventory_schema import GONE, connect
from failsafe.backup.losses import habit_of
from failsafe.backup.perhaps import Perhaps
from failsafe.backup.shard_book import CURRENT, ShardBook
from failsafe.errors import ArchiveError
from failsafe.mail.maildir import keyword_letter
from failsafe.mail.manifest import Entry, FileRef, Generation

MANY = 5_000  # messages asked for, from which it pays to read once which contents there are
DISK = "check space, modes and health of the disk with state_dir, and that no other failsafe is at work there; then try again"
# of a vanished entry `e`: its name is still there, with other content
CHANGED = "EXISTS (SELECT 1 FROM entry n WHERE n.folder = e.folder AND n.base = e.base AND n.gone_at IS NULL AND n.content <> e.content)"


def raw(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


class Inventory:
    """Open with `open`; one process at a time (the job's lock sees to that)."""

    def __init__(self, file: Path, db: sqlite3.Connection) -> None:
        self.place, self.db = file, db
        self._asked = 0  # messages that `known_contents` was asked for
        self._perhaps: Perhaps | None = None  # what it learned where they are many
        self.has_news = False  # files or guards changed in this pull: they are kept also where it fails
        self._is_clean = False  # what stands is what the newest generation says: so until the first commit

    @classmethod
    def open(cls, file: Path) -> Self:
        """Opens or creates it. A damaged file is put aside as FILE.damaged and made anew: `begin` fills it from the archive.

        One that cannot be opened just now (locked, a full disk) is not damaged: it stays, since guards are in it. Raises ArchiveError.
        """
        with disk_errors("open", file):
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return cls(file, connect(file))
        except sqlite3.OperationalError as error:
            raise ArchiveError(f"{file}: the inventory cannot be opened: {error}", mend=DISK) from error
        except sqlite3.DatabaseError:
            for ending in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    file.with_name(file.name + ending).replace(file.with_name(file.name + ".damaged" + ending))
        try:
            return cls(file, connect(file))
        except sqlite3.Error as error:
            raise ArchiveError(f"{file}: the inventory cannot be created: {error}", mend=DISK) from error

    def close(self) -> None:
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------ agreement with the archive

    def begin(self, staging: Staging) -> bool:
        """Brings it into agreement with the archive. True where every folder is to be listed anew, whatever its stamps say."""
        newest = staging.newest()
        number = str(newest.number) if newest else "0"
        clean = self.get("clean") == number
        fresh = self.get("server") != staging.server
        with self.db:
            for table in ("pass", "seen", "uid"):
                self.db.execute(f"DELETE FROM {table}")
            if fresh:
                self._rebuild(staging, newest)
            else:
                self._reconcile(staging)
            if not clean:  # shards and manifests that no generation names may have been cleared away
                ShardBook(self.db).forget()
                self.db.execute("UPDATE folder SET dirty = 1")
                self.db.execute("UPDATE mailbox SET dirty = 1")
                self.db.execute("DELETE FROM meta WHERE key = 'clean'")
        self._is_clean = clean and not fresh
        return fresh

    def commit(self) -> None:
        """Never `db.commit()`: with the first commit of a pull, the inventory is ahead of the newest generation."""
        if self._is_clean:
            self.db.execute("DELETE FROM meta WHERE key = 'clean'")
        self._is_clean = self.has_news = False
        self.db.commit()

    def finish(self, generation: int) -> None:
        """The generation that holds all this is durable."""
        with self.db:
            for table in ("pass", "seen", "uid"):
                self.db.execute(f"DELETE FROM {table}")
            self.put("clean", str(generation))

    def repeated(self, before: int, after: int) -> None:
        """Generation `after` is of the same mail as `before`: what agreed with that agrees with this."""
        if self.get("clean") == str(before):
            with self.db:
                self.put("clean", str(after))

    def _reconcile(self, staging: Staging) -> None:
        """Segments that a killed run sealed become known; what was in segments that are gone is to be fetched again."""
        there = set(staging.segments())
        known = dict(self.db.execute("SELECT name, id FROM segment"))
        for name in sorted(there - set(known)):
            self.learn_segment(name, ((line.id, line.canonical) for line in staging.index(name)))
        lost = self._forget_segments([known[name] for name in set(known) - there])
        if lost or there - set(known):
            self.db.execute("UPDATE mailbox SET dirty = 1")

    def _forget_segments(self, numbers: list[int]) -> bool:
        """Segments that are no longer there. True where messages were lost with them: what was merged or let go had left them before."""
        if not numbers:
            return False
        self.db.execute("CREATE TEMP TABLE lost (id BLOB PRIMARY KEY) WITHOUT ROWID")
        gone = ",".join(map(str, numbers))
        self.db.execute(f"INSERT INTO lost SELECT id FROM content WHERE segment IN ({gone})")
        if any_lost := self.count("lost") > 0:
            held = "content IN (SELECT id FROM lost)"
            self.db.execute(f"UPDATE folder SET cur = NULL, dirty = 1 WHERE id IN (SELECT folder FROM entry WHERE {held})")
            self.db.execute(f"DELETE FROM entry WHERE {held}")
            self.db.execute("DELETE FROM content WHERE id IN (SELECT id FROM lost)")
        self.db.execute("DROP TABLE lost")
        for table, key in (("segment", "id"), ("owned", "segment")):
            self.db.execute(f"DELETE FROM {table} WHERE {key} IN ({gone})")
        return any_lost

    def _rebuild(self, staging: Staging, newest: Generation | None) -> None:
        for table in ("segment", "owned", "content", "mailbox", "folder", "entry", "file", "guard"):
            self.db.execute(f"DELETE FROM {table}")
        self.db.execute("DELETE FROM meta WHERE key = 'window'")
        for name in staging.segments():
            self.learn_segment(name, ((line.id, line.canonical) for line in staging.index(name)))
        for mailbox in newest.mailboxes if newest else ():
            assert newest is not None
            manifest = staging.archive.mailbox(newest, mailbox)
            user, _, domain = mailbox.rpartition("@")
            box = self.mailbox_id(f"{domain}/{user}" if user else domain, manifest.layout)
            for folder in manifest.folders:
                row = self.folder_id(box, folder.directory)
                self.db.execute(
                    "UPDATE folder SET uid_validity = ?, uid_next = ?, guid = ? WHERE id = ?",
                    (folder.uid_validity, folder.uid_next, folder.guid, row),
                )
                names = list(folder.keyword_letters)
                self.db.executemany(
                    "INSERT OR IGNORE INTO entry SELECT ?, ?, ?, ?, ?, 0, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM content WHERE id = ?)",
                    (_entry_row(row, entry, names, twin) for entry, twin in _with_twins(staging.archive.entries(folder))),
                )
                self.db.execute("UPDATE folder SET letters = ? WHERE id = ?", (json.dumps(names), row))
            if self.count("entry JOIN folder f ON f.id = folder WHERE f.mailbox = ? AND gone_at IS NOT NULL", box):
                self.raise_guard(
                    mailbox,
                    "mass-loss",
                    "messages vanished on the server before this inventory was rebuilt",
                    newest.at.isoformat(),
                )
        self.put("server", staging.server)

    # ------------------------------------------------------------ small things

    def get(self, key: str) -> str | None:
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, value: str) -> None:
        """What is there already is not written: in peace a pull writes one page."""
        if self.get(key) != value:
            put = "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
            self.db.execute(put, (key, value))

    def count(self, source: str, *values: object) -> int:
        """`count("entry WHERE folder = ?", 3)`; `source` is our own text, never another party's."""
        return int(self.db.execute(f"SELECT COUNT(*) FROM {source}", values).fetchone()[0])

    def living(self) -> dict[int, int]:
        """Entries that are not gone, by mailbox. A folder whose shards are up to date was counted when they were written: a walk over the
        entries of 100,000 messages reads 7 MB.
        """
        gone = dict(self.rows(f"SELECT folder, COUNT(*) FROM entry WHERE {GONE} GROUP BY folder"))
        found: dict[int, int] = {}
        for folder, mailbox, messages, is_current in self.rows(f"SELECT id, mailbox, messages, {CURRENT} FROM folder"):
            entries = messages if is_current else self.count("entry WHERE folder = ?", folder)
            if entries > gone.get(folder, 0):
                found[mailbox] = found.get(mailbox, 0) + entries - gone.get(folder, 0)
        return found

    def rows(self, query: str, *values: object) -> list[Any]:
        return self.db.execute(query, values).fetchall()

    def mailbox_id(self, path: str, layout: str) -> int:
        """Finds or adds it; another layout than before makes its manifest dirty."""
        row = self.db.execute("SELECT id, layout FROM mailbox WHERE path = ?", (raw(path),)).fetchone()
        if row is None:
            added = self.db.execute("INSERT INTO mailbox (path, layout, dirty) VALUES (?, ?, 1)", (raw(path), layout))
            return int(added.lastrowid or 0)
        if row[1] != layout:
            self.db.execute("UPDATE mailbox SET layout = ?, dirty = 1 WHERE id = ?", (layout, row[0]))
        return int(row[0])

    def folder_id(self, mailbox: int, directory: str) -> int:
        key = (mailbox, raw(directory))
        row = self.db.execute("SELECT id FROM folder WHERE mailbox = ? AND directory = ?", key).fetchone()
        if row is None:
            return int(self.db.execute("INSERT INTO folder (mailbox, directory) VALUES (?, ?)", key).lastrowid or 0)
        return int(row[0])

    def has_content(self, id_: str) -> bool:
        return self.db.execute("SELECT 1 FROM content WHERE id = ?", (bytes.fromhex(id_),)).fetchone() is not None

    def known_contents(self, ids: Sequence[str]) -> set[str]:
        """Those of them that are in the archive: one question for a few dozen costs a tenth of one for each, and none costs nothing."""
        self._asked += len(ids)
        if self._perhaps is None and self._asked > MANY:
            self._perhaps = Perhaps()
            self._perhaps.add(id_.hex() for (id_,) in self.db.execute("SELECT id FROM content"))
        if self._perhaps is not None:
            ids = self._perhaps.among(ids)
        if not ids:
            return set()
        marks = ",".join("?" * len(ids))
        rows = self.rows(f"SELECT id FROM content WHERE id IN ({marks})", *map(bytes.fromhex, ids))
        return {id_.hex() for (id_,) in rows}

    def learn_segment(self, name: str, lines: Iterable[tuple[str, str]]) -> None:
        """A durable segment and its messages (id, canonical); for a message that is in two, the newest counts."""
        self.db.execute("INSERT OR IGNORE INTO segment (name) VALUES (?)", (name,))
        number = self.db.execute("SELECT id FROM segment WHERE name = ?", (name,)).fetchone()[0]
        pairs = [*lines]
        self.db.executemany(
            "INSERT OR REPLACE INTO content VALUES (?, ?, ?)",
            ((bytes.fromhex(id_), bytes.fromhex(other), number) for id_, other in pairs),
        )
        if self._perhaps is not None:
            self._perhaps.add(id_ for id_, _ in pairs)

    def sealed(self, segment: Sealed, mailbox: str) -> None:
        """Every row written so far speaks of durable bytes now. `mailbox`: whose messages they are."""
        self.learn_segment(segment.name, ((line.id, line.canonical) for line in segment.lines))
        self.db.execute("INSERT OR REPLACE INTO owned SELECT id, ? FROM segment WHERE name = ?", (raw(mailbox), segment.name))
        self.commit()

    # ------------------------------------------------------------ guards

    def raise_guard(self, mailbox: str, code: str, words: str, at: str) -> None:
        """`mailbox` "" means the whole server. A guard that stands keeps its first words."""
        put = "INSERT OR IGNORE INTO guard VALUES (?, ?, ?, ?)"
        self.has_news |= self.db.execute(put, (shown(mailbox), code, words, at)).rowcount > 0

    def guards(self) -> list[tuple[str, str, str]]:
        """(mailbox as `shown`, code, text) of every guard that stands."""
        return [(guard.place, guard.code, guard.text) for guard in self.standing()]

    def standing(self) -> tuple[Standing, ...]:
        rows = self.rows("SELECT mailbox, code, text, raised_at FROM guard ORDER BY raised_at, mailbox, code")
        return tuple(Standing(mailbox, code, words, datetime.fromisoformat(at)) for mailbox, code, words, at in rows)

    def is_guarded(self, mailbox: str) -> bool:
        return any(place in (shown(mailbox), "") for place, code, _ in self.guards() if code in CONTENT)

    def lift(self, code: str, mailbox: str | None = None) -> int:
        """Guards of this code, in one place or (None) everywhere; gives how many."""
        where = "code = ?" if mailbox is None else "code = ? AND mailbox = ?"
        values = (code,) if mailbox is None else (code, shown(mailbox))
        lifted = self.db.execute(f"DELETE FROM guard WHERE {where}", values).rowcount
        self.has_news |= lifted > 0
        return lifted

    def accept(self, mailbox: str | None = None, *, tampering: bool = False) -> int:
        """A person says that the loss (or, with `tampering`, the changed content) was theirs: lifts those guards of a mailbox (None: all).

        Gives how many messages leave the manifests. A guard on the whole server stands while other mailboxes lack messages.
        """
        kind = CHANGED if tampering else f"NOT {CHANGED}"
        left = gone = 0
        living = self.living()
        with self.db:
            for number, path in self.rows("SELECT id, path FROM mailbox"):
                which = f"gone_at IS NOT NULL AND {kind} AND folder IN (SELECT id FROM folder WHERE mailbox = ?)"
                name = shown(mailbox_name(text(path)))
                if mailbox is not None and name != shown(mailbox):
                    left += self.count(f"entry AS e WHERE {which}", number)
                    continue
                self.db.execute(
                    f"UPDATE folder SET dirty = 1 WHERE id IN (SELECT folder FROM entry AS e WHERE {which})", (number,)
                )
                went = self.db.execute(f"DELETE FROM entry AS e WHERE {which}", (number,)).rowcount
                self.db.execute("UPDATE mailbox SET dirty = 1 WHERE id = ?", (number,))
                if not tampering and (habit := habit_of(went, living.get(number, 0))):
                    self.put(f"emptied {name}", str(max(habit, int(self.get(f"emptied {name}") or 0))))
                gone += went
            for code in KINDS["tampering" if tampering else "loss"]:
                for place in [None] if mailbox is None else [mailbox] if left else [mailbox, ""]:
                    self.lift(code, place)
            self.db.execute("DELETE FROM meta WHERE key = 'window'")
        return gone

    # ------------------------------------------------------------ files

    def file(self, origin: str, path: str, stamp: str) -> FileRef | None:
        """The file as it was stored, if its stamp is still the same; `stamp` "" is never the same."""
        row = self.db.execute("SELECT stamp, ref FROM file WHERE origin = ? AND path = ?", (origin, raw(path))).fetchone()
        return FileRef(*json.loads(row[1])) if row is not None and row[0] == stamp and stamp else None

    def put_file(self, origin: str, path: str, stamp: str, ref: FileRef) -> None:
        values = json.dumps([ref.path, ref.digest, ref.size, ref.mode, ref.uid, ref.gid, ref.mtime])
        self.db.execute("INSERT OR REPLACE INTO file VALUES (?, ?, ?, ?)", (origin, raw(path), stamp, values))
        self.has_news = True

    def files(self, origin: str) -> tuple[FileRef, ...]:
        rows = self.rows("SELECT ref FROM file WHERE origin = ? ORDER BY path", origin)
        return tuple(FileRef(*json.loads(row[0])) for row in rows)

    def keep_files(self, origin: str, paths: Iterable[str]) -> int:
        """Forgets those of this origin that are not among `paths`; gives how many."""
        kept = {raw(path) for path in paths}
        dropped = [(origin, row[0]) for row in self.rows("SELECT path FROM file WHERE origin = ?", origin) if row[0] not in kept]
        self.db.executemany("DELETE FROM file WHERE origin = ? AND path = ?", dropped)
        self.has_news |= bool(dropped)
        return len(dropped)


def shown(name: str) -> str:
    """A name that anybody can print and store: bytes that are not UTF-8 as \\xNN."""
    return raw(name).decode("utf-8", "backslashreplace")


def mailbox_name(path: str) -> str:
    """DOMAIN/USER -> USER@DOMAIN."""
    domain, _, user = path.partition("/")
    return f"{user}@{domain}" if user else domain


def _with_twins(entries: Iterable[Entry]) -> Iterator[tuple[Entry, int]]:
    """Entries that differ in content alone get numbers below zero: no inode is known for them, and their files are digested anew."""
    before: dict[tuple[str, int, int], int] = {}
    for entry in entries:
        key = (entry.name, entry.size, entry.internal_date)
        before[key] = before.get(key, 0) + 1
        yield entry, 1 - before[key]


def _entry_row(folder: int, entry: Entry, names: list[str], twin: int) -> tuple[object, ...]:
    """Keywords without a letter, which came from a store that needs none, get the next ones of `names`."""
    names += (word for word in entry.keywords if word not in names)
    letters = entry.flags + "".join(sorted(keyword_letter(names.index(word)) for word in entry.keywords))
    content = bytes.fromhex(entry.id)
    key = (folder, raw(entry.name), entry.size, entry.internal_date, twin)
    return (*key, letters, entry.uid, content, entry.gone_at, content)
