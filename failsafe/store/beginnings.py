"""Notes that a duty has begun, by plain SQL: a pull begins before SQLAlchemy is there, which is loaded while the server answers."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from failsafe.store.file_systems import NETWORK_FILE_SYSTEMS, file_system_of
from failsafe.store.version import HEAD

INSTANT_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"  # as schema.py has it; a test compares the two
BUSY_SECONDS = 1.0  # the store waits longer


def note_started(file: Path, name: str, at: datetime) -> sqlite3.Connection | None:
    """What `DutyStore.started` writes, as durably, into an SQLite database that has this version's schema.

    Gives the connection, to be kept until the store has one: closing the last one of a WAL database rewrites its files. None where nothing was
    written, whatever the reason: the store then does it, or says why not.
    """
    if not file.exists() or file_system_of(file.parent) in NETWORK_FILE_SYSTEMS:
        return None
    with suppress(sqlite3.Error):
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            if _note(connection, name, at.astimezone(UTC).strftime(INSTANT_FORMAT)):
                return connection
        except sqlite3.Error:
            pass
        connection.close()
    return None


def _note(connection: sqlite3.Connection, name: str, at: str) -> bool:
    connection.execute("pragma synchronous=full")
    connection.execute("begin immediate")
    if connection.execute("select version_num from alembic_version").fetchall() != [(HEAD,)]:
        return False  # closing rolls back
    if connection.execute("update duty set started_at = ? where name = ?", (at, name)).rowcount == 0:
        connection.execute("insert into duty (name, started_at, result, details) values (?, ?, '', '{}')", (name, at))
    connection.execute("commit")
    return True
