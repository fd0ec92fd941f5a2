"""The tombstones in a server's inventory: read and written beside the inventory's own work, and by `search` without opening the rest."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from failsafe.backup.erased import Erased, Tombstone, erased_in, erased_of_rows
from failsafe.backup.inventory import Inventory, raw, text
from failsafe.errors import ArchiveError
from failsafe.mail.manifest import Generation

TABLE = "CREATE TABLE IF NOT EXISTS erased (name BLOB PRIMARY KEY, at TEXT NOT NULL, stands INTEGER NOT NULL)"


def settle(inventory: Inventory, newest: Generation | None, known: Erased) -> Erased:
    """Joins what the inventory, the newest generation and (`known`) the database say, and writes it down where it is news to the inventory."""
    before = _read(inventory.db)
    joined = before.joined(erased_in(newest)).joined(known)
    if joined != before:
        inventory.db.execute(TABLE)
        inventory.db.executemany(
            "INSERT OR REPLACE INTO erased VALUES (?, ?, ?)",
            ((raw(str(name)), at, stands) for name, at, stands in joined.rows()),
        )
        inventory.commit()
    return joined


def read_erased(file: Path) -> Erased:
    """Of an inventory that nobody has open, or that a pull is at work in; empty where there is none. Raises ArchiveError."""
    if not file.exists():
        return Erased()
    try:
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as db:
            return _read(db)
    except sqlite3.Error as error:
        raise ArchiveError(
            f"{file}: which mailboxes were erased cannot be read: {error}",
            mend="check space, modes and health of the disk with state_dir; a backup makes the file anew where it is damaged",
        ) from error


def _read(db: sqlite3.Connection) -> Erased:
    if db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'erased'").fetchone() is None:
        return Erased()
    rows = [[text(name), at, bool(stands)] for name, at, stands in db.execute("SELECT name, at, stands FROM erased")]
    return erased_of_rows(rows)


__all__ = ["Erased", "Tombstone", "read_erased", "settle"]
