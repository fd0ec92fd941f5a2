"""Puts a copy of an SQLite database back into its place."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path

from failsafe.errors import StoreError, UsageError


def put_back(file: Path, copy: Path, now: datetime) -> Path:
    """Gives where the database in use lies now. The copy itself stays. Raises UsageError for what is no sound database of failsafe's."""
    schema = _schema_of(copy)
    aside = file.with_name(f"{file.name}.aside-{now:%Y%m%dT%H%M%SZ}")
    fresh = file.with_name(f"{file.name}.putting-back")
    try:
        fresh.unlink(missing_ok=True)
        with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(fresh)) as target:
            fresh.chmod(0o600)
            source.backup(target)
        if file.exists():
            with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(aside)) as target:
                aside.chmod(0o600)
                source.backup(target)  # with what is still in its -wal file, which belongs to it and not to the copy
        for beside in ("-wal", "-shm"):
            file.with_name(file.name + beside).unlink(missing_ok=True)
        fresh.replace(file)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"{copy} (schema {schema}) could not be put back: {error}", mend="check the room and the owner of its folder"
        ) from error
    return aside


def _schema_of(copy: Path) -> str:
    if not copy.is_file():
        raise UsageError(f"there is no file {copy}", mend="the copies lie beside the database: failsafe.sqlite.before-…")
    try:
        with closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as opened:
            sound = opened.execute("pragma quick_check").fetchone()[0] == "ok"
            schema = opened.execute("select version_num from alembic_version").fetchone()
    except sqlite3.Error as error:
        raise UsageError(f"{copy} is not a database of failsafe's: {error}") from error
    if not sound or schema is None:
        raise UsageError(f"{copy} is damaged or empty", mend="take an older copy, or: failsafe init --from-kit")
    return str(schema[0])
