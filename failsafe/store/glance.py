"""Everything that `status` shows, read at once by plain SQL, so that an SQLite database needs no SQLAlchemy: that alone costs more time than
`failsafe status` may take. Read-only; the schema is the one in `schema.py`, and a test compares the two.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failsafe.errors import SchemaMismatch, StoreError
from failsafe.store.version import HEAD

if TYPE_CHECKING:
    from failsafe.store.engine import Store

Row = Mapping[str, Any]
EVENTS_SHOWN = 20
BUSY_SECONDS = 5.0

_QUERIES = {
    "duty": "select name, started_at, ended_at, ok_at, result, details from duty",
    "domain_state": "select domain, state, since_at, serving, epoch, held_until, hold_reason, draining_until, details from domain_state",
    "unfinished": "select domain, kind, planned_at from intent where outcome is null",
    "backup_run": "select server, started_at, ended_at, result, report from backup_run where id in (select max(id) from backup_run group by server)",
    "good_run": (
        "select server, started_at, ended_at from backup_run where id in (select max(id) from backup_run where result = 'ok' group by server)"
    ),
    "repository_state": "select repository, restic_id, snapshots, last_snapshot_at, last_result, last_error, last_check_at, last_drill_at, details from repository_state",
    "doctor_run": "select at, findings, ready from doctor_run order by id desc limit 1",
    "lease": "select holder, expires_at from lease where name = 'controller'",
    "notice": "select count(*) as waiting, min(created_at) as oldest_at from notice where delivered_at is null",
    "vital": "select server, source, at, numbers from vital where id in (select max(id) from vital group by server, source)",
    "first_event": "select min(at) as at from event",
    "event": f"select id, at, name, subject, text from event order by id desc limit {EVENTS_SHOWN}",  # noqa: S608 - a constant
}
_INSTANTS = frozenset(
    {
        "at", "created_at", "ended_at", "expires_at", "held_until", "draining_until", "last_check_at", "last_drill_at", "last_snapshot_at", "ok_at",
        "oldest_at", "planned_at", "since_at", "started_at",
    }
)  # fmt: skip
_JSON = frozenset({"details", "report", "findings", "ready", "numbers"})


@dataclass(frozen=True, slots=True)
class Glance:
    """Rows by table; instants are aware, JSON is decoded. Empty where there is no database yet."""

    rows: Mapping[str, tuple[Row, ...]] = field(default_factory=dict)

    def all(self, table: str) -> tuple[Row, ...]:
        return self.rows.get(table, ())

    def one(self, table: str) -> Row | None:
        return next(iter(self.all(table)), None)

    def by(self, table: str, key: str) -> dict[str, Row]:
        return {row[key]: row for row in self.all(table)}


def glance_file(file: Path) -> Glance:
    """An SQLite database; one that is not there yet is empty. Raises SchemaMismatch, StoreError."""
    if not file.exists():
        return Glance()
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("begin")
            return _read(lambda query: [dict(row) for row in connection.execute(query)])
    except sqlite3.Error as error:
        if "no such table: alembic_version" in str(error):
            return Glance()
        raise StoreError(f"{file} cannot be read: {error}", mend="check the owner and mode of controller.state_dir") from error


def glance_store(store: Store) -> Glance:
    """Any database, through SQLAlchemy."""
    with store.read() as connection:
        return _read(lambda query: [dict(row) for row in connection.exec_driver_sql(query).mappings()])


def _read(select: Callable[[str], list[dict[str, Any]]]) -> Glance:
    found = select("select version_num from alembic_version")
    version = found[0]["version_num"] if found else None
    if version != HEAD:
        raise SchemaMismatch(
            f"the database has schema {version or '(none yet)'}, this version of failsafe needs {HEAD}",
            mend="run `failsafe db upgrade` (a running daemon does it when it starts)",
        )
    return Glance({table: tuple(_decoded(row) for row in select(query)) for table, query in _QUERIES.items()})


def _decoded(row: dict[str, Any]) -> Row:
    return {key: _value(key, value) for key, value in row.items()}


def _value(key: str, value: Any) -> Any:
    if value is None:
        return None
    if key in _INSTANTS:
        return datetime.fromisoformat(value)
    return json.loads(value) if key in _JSON else value
