"""The catalog: every message ever seen, where, and from when to when. One SQLite file of its own, only ever a copy of what the archive says.

A row of `place` is one unbroken presence of one file in one folder; its content's facts are kept once in `message`. After a generation only
the mailboxes and shards that changed are read, a mailbox a transaction, the server's generation number last: a kill at any moment costs
repeated work, nothing else. A damaged file is put aside and made anew from the archive.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from failsafe.backup.archive import Archive, Location
from failsafe.backup.archive.layout import path_of
from failsafe.backup.archive.segment import read_range
from failsafe.errors import ArchiveError, StoreError
from failsafe.mail.headers import HEAD_BYTES, HEAD_LIMIT, Headers, head_is_whole, parse_headers
from failsafe.mail.manifest import Entry, FolderManifest, Generation, MailboxManifest

VERSION = 2  # another number in the file: it is made anew
DISK = "check the disk that holds state_dir, and that nothing else keeps the file locked"
PARSED_AT_ONCE = 2_000  # messages whose headers are read in one transaction

_SCHEMA = """
CREATE TABLE server (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, generation INTEGER NOT NULL DEFAULT 0, generation_at INTEGER);
CREATE TABLE mailbox (id INTEGER PRIMARY KEY, server INTEGER NOT NULL REFERENCES server, name BLOB NOT NULL, manifest TEXT, layout TEXT, UNIQUE (server, name));
CREATE TABLE folder (id INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL REFERENCES mailbox, name BLOB NOT NULL, directory BLOB, UNIQUE (mailbox, name));
CREATE TABLE shard (id INTEGER PRIMARY KEY, folder INTEGER NOT NULL REFERENCES folder, name TEXT NOT NULL, UNIQUE (folder, name));
CREATE TABLE message (
  id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, canonical BLOB NOT NULL, size INTEGER NOT NULL, opaque INTEGER NOT NULL,
  message_id TEXT NOT NULL, sender TEXT NOT NULL, recipient TEXT NOT NULL, subject TEXT NOT NULL, date INTEGER);
CREATE INDEX message_by_message_id ON message (message_id) WHERE message_id <> '';
CREATE TABLE place (
  id INTEGER PRIMARY KEY, folder INTEGER NOT NULL REFERENCES folder, message INTEGER NOT NULL REFERENCES message, name BLOB NOT NULL,
  shard INTEGER, uid INTEGER, internal_date INTEGER NOT NULL, flags TEXT NOT NULL, keywords TEXT NOT NULL,
  known_since INTEGER NOT NULL, first_seen INTEGER NOT NULL, last_seen INTEGER, gone INTEGER,
  first_generation INTEGER NOT NULL, last_generation INTEGER, replaced INTEGER NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX place_now ON place (folder, name, message) WHERE replaced = 0;
CREATE INDEX place_by_message ON place (message);
CREATE INDEX place_by_shard ON place (shard) WHERE shard IS NOT NULL;
CREATE INDEX place_by_date ON place (folder, internal_date);
CREATE INDEX place_by_gone ON place (gone) WHERE gone IS NOT NULL;
CREATE VIRTUAL TABLE words USING fts5 (sender, recipient, subject, content='', tokenize='trigram');
"""


class CatalogDamaged(StoreError):
    """The file is not what SQLite wrote. Nothing is lost: `rebuild_from` makes it anew."""


class Catalog:
    """Open with `Catalog.open`. One writer at a time; readers never wait for it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self.path = path

    @classmethod
    def open(cls, path: Path) -> Catalog:
        """Creates the file (mode 0600) where there is none; a damaged one, or one of another version, is put aside and begun anew.

        Raises StoreError where the disk fails.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return cls(_connect(path), path)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise StoreError(f"cannot open the catalog {path}: {error}", mend=DISK) from error
            _put_aside(path)
        try:
            return cls(_connect(path), path)
        except sqlite3.Error as error:
            raise StoreError(f"cannot open the catalog {path}: {error}", mend=DISK) from error

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()

    def generation_of(self, server: str) -> int:
        """The number of the newest generation that was taken in; 0 where nothing was."""
        row = self.connection.execute("SELECT generation FROM server WHERE name = ?", (server,)).fetchone()
        return 0 if row is None else int(row[0])

    def catch_up(self, archive: Archive, server: str) -> int:
        """Takes in every generation of a staging folder that is newer than what is known; gives the newest known number.

        An archive that is older than the catalog changes nothing; one that was begun anew after a loss counts from 1 again, and is taken in.
        """
        for number in archive.numbers():
            if number > self.generation_of(server) or number == archive.numbers()[-1]:
                with archive.held():
                    self.update(archive, archive.generation(number))
        return self.generation_of(server)

    def update(self, archive: Archive, generation: Generation) -> None:
        """Takes in one generation of its server. Raises ArchiveError for damaged metadata; damaged mail does not stop it."""
        with self.faults():
            _Update(self.connection, archive, generation).run()

    @contextlib.contextmanager
    def faults(self) -> Iterator[None]:
        """Translates what SQLite says while the catalog is used."""
        try:
            yield
        except sqlite3.Error as error:
            if _is_damage(error):
                raise CatalogDamaged(
                    f"the catalog {self.path} is damaged: {error}", mend="it is made anew from the archive"
                ) from error
            raise StoreError(f"the catalog {self.path} failed: {error}", mend=DISK) from error


class _Update:
    def __init__(self, connection: sqlite3.Connection, archive: Archive, generation: Generation) -> None:
        self.db, self.archive, self.generation = connection, archive, generation
        self.at = _seconds(generation.at)

    def run(self) -> None:
        with _transaction(self.db):
            self.db.execute("INSERT OR IGNORE INTO server (name) VALUES (?)", (self.generation.server,))
        row = self.db.execute(
            "SELECT id, generation, generation_at FROM server WHERE name = ?", (self.generation.server,)
        ).fetchone()
        self.server, self.before, self.before_at = int(row[0]), int(row[1]), row[2]
        if self.generation.number <= self.before and (self.before_at is None or self.at <= self.before_at):
            return
        for mailbox, manifest_name in self.generation.mailboxes.items():
            self._mailbox(mailbox, manifest_name)
        known = self.db.execute(
            "SELECT id, name FROM mailbox WHERE server = ? AND manifest IS NOT NULL", (self.server,)
        ).fetchall()
        with _transaction(self.db):
            for id_, name in known:
                if text_of(name) not in self.generation.mailboxes:
                    self._close_mailbox(id_)
            self.db.execute(
                "UPDATE server SET generation = ?, generation_at = ? WHERE id = ?", (self.generation.number, self.at, self.server)
            )

    def _mailbox(self, name: str, manifest_name: str) -> None:
        query = "SELECT id, manifest FROM mailbox WHERE server = ? AND name = ?"
        row = self.db.execute(query, (self.server, bytes_of(name))).fetchone()
        if row is not None and row[1] == manifest_name:
            return
        manifest = self.archive.manifest(manifest_name)
        known = {} if row is None else self._known_shards(row[0])
        fresh = {s for folder in manifest.folders for s in folder.shards if (folder.name, s) not in known}
        self._learn(manifest, fresh)
        with _transaction(self.db):
            id_ = self._row_id("mailbox", "server", self.server, bytes_of(name))
            kept: set[int] = set()
            for folder in manifest.folders:
                kept |= self._folder(id_, folder, known)
            for shard in set(known.values()) - kept:
                self._close("shard = ?", shard)
                self.db.execute("DELETE FROM shard WHERE id = ?", (shard,))
            self.db.execute("UPDATE mailbox SET manifest = ?, layout = ? WHERE id = ?", (manifest_name, manifest.layout, id_))

    def _known_shards(self, mailbox: int) -> dict[tuple[str, str], int]:
        rows = self.db.execute(
            "SELECT f.name, s.name, s.id FROM shard s JOIN folder f ON f.id = s.folder WHERE f.mailbox = ?", (mailbox,)
        )
        return {(text_of(folder), shard): int(id_) for folder, shard, id_ in rows}

    def _folder(self, mailbox: int, folder: FolderManifest, known: dict[tuple[str, str], int]) -> set[int]:
        """Takes in the shards that are new; gives the ids of all shards that the folder has now."""
        id_ = self._row_id("folder", "mailbox", mailbox, bytes_of(folder.name))
        self.db.execute("UPDATE folder SET directory = ? WHERE id = ?", (bytes_of(folder.directory), id_))
        kept = set()
        for name in folder.shards:
            shard = known.get((folder.name, name))
            if shard is None:
                shard = self._row_id("shard", "folder", id_, name)
                for entry in self.archive.shard(name):
                    self._place(id_, shard, entry)
            kept.add(shard)
        return kept

    def _place(self, folder: int, shard: int, entry: Entry) -> None:
        (message,) = self.db.execute("SELECT id FROM message WHERE digest = ?", (bytes.fromhex(entry.id),)).fetchone()
        name = bytes_of(entry.name)
        row = self.db.execute(
            "SELECT id, shard, gone, known_since FROM place WHERE folder = ? AND name = ? AND message = ? AND replaced = 0",
            (folder, name, message),
        ).fetchone()
        gone = None if entry.gone_at is None else _seconds(datetime.fromisoformat(entry.gone_at))
        last_seen = None if gone is None else (self.before_at or self.at)
        facts = (shard, entry.uid, entry.internal_date, entry.flags, json.dumps(entry.keywords))
        if row is not None and (row[1] is not None or gone is not None):
            self.db.execute(
                "UPDATE place SET shard = ?1, uid = ?2, internal_date = ?3, flags = ?4, keywords = ?5, last_generation = NULL, gone = ?6,"
                " last_seen = CASE WHEN ?6 IS NULL THEN NULL ELSE coalesce(last_seen, ?7) END WHERE id = ?8",
                (*facts, gone, last_seen, row[0]),
            )
            return
        if row is not None:  # it was away and is back: a presence of its own
            self.db.execute("UPDATE place SET replaced = 1 WHERE id = ?", (row[0],))
        since = self.at if row is None else row[3]
        self.db.execute(
            "INSERT INTO place (shard, uid, internal_date, flags, keywords, folder, message, name, known_since, first_seen,"
            " first_generation, gone, last_seen) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (*facts, folder, message, name, since, self.at, self.generation.number, gone, last_seen),
        )

    def _close(self, where: str, value: int) -> None:
        """What still hangs on a shard that is no more was not in any of the new ones: it is gone since this generation."""
        closed = "shard = NULL, gone = coalesce(gone, ?), last_seen = coalesce(last_seen, ?), last_generation = ?"
        self.db.execute(f"UPDATE place SET {closed} WHERE {where}", (self.at, self.before_at, self.before, value))  # noqa: S608 - constants

    def _close_mailbox(self, mailbox: int) -> None:
        self._close("shard IN (SELECT s.id FROM shard s JOIN folder f ON f.id = s.folder WHERE f.mailbox = ?)", mailbox)
        self.db.execute("DELETE FROM shard WHERE folder IN (SELECT id FROM folder WHERE mailbox = ?)", (mailbox,))
        self.db.execute("UPDATE mailbox SET manifest = NULL WHERE id = ?", (mailbox,))

    def _row_id(self, table: str, parent: str, parent_id: int, name: str | bytes) -> int:
        self.db.execute(f"INSERT OR IGNORE INTO {table} ({parent}, name) VALUES (?, ?)", (parent_id, name))  # noqa: S608 - constants
        row = self.db.execute(f"SELECT id FROM {table} WHERE {parent} = ? AND name = ?", (parent_id, name)).fetchone()  # noqa: S608
        return int(row[0])

    def _learn(self, manifest: MailboxManifest, shards: Iterable[str]) -> None:
        """Reads the headers of messages never seen. They are facts of the content alone, so each batch is a transaction of its own."""
        batch: dict[str, Entry] = {}
        for shard in sorted(shards):
            for entry in self.archive.shard(shard):
                if entry.id not in batch and not self._known(entry.id):
                    batch[entry.id] = entry
                if len(batch) >= PARSED_AT_ONCE:
                    self._learn_batch(manifest, batch)
                    batch = {}
        self._learn_batch(manifest, batch)

    def _known(self, id_: str) -> bool:
        return self.db.execute("SELECT 1 FROM message WHERE digest = ?", (bytes.fromhex(id_),)).fetchone() is not None

    def _learn_batch(self, manifest: MailboxManifest, batch: dict[str, Entry]) -> None:
        if not batch:
            return
        located = self.archive.locate(reversed(manifest.segments), batch)  # what is new lies in the newest
        with _transaction(self.db):
            for id_, headers in read_headers(self.archive, located.values()):
                self._insert_message(batch.pop(id_), headers)
            for entry in batch.values():  # in no segment that can be read: still listed, by mailbox, folder and date
                self._insert_message(entry, Headers(opaque=True))

    def _insert_message(self, entry: Entry, headers: Headers) -> None:
        cursor = self.db.execute(
            "INSERT INTO message (digest, canonical, size, opaque, message_id, sender, recipient, subject, date) VALUES (?,?,?,?,?,?,?,?,?)",
            (
                bytes.fromhex(entry.id),
                bytes.fromhex(entry.canonical),
                entry.size,
                headers.opaque,
                headers.message_id,
                headers.sender,
                headers.recipient,
                headers.subject,
                None if headers.date is None else _seconds(headers.date),
            ),
        )
        self.db.execute(
            "INSERT INTO words (rowid, sender, recipient, subject) VALUES (?,?,?,?)",
            (cursor.lastrowid, headers.sender.casefold(), headers.recipient.casefold(), headers.subject.casefold()),
        )


def read_headers(archive: Archive, locations: Iterable[Location]) -> Iterator[tuple[str, Headers]]:
    """(id, headers) of each message that can be read, segment by segment. Only the beginnings are read, so digests are not compared."""
    ordered = sorted(locations, key=lambda place: (place.segment, place.offset))
    name, file = "", None
    try:
        for place in ordered:
            try:
                if place.segment != name or file is None:
                    if file is not None:
                        file.close()
                    file = (archive.folder / path_of("segments", place.segment)).open("rb")
                    name = place.segment
                head = b"".join(read_range(file, place.offset, min(place.size, HEAD_BYTES)))
                if place.size > HEAD_BYTES and not head_is_whole(head):
                    head = b"".join(read_range(file, place.offset, min(place.size, HEAD_LIMIT)))
            except OSError:
                continue
            yield place.id, parse_headers(head)
    finally:
        if file is not None:
            file.close()


def open_current(path: Path, archives: Iterable[tuple[str, Archive]]) -> Catalog:
    """The catalog with everything in it that these servers' staging folders know; a damaged one is made anew."""
    known = tuple(archives)
    catalog = Catalog.open(path)
    try:
        for server, archive in known:
            catalog.catch_up(archive, server)
    except CatalogDamaged:
        catalog.close()
        return rebuild_from(path, known)
    return catalog


def rebuild_from(path: Path, archives: Iterable[tuple[str, Archive]]) -> Catalog:
    """A catalog made anew from these servers' archives (staging folders, or generations fetched from a repository)."""
    _put_aside(path)
    catalog = Catalog.open(path)
    for server, archive in archives:
        with contextlib.suppress(ArchiveError):  # a damaged archive is `verify`'s to tell; the others are still searchable
            catalog.catch_up(archive, server)
    return catalog


def bytes_of(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def text_of(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _connect(path: Path) -> sqlite3.Connection:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.close(handle)
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may lose the last transactions: they are made again
        connection.execute("PRAGMA cache_size = -32000")  # 32 MB
        _settle(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _settle(connection: sqlite3.Connection) -> None:
    """Makes the tables in an empty file. Raises sqlite3.DatabaseError for a file that is not ours."""

    def version() -> int:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])

    if version() == 0:
        with _transaction(connection):
            if version() == 0:  # else another process was quicker
                for statement in filter(str.strip, _SCHEMA.split(";\n")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")
    if version() != VERSION:
        raise sqlite3.DatabaseError(f"it has version {version()}, this program knows {VERSION}")
    connection.execute("SELECT id FROM server LIMIT 1").fetchone()


def _is_damage(error: sqlite3.Error) -> bool:
    """Not "locked", "disk full" or a programmer's mistake, which are subclasses."""
    return type(error) is sqlite3.DatabaseError


def _put_aside(path: Path) -> None:
    """Kept for a look, one of them: NAME.damaged."""
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    if path.exists():
        path.replace(path.with_name(path.name + ".damaged"))
