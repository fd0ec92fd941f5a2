"""The tables of an inventory (inventory.py)."""

from __future__ import annotations

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
CREATE INDEX temp.seen_base ON seen (base);
CREATE TEMP TABLE uid (folder INTEGER NOT NULL, base BLOB NOT NULL, uid INTEGER NOT NULL, PRIMARY KEY (folder, base)) WITHOUT ROWID;
"""
