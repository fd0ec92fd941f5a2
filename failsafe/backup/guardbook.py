"""The guards of one server between pulls: what stands, what was told. They lie in the inventory, so that one place knows them all.

Opened beside the inventory's own work and without its checks: a backup that failed early must be able to say what stands.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from failsafe.backup.guards import ABOUT, TOLD, Standing, join_alike, lifted_event, raised_event
from failsafe.errors import ArchiveError
from failsafe.events import Event
from failsafe.model import Guard


@dataclass(frozen=True, slots=True)
class GuardBook:
    """`file` is the server's inventory; where there is none yet, nothing stands. Raises ArchiveError."""

    file: Path
    server: str

    def standing(self) -> tuple[Standing, ...]:
        with self._open() as db:
            return () if db is None else _rows(db, "guard")

    def guards(self) -> tuple[Guard, ...]:
        return tuple(standing.guard(self.server) for standing in self.standing())

    def stand(self, code: str, text: str, now: datetime, place: str = "", *, about: str = "") -> None:
        """One that stands keeps its date; its words are those of the last time, and new ones are told again: yet another key, another disk.

        `about`: what exactly it is about, such as a key, for whoever is to lift it (`guards.ABOUT`).
        """
        with self._open() as db:
            if db is not None:
                put = "INSERT INTO guard VALUES (?, ?, ?, ?) ON CONFLICT (mailbox, code) DO UPDATE SET text = excluded.text"
                db.execute(put, (place, code, text, now.isoformat()))
                if about:
                    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (ABOUT.format(code), about))

    def lift(self, code: str, place: str = "") -> None:
        """Its cause is gone."""
        with self._open() as db:  # nothing is written where nothing changes: a pull may be at work in the same file
            if db is not None and any((one.place, one.code) == (place, code) for one in _rows(db, "guard")):
                db.execute("DELETE FROM guard WHERE mailbox = ? AND code = ?", (place, code))

    def news(self, now: datetime) -> tuple[Event, ...]:
        """What a person has not been told yet. `note_told` afterwards: a run that is killed in between tells it again, not never."""
        with self._open() as db:
            if db is None:
                return ()
            standing, told = _rows(db, "guard"), _rows(db, "told")
        known = {(one.place, one.code, one.text) for one in told}
        there = {(one.place, one.code) for one in standing}
        raised = [one for one in standing if (one.place, one.code, one.text) not in known]
        lifted = [one for one in told if (one.place, one.code) not in there]
        return (
            *(raised_event(self.server, one, now) for one in join_alike(raised)),
            *(lifted_event(self.server, one, now) for one in join_alike(lifted)),
        )

    def note_told(self) -> None:
        """Also after `accept`: what a person has ended is no news to them."""
        with self._open() as db:
            if db is not None and _rows(db, "guard") != _rows(db, "told"):
                db.execute("DELETE FROM told")
                db.execute("INSERT INTO told SELECT mailbox, code, text, raised_at FROM guard")

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        if not self.file.exists():
            yield None
            return
        try:
            with contextlib.closing(sqlite3.connect(self.file, timeout=30)) as db, db:
                db.execute(TOLD)
                yield db
        except sqlite3.Error as error:
            raise ArchiveError(
                f"{self.file}: the guards of {self.server} cannot be read: {error}",
                mend="check space, modes and health of the disk with state_dir; a backup makes the file anew where it is damaged",
            ) from error


def _rows(db: sqlite3.Connection, table: str) -> tuple[Standing, ...]:
    query = f"SELECT mailbox, code, text, raised_at FROM {table} ORDER BY raised_at, mailbox, code"  # noqa: S608 - our own names
    return tuple(Standing(place, code, text, datetime.fromisoformat(at)) for place, code, text, at in db.execute(query))
