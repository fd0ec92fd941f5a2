"""What was seen of a mail server over the last days: room, queue, certificates, lines of its log, the canary's way. Days, not years.

Rows wait in memory and are written together, at most every FLUSH_EVERY, as evidence is, so that an idle NAS disk can sleep; a crash loses that much.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select

from failsafe.store.engine import Store
from failsafe.store.history import FLUSH_EVERY
from failsafe.store.schema import vital

KEPT = timedelta(days=7)
ROWS_KEPT = 20_000  # of all servers; a week of one has some 2,700
WAITING = 500  # rows that wait for the next write
ROWS_READ = 5_000


@dataclass(frozen=True, slots=True)
class VitalRow:
    """`source`: "inside" or "canary"; `numbers` as their writers make them (JSON values, no names of people, no secrets)."""

    server: str
    source: str
    at: datetime
    numbers: dict[str, Any]


class VitalsStore:
    """One process writes (the one that watches); others read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiting: list[VitalRow] = []
        self._flushed_at: datetime | None = None

    def record(self, row: VitalRow) -> None:
        """Adds one reading. Raises StoreError."""
        with self._lock:
            self._waiting = [*self._waiting, row][-WAITING:]
            if self._flushed_at is None or not timedelta(0) <= row.at - self._flushed_at < FLUSH_EVERY:
                self._flush(row.at)

    def flush(self, now: datetime) -> None:
        """Writes what is only in memory. A failed write keeps it there."""
        with self._lock:
            self._flush(now)

    def _flush(self, now: datetime) -> None:
        if self._waiting:
            rows = [{"server": row.server, "source": row.source, "at": row.at, "numbers": row.numbers} for row in self._waiting]
            with self._store.begin() as connection:
                connection.execute(insert(vital), rows)
        self._waiting, self._flushed_at = [], now

    def newest(self, server: str, source: str) -> VitalRow | None:
        with self._lock:
            waiting = [row for row in self._waiting if (row.server, row.source) == (server, source)]
        if waiting:
            return waiting[-1]
        query = select(vital).where(vital.c.server == server, vital.c.source == source).order_by(vital.c.id.desc()).limit(1)
        with self._store.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else VitalRow(row.server, row.source, row.at, row.numbers)

    def since(self, server: str, source: str, at: datetime) -> tuple[VitalRow, ...]:
        """From `at` on, the oldest first; of more than ROWS_READ the newest."""
        known = (vital.c.server == server, vital.c.source == source, vital.c.at >= at)
        with self._lock:
            with self._store.read() as connection:
                found = connection.execute(select(vital).where(*known).order_by(vital.c.id.desc()).limit(ROWS_READ)).all()
            waiting = [row for row in self._waiting if (row.server, row.source) == (server, source) and row.at >= at]
        return (*(VitalRow(row.server, row.source, row.at, row.numbers) for row in reversed(found)), *waiting)

    def tidy(self, now: datetime) -> None:
        """Bounds what is kept, once a day."""
        with self._store.begin() as connection:
            last = connection.execute(select(vital.c.id).order_by(vital.c.id.desc()).offset(ROWS_KEPT).limit(1)).scalar() or 0
            newest = select(func.max(vital.c.id)).group_by(vital.c.server, vital.c.source)
            old = (vital.c.at < now - KEPT) | (vital.c.id <= last)
            connection.execute(delete(vital).where(old, vital.c.id.not_in(newest)))
