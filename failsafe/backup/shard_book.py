"""Which shards of a folder are to be written anew: only those that hold an entry that changed, whoever changed it.

Without it one new message in a folder of 500,000 would mean reading, sorting and encoding all of them.
"""

# ruff: noqa: S608 - the parts put into queries are our own constants

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from failsafe.backup.archive.layout import UIDS_PER_SHARD

UNNUMBERED = -1  # the bucket of entries without a UID
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS shard (folder INTEGER NOT NULL, bucket INTEGER NOT NULL, names TEXT NOT NULL, PRIMARY KEY (folder, bucket))
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stale (folder INTEGER NOT NULL, bucket INTEGER NOT NULL, PRIMARY KEY (folder, bucket)) WITHOUT ROWID;
CREATE TRIGGER stale_new AFTER INSERT ON entry BEGIN
  INSERT OR IGNORE INTO stale VALUES (NEW.folder, coalesce(NEW.uid / {UIDS_PER_SHARD}, {UNNUMBERED})); END;
CREATE TRIGGER stale_old AFTER DELETE ON entry BEGIN
  INSERT OR IGNORE INTO stale VALUES (OLD.folder, coalesce(OLD.uid / {UIDS_PER_SHARD}, {UNNUMBERED})); END;
CREATE TRIGGER stale_changed AFTER UPDATE OF letters, uid, content, gone_at ON entry BEGIN
  INSERT OR IGNORE INTO stale VALUES (OLD.folder, coalesce(OLD.uid / {UIDS_PER_SHARD}, {UNNUMBERED}));
  INSERT OR IGNORE INTO stale VALUES (NEW.folder, coalesce(NEW.uid / {UIDS_PER_SHARD}, {UNNUMBERED})); END;
CREATE TRIGGER stale_letters AFTER UPDATE OF letters ON folder WHEN NEW.letters <> OLD.letters BEGIN
  DELETE FROM shard WHERE folder = NEW.id; END;
CREATE TRIGGER stale_folder AFTER DELETE ON folder BEGIN
  DELETE FROM shard WHERE folder = OLD.id; DELETE FROM stale WHERE folder = OLD.id; END;
"""
# of a folder: all of its entries are in shards, and `messages` is their number; the triggers tell of every entry that came or went since
CURRENT = "(NOT dirty AND NOT EXISTS (SELECT 1 FROM stale WHERE stale.folder = folder.id))"
TRIGGERS = ("stale_new", "stale_old", "stale_changed", "stale_letters", "stale_folder")


def settle(db: sqlite3.Connection) -> None:
    """Tables and triggers, of this size of shards. What is replaced is told too: an INSERT OR REPLACE deletes without a trigger otherwise."""
    db.execute("PRAGMA recursive_triggers = ON")
    if db.execute("SELECT value FROM meta WHERE key = 'shards by'").fetchone() == (str(UIDS_PER_SHARD),):
        return
    drops = "".join(f"DROP TRIGGER IF EXISTS {name};" for name in TRIGGERS)
    db.executescript(f"BEGIN; {drops} {SCHEMA} DELETE FROM shard; COMMIT;")
    with db:
        db.execute("INSERT OR REPLACE INTO meta VALUES ('shards by', ?)", (str(UIDS_PER_SHARD),))


class ShardBook:
    """The shards of each folder by bucket: UIDs b * 500 to b * 500 + 499, and one bucket for entries without a UID."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def stale(self, folder: int) -> tuple[int, ...]:
        """Buckets to write: all of them where none is known to be written."""
        if self._db.execute("SELECT 1 FROM shard WHERE folder = ? LIMIT 1", (folder,)).fetchone() is None:
            every = f"SELECT DISTINCT coalesce(uid / {UIDS_PER_SHARD}, {UNNUMBERED}) FROM entry WHERE folder = ?"
            return tuple(row[0] for row in self._db.execute(every, (folder,)).fetchall())
        return tuple(row[0] for row in self._db.execute("SELECT bucket FROM stale WHERE folder = ?", (folder,)).fetchall())

    def written(self, folder: int, bucket: int, names: tuple[str, ...]) -> None:
        if names:
            self._db.execute("INSERT OR REPLACE INTO shard VALUES (?, ?, ?)", (folder, bucket, " ".join(names)))
        else:
            self._db.execute("DELETE FROM shard WHERE folder = ? AND bucket = ?", (folder, bucket))

    def names(self, folder: int) -> Iterator[str]:
        """Of the whole folder, in order: by UID, those without last. Nothing is stale after that."""
        self._db.execute("DELETE FROM stale WHERE folder = ?", (folder,))
        for (names,) in self._db.execute(
            "SELECT names FROM shard WHERE folder = ? ORDER BY bucket < 0, bucket", (folder,)
        ).fetchall():
            yield from names.split()

    def forget(self) -> None:
        """Files that no generation names may have been cleared away: everything is written anew."""
        self._db.execute("DELETE FROM shard")


def place(bucket: int) -> tuple[str, tuple[int, ...]]:
    """A condition on an entry `e` of that bucket, and its values."""
    if bucket == UNNUMBERED:
        return "e.uid IS NULL", ()
    return "e.uid BETWEEN ? AND ?", (bucket * UIDS_PER_SHARD, bucket * UIDS_PER_SHARD + UIDS_PER_SHARD - 1)
