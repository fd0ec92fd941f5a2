"""The file of an inventory (inventory.py): its tables and indexes, made or brought up to date when it is opened."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from failsafe.backup.guards import TOLD
from failsafe.backup.shard_book import settle

FORMAT = "1"
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE segment (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE content (id BLOB PRIMARY KEY, canonical BLOB NOT NULL, segment INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE mailbox (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, layout TEXT NOT NULL, manifest TEXT, dirty INTEGER NOT NULL);
CREATE TABLE folder (id INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL, directory BLOB NOT NULL, cur INTEGER, new INTEGER,
  uidlist TEXT, keywords TEXT, letters TEXT NOT NULL DEFAULT '[]', uid_validity INTEGER, uid_next INTEGER, guid TEXT NOT NULL DEFAULT '',
  shards TEXT NOT NULL DEFAULT '[]', messages INTEGER NOT NULL DEFAULT 0, dirty INTEGER NOT NULL DEFAULT 1, proved_at TEXT,
  UNIQUE (mailbox, directory));
CREATE TABLE entry (folder INTEGER NOT NULL, base BLOB NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL, twin INTEGER NOT NULL,
  inode INTEGER NOT NULL, letters TEXT NOT NULL, uid INTEGER, content BLOB NOT NULL, gone_at TEXT,
  PRIMARY KEY (folder, base, size, mtime, twin)) WITHOUT ROWID;
CREATE TABLE file (origin TEXT NOT NULL, path BLOB NOT NULL, stamp TEXT NOT NULL, ref TEXT NOT NULL, PRIMARY KEY (origin, path));
CREATE TABLE guard (mailbox TEXT NOT NULL, code TEXT NOT NULL, text TEXT NOT NULL, raised_at TEXT NOT NULL, PRIMARY KEY (mailbox, code));
"""
# what one pull saw: of no use to the next, so it is neither logged nor synced
SEEN = """
CREATE TEMP TABLE pass (folder INTEGER NOT NULL, base BLOB NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL, inode INTEGER NOT NULL,
  sub TEXT NOT NULL, letters TEXT NOT NULL);
CREATE TEMP TABLE seen (folder INTEGER NOT NULL, base BLOB NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL, twin INTEGER NOT NULL,
  inode INTEGER NOT NULL, sub TEXT NOT NULL, letters TEXT NOT NULL, PRIMARY KEY (folder, base, size, mtime, twin)) WITHOUT ROWID;
CREATE TEMP TABLE uid (folder INTEGER NOT NULL, base BLOB NOT NULL, uid INTEGER NOT NULL, PRIMARY KEY (folder, base)) WITHOUT ROWID;
"""
GONE, UNNUMBERED = "gone_at IS NOT NULL", "uid IS NULL AND gone_at IS NULL"  # few entries are: each has an index of its own
INDEXES = {
    "entry_facts": "(mtime, size, inode)",  # with the date and the size first it tells the same name, too: it holds the key
    "entry_uid": "(folder, uid)",
    "entry_gone": f"(folder) WHERE {GONE}",
    "entry_unnumbered": f"(folder) WHERE {UNNUMBERED}",
}
OUTDATED = ("entry_base", "entry_inode", "imap_entry_uid")  # of earlier versions: each new entry was written into all of them


def tidy_letters(letters: str) -> str:
    """In one order, so that the same flags in another order are no change."""
    return "".join(sorted(set(letters)))


def connect(file: Path) -> sqlite3.Connection:
    """Opens or creates it. Raises sqlite3.DatabaseError where it is damaged or of another format, sqlite3.OperationalError where it cannot be opened just now."""
    db = sqlite3.connect(file, timeout=30, isolation_level="DEFERRED")
    try:
        file.chmod(0o600)
        db.create_function("tidy", 1, tidy_letters, deterministic=True)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA cache_size = -32000")  # 32 MB, of a file of 450 MB where there are a million messages
        db.execute("PRAGMA temp.cache_size = -48000")  # a listing of 500,000 messages is twice as large
        if db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0:
            db.executescript(SCHEMA)
            db.execute("INSERT INTO meta VALUES ('format', ?)", (FORMAT,))
            db.commit()
        db.execute(TOLD)
        if db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone() != (FORMAT,):
            raise sqlite3.DatabaseError("another format")  # noqa: TRY301 - one way out for all damage
        for name, of in INDEXES.items():
            db.execute(f"CREATE INDEX IF NOT EXISTS {name} ON entry {of}")
        for name in OUTDATED:
            db.execute(f"DROP INDEX IF EXISTS {name}")
        db.execute("CREATE TABLE IF NOT EXISTS owned (segment INTEGER PRIMARY KEY, mailbox BLOB NOT NULL)")
        db.executescript(SEEN)
        settle(db)
        was_clean = db.execute("SELECT 1 FROM meta WHERE key = 'clean'").fetchone() is not None
        if not was_clean and db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("damaged")  # noqa: TRY301
    except BaseException:
        db.close()
        raise
    return db


def index_seen(db: sqlite3.Connection) -> None:
    """Before what was seen is looked for by name alone: rarely, and the index costs as much as the listing itself."""
    db.execute("CREATE INDEX IF NOT EXISTS temp.seen_base ON seen (base)")
