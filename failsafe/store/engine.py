"""Opens the database, migrates it, and translates its errors.

SQLite runs in WAL mode with `synchronous=FULL`: the journal of a flip must survive a power cut of the NAS. Only `run`, `tick` and
`db upgrade` migrate, after a copy by SQLite's backup API; every other verb that meets another schema stops with exit 4.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import local
from typing import Any

from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from failsafe.errors import SchemaMismatch, StoreError
from failsafe.secrets import Secret
from failsafe.store.file_systems import NETWORK_FILE_SYSTEMS, file_system_of
from failsafe.store.version import HEAD
from failsafe.store.versions import copies_beside, known_revisions, migrate_to, way_out

BUSY_SECONDS = 15  # how long a writer waits for another one
COPIES_KEPT = 3


class Store:
    """The database of one controller."""

    def __init__(self, url: str, *, password: Callable[[], Secret] | None = None, file: Path | None = None) -> None:
        """`password` is asked at each new connection, so that a file that was replaced counts."""
        self.file = file
        self._engine = _engine(url, password)
        self._joined = local()  # .connection: that of `together`, in this thread

    @classmethod
    def sqlite(cls, file: Path) -> Store:
        """Raises StoreError where the folder cannot be used, or lies on a network file system (SQLite's locks fail there)."""
        folder = file.parent
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(
                f"cannot create {folder}: {error.strerror}",
                mend="set controller.state_dir to a folder that this user can write",
            ) from error
        kind = file_system_of(folder)
        if kind in NETWORK_FILE_SYSTEMS:
            raise StoreError(
                f"{folder} lies on a network file system ({kind}), where SQLite loses data",
                mend="set controller.state_dir to a local disk, or controller.database to PostgreSQL",
            )
        return cls(f"sqlite:///{file}", file=file)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back on any exception. Within `together` it is a part of that."""
        joined: Connection | None = getattr(self._joined, "connection", None)
        if joined is not None:
            yield joined
            return
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise _translated(error) from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for reading only; never waits for a writer on SQLite (WAL). Within `together` it sees what was written there."""
        joined: Connection | None = getattr(self._joined, "connection", None)
        if joined is not None:
            yield joined
            return
        try:
            with self._engine.connect().execution_options(readonly=True) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise _translated(error) from error

    @contextmanager
    def together(self) -> Iterator[None]:
        """All that this thread writes in the block is one transaction: all of it or nothing, and one write to the disk instead of many."""
        before = getattr(self._joined, "connection", None)
        with self.begin() as connection:
            self._joined.connection = connection
            try:
                yield
            finally:
                self._joined.connection = before

    def revision(self) -> str | None:
        """The schema's revision, None for an empty database."""
        with self.read() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("select version_num from alembic_version")).scalar()

    def require_current(self) -> None:
        """Raises SchemaMismatch unless the schema is exactly this version's."""
        found = self.revision()
        if found != HEAD:
            raise SchemaMismatch(
                f"the database has schema {found or '(none yet)'}, this version of failsafe needs {HEAD}", mend=self._mend(found)
            )

    def _mend(self, found: str | None) -> str:
        return way_out(found, self.file, known_revisions(migrations_folder()))

    def upgrade(self, now: datetime) -> bool:
        """Migrates to HEAD; a copy of an SQLite file is kept beside it. True if anything was done. Raises SchemaMismatch for one from the future."""
        found = self.revision()
        if found == HEAD:
            return False
        if found is not None and found not in known_revisions(migrations_folder()):
            self.require_current()
        if found is not None and self.file is not None:
            self._copy(found, HEAD, now)
        try:
            with self._engine.begin() as connection:
                migrate_to(connection, migrations_folder(), HEAD)
        except SQLAlchemyError as error:
            raise _translated(error) from error
        return True

    def downgrade(self, to: str, now: datetime) -> None:
        """To an older schema, for an older version; a copy of an SQLite file is kept beside it. All of it or nothing."""
        found = self.revision()
        if self.file is not None and found is not None:
            self._copy(found, to, now)
        try:
            with self._engine.begin() as connection:
                migrate_to(connection, migrations_folder(), to)
        except SQLAlchemyError as error:
            raise _translated(error) from error

    def lost_by(self, to: str) -> dict[str, int]:
        """The tables that the older schema has not, with their rows: it is tried, looked at, and taken back."""
        try:
            with self._engine.connect() as connection, connection.begin() as trial:
                before = _rows(connection)
                migrate_to(connection, migrations_folder(), to)
                after = inspect(connection).get_table_names()
                trial.rollback()
        except SQLAlchemyError as error:
            raise _translated(error) from error
        return {name: rows for name, rows in before.items() if name not in after}

    def close(self) -> None:
        self._engine.dispose()

    def _copy(self, revision: str, to: str, now: datetime) -> None:
        assert self.file is not None
        target = self.file.with_name(f"{self.file.name}.before-{to}-from-{revision}-{now:%Y%m%dT%H%M%SZ}")
        with closing(sqlite3.connect(self.file)) as source, closing(sqlite3.connect(target)) as copy:
            target.chmod(0o600)
            source.backup(copy)
        for old in copies_beside(self.file)[:-COPIES_KEPT]:
            old.unlink()


def _rows(connection: Connection) -> dict[str, int]:
    names = inspect(connection).get_table_names()
    return {name: connection.exec_driver_sql(f'select count(*) from "{name}"').scalar() or 0 for name in names}  # noqa: S608 - our own tables


def migrations_folder() -> Path:
    """Inside the wheel, or in the checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "_migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def _engine(url: str, password: Callable[[], Secret] | None) -> Engine:
    if url.startswith("sqlite"):
        # Connections are kept: closing the last one of a WAL database rewrites its files, and an idle NAS disk should sleep.
        engine = create_engine(url, pool_size=2, connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine, "connect", _sqlite_settings)
        event.listen(engine, "begin", _begin_immediately)
        return engine
    engine = create_engine(url, pool_pre_ping=True, pool_size=2, connect_args={"connect_timeout": BUSY_SECONDS})
    if password is not None:
        event.listen(engine, "do_connect", partial(_with_password, password))
    return engine


def _with_password(
    password: Callable[[], Secret], _dialect: object, _record: object, _arguments: object, words: dict[str, Any]
) -> None:
    words["password"] = password().reveal()


def _sqlite_settings(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves: the driver's own would begin too late for WAL
    connection.execute("pragma journal_mode=wal")
    connection.execute("pragma synchronous=full")
    connection.execute("pragma foreign_keys=on")


def _begin_immediately(connection: Connection) -> None:
    # A reader that turns writer in the middle of a transaction fails at once under WAL; taking the lock first waits instead.
    connection.exec_driver_sql("begin immediate" if not connection.get_execution_options().get("readonly") else "begin")


def _translated(error: SQLAlchemyError) -> StoreError:
    reason = str(getattr(error, "orig", None) or error).splitlines()[0]
    if "no such table" in reason or "does not exist" in reason:
        return SchemaMismatch(f"the database is not set up: {reason}", mend="run `failsafe db upgrade`")
    if "disk is full" in reason or "disk full" in reason:
        return StoreError("the database cannot grow: the disk is full", mend="free some space; nothing was lost")
    if "locked" in reason:
        return StoreError(f"the database stayed locked for {BUSY_SECONDS} s", mend="another failsafe is writing; try again")
    if "readonly" in reason or "unable to open" in reason:
        return StoreError(f"the database cannot be used: {reason}", mend="check the owner and mode of controller.state_dir")
    return StoreError(f"the database failed: {reason}")
