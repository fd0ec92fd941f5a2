"""The catalog: every message ever seen, where, and from when to when. One SQLite file of its own, only ever a copy of what the archive says.

A row of `place` is one unbroken presence of one file in one folder; its content's facts are kept once in `message`. After a generation only
the mailboxes and shards that changed are read, a mailbox a transaction, the server's generation number last: a kill at any moment costs
repeated work, nothing else. A damaged file is put aside and made anew from the archive.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from failsafe.backup.archive import Archive
from failsafe.backup.catalog_update import Enough, Update, transaction
from failsafe.errors import ArchiveError, StoreError
from failsafe.mail.manifest import Generation

VERSION = 3  # another number in the file: it is made anew
DISK = "check the disk that holds state_dir, and that nothing else keeps the file locked"

_SCHEMA = """
CREATE TABLE server (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, generation INTEGER NOT NULL DEFAULT 0, generation_at INTEGER);
CREATE TABLE mailbox (id INTEGER PRIMARY KEY, server INTEGER NOT NULL REFERENCES server, name BLOB NOT NULL, manifest TEXT, layout TEXT, UNIQUE (server, name));
CREATE TABLE folder (id INTEGER PRIMARY KEY, mailbox INTEGER NOT NULL REFERENCES mailbox, name BLOB NOT NULL, directory BLOB, UNIQUE (mailbox, name));
CREATE TABLE shard (id INTEGER PRIMARY KEY, folder INTEGER NOT NULL REFERENCES folder, name TEXT NOT NULL, UNIQUE (folder, name));
CREATE TABLE message (
  id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, canonical BLOB NOT NULL, size INTEGER NOT NULL, opaque INTEGER NOT NULL, sealed INTEGER NOT NULL,
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
CREATE INDEX place_by_time ON place (internal_date);
CREATE INDEX place_by_gone ON place (gone) WHERE gone IS NOT NULL;
CREATE INDEX gone_by_time ON place (internal_date) WHERE gone IS NOT NULL;
CREATE VIRTUAL TABLE words USING fts5 (sender, recipient, subject, content='', tokenize='trigram');
"""


# (server, mailbox) -> whether nothing of it is to be taken in: it was erased
LeavesOut = Callable[[str, str], bool]


def _nothing(_server: str, _mailbox: str) -> bool:
    return False


class CatalogDamaged(StoreError):
    """The file is not what SQLite wrote. Nothing is lost: `rebuild_from` makes it anew."""


class TooMany(Exception):
    """More texts were compared than was allowed."""


class Catalog:
    """Open with `Catalog.open`. One writer at a time; readers never wait for it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection = connection
        self.path = path
        self.leaves_out: LeavesOut = _nothing
        self._comparisons_left = -1
        connection.create_function("folded_has", 2, self._folded_has, deterministic=True)
        connection.create_function("unhex_", 1, _unhex, deterministic=True)

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

    def catch_up(self, archive: Archive, server: str, enough: Callable[[], bool] = lambda: False) -> int:
        """Takes in every generation of a staging folder that is newer than what is known; gives the newest known number.

        Stops between two segments once `enough` is true: the next call goes on from there.
        An archive that is older than the catalog changes nothing; one that was begun anew after a loss counts from 1 again, and is taken in.
        """
        for number in archive.numbers():
            if number > self.generation_of(server) or number == archive.numbers()[-1]:
                with archive.held(), contextlib.suppress(Enough):
                    self.update(archive, archive.generation(number), enough)
        return self.generation_of(server)

    def update(self, archive: Archive, generation: Generation, enough: Callable[[], bool] = lambda: False) -> None:
        """Takes in one generation of its server. Raises ArchiveError for damaged metadata, Enough; damaged mail does not stop it."""
        with self.faults():
            Update(self.connection, archive, generation, enough, partial(self.leaves_out, generation.server)).run()

    @contextlib.contextmanager
    def comparing_at_most(self, count: int) -> Iterator[None]:
        """Inside, SQL fails with "user-defined function raised exception" once so many texts were compared."""
        self._comparisons_left = count
        try:
            yield
        finally:
            self._comparisons_left = -1

    def _folded_has(self, text: str, part: str) -> bool:
        self._comparisons_left -= 1
        if self._comparisons_left == 0:
            raise TooMany
        return part in text.casefold()

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


def open_current(
    path: Path,
    archives: Iterable[tuple[str, Archive]],
    enough: Callable[[], bool] = lambda: False,
    leaves_out: LeavesOut = _nothing,
    damaged: Callable[[str, ArchiveError], None] | None = None,
) -> Catalog:
    """The catalog with everything in it that these servers' staging folders know (less, where `enough` came true); a damaged one is made anew.

    `damaged`(server, error) is told of a staging folder that cannot be read, which is passed over then; without it ArchiveError is raised.
    """
    known = tuple(archives)
    catalog = Catalog.open(path)
    catalog.leaves_out = leaves_out
    try:
        for server, archive in known:
            try:
                catalog.catch_up(archive, server, enough)
            except ArchiveError as error:
                if damaged is None:
                    raise
                damaged(server, error)
    except CatalogDamaged:
        catalog.close()
        return rebuild_from(path, known, leaves_out)
    return catalog


def rebuild_from(path: Path, archives: Iterable[tuple[str, Archive]], leaves_out: LeavesOut = _nothing) -> Catalog:
    """A catalog made anew from these servers' staging folders."""
    _put_aside(path)
    catalog = Catalog.open(path)
    catalog.leaves_out = leaves_out
    for server, archive in archives:
        with contextlib.suppress(ArchiveError):  # a damaged archive is `verify`'s to tell; the others are still searchable
            catalog.catch_up(archive, server)
    return catalog


def take_place(fresh: Path, path: Path) -> None:
    """A finished catalog becomes the catalog, all at once. Whoever still has the old one open keeps that until closing it. Raises StoreError."""
    try:
        with contextlib.closing(sqlite3.connect(fresh)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        for ending in ("-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        fresh.replace(path)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"the catalog {path} could not be replaced: {error}", mend=DISK) from error


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
        with transaction(connection):
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


def _unhex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None
