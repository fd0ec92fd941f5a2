"""When each duty was last begun, ended and went well: what is due is derived from these rows, so a restart neither skips nor repeats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, insert, select, update

from failsafe.store.engine import Store
from failsafe.store.schema import backup_run, doctor_run, drill_run, duty, repository_state

RUNS_KEPT = 500  # per server
DRILLS_KEPT = 500  # per repository: some ten years of weekly ones


@dataclass(frozen=True, slots=True)
class DutyRecord:
    name: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    ok_at: datetime | None = None
    result: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RepositoryState:
    """What we know of a repository without asking it."""

    repository: str
    restic_id: str = ""
    snapshots: int | None = None
    last_snapshot_at: datetime | None = None
    last_result: str = ""
    last_error: str = ""
    last_check_at: datetime | None = None
    next_check_part: int = 1
    last_drill_at: datetime | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BackupRun:
    server: str
    started_at: datetime
    ended_at: datetime
    result: str
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DoctorRun:
    at: datetime
    findings: list[dict[str, Any]]
    ready: dict[str, bool]


class DutyStore:
    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> dict[str, DutyRecord]:
        with self._store.read() as connection:
            return {row["name"]: DutyRecord(**row) for row in connection.execute(select(duty)).mappings()}

    def started(self, name: str, now: datetime) -> None:
        self._change(name, {"started_at": now})

    def ended(self, name: str, now: datetime, *, ok: bool, result: str = "", details: dict[str, Any] | None = None) -> None:
        values: dict[str, Any] = {"ended_at": now, "result": result, "details": details or {}}
        if ok:
            values["ok_at"] = now
        self._change(name, values)

    def _change(self, name: str, values: dict[str, Any]) -> None:
        with self._store.begin() as connection:
            if connection.execute(update(duty).where(duty.c.name == name).values(values)).rowcount == 0:
                connection.execute(insert(duty).values({"name": name, "result": "", "details": {}, **values}))

    def moved(self, name: str, now: datetime, **details: Any) -> None:
        """A long run is on course: what it has done so far, beside what is remembered of it."""
        with self._store.begin() as connection:
            row = connection.execute(select(duty.c.details).where(duty.c.name == name)).first()
            if row is not None:
                values = {**row.details, **details, "moved_at": now.isoformat()}
                connection.execute(update(duty).where(duty.c.name == name).values(details=values))

    # -- backups ---------------------------------------------------------------------------------------------------------

    def add_backup_run(self, run: BackupRun) -> None:
        with self._store.begin() as connection:
            connection.execute(
                insert(backup_run).values(
                    server=run.server,
                    started_at=run.started_at,
                    ended_at=run.ended_at,
                    result=run.result,
                    report=run.report,
                )
            )
            kept = (
                select(backup_run.c.id)
                .where(backup_run.c.server == run.server)
                .order_by(backup_run.c.id.desc())
                .offset(RUNS_KEPT)
                .limit(1)
            )
            oldest = connection.execute(kept).scalar()
            if oldest is not None:
                connection.execute(delete(backup_run).where(backup_run.c.server == run.server, backup_run.c.id <= oldest))

    def change_reports(self, server: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Reports of past runs, where they must not say something any more."""
        with self._store.begin() as connection:
            for row in connection.execute(select(backup_run).where(backup_run.c.server == server)).all():
                if (changed := change(row.report)) != row.report:
                    connection.execute(update(backup_run).where(backup_run.c.id == row.id).values(report=changed))

    def last_backup(self, server: str, *, result: str | None = None) -> BackupRun | None:
        query = select(backup_run).where(backup_run.c.server == server).order_by(backup_run.c.id.desc()).limit(1)
        if result is not None:
            query = query.where(backup_run.c.result == result)
        with self._store.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else BackupRun(row.server, row.started_at, row.ended_at, row.result, row.report)

    # -- repositories ----------------------------------------------------------------------------------------------------

    def repositories(self) -> dict[str, RepositoryState]:
        with self._store.read() as connection:
            return {row["repository"]: RepositoryState(**row) for row in connection.execute(select(repository_state)).mappings()}

    def change_repository(self, name: str, **values: Any) -> None:
        with self._store.begin() as connection:
            if (
                connection.execute(update(repository_state).where(repository_state.c.repository == name).values(values)).rowcount
                == 0
            ):
                empty = {
                    "restic_id": "",
                    "last_result": "",
                    "last_error": "",
                    "next_check_part": 1,
                    "details": {},
                }
                connection.execute(insert(repository_state).values({"repository": name, **empty, **values}))

    def change_details(self, name: str, **details: Any) -> None:
        """Parts of what is known of a repository; a part that is a table is merged, so that servers do not write each other away."""
        with self._store.begin() as connection:
            row = connection.execute(select(repository_state.c.details).where(repository_state.c.repository == name)).first()
            if row is None:
                return
            before = row.details or {}
            merged = {key: {**before.get(key, {}), **value} if key == "holds" else value for key, value in details.items()}
            values = {"details": {**before, **merged}}
            connection.execute(update(repository_state).where(repository_state.c.repository == name).values(values))

    # -- drills ----------------------------------------------------------------------------------------------------------

    def add_drill(self, repository: str, started_at: datetime, ended_at: datetime, result: str, report: dict[str, Any]) -> None:
        values = {"repository": repository, "started_at": started_at, "ended_at": ended_at, "result": result, "report": report}
        of_this = drill_run.c.repository == repository
        with self._store.begin() as connection:
            connection.execute(insert(drill_run).values(values))
            kept = select(drill_run.c.id).where(of_this).order_by(drill_run.c.id.desc()).offset(DRILLS_KEPT).limit(1)
            oldest = connection.execute(kept).scalar()
            if oldest is not None:
                connection.execute(delete(drill_run).where(of_this, drill_run.c.id <= oldest))

    def change_drills(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Evidence of drills, where it must not name something any more."""
        with self._store.begin() as connection:
            for row in connection.execute(select(drill_run)).all():
                if (changed := change(row.report)) != row.report:
                    connection.execute(update(drill_run).where(drill_run.c.id == row.id).values(report=changed))

    def drills(self, repository: str) -> tuple[dict[str, Any], ...]:
        """The reports of all drills that are remembered, newest first."""
        query = select(drill_run.c.report).where(drill_run.c.repository == repository).order_by(drill_run.c.id.desc())
        with self._store.read() as connection:
            return tuple(row.report for row in connection.execute(query))

    # -- doctor ----------------------------------------------------------------------------------------------------------

    def add_doctor_run(self, run: DoctorRun) -> None:
        with self._store.begin() as connection:
            connection.execute(insert(doctor_run).values(at=run.at, findings=run.findings, ready=run.ready))
            oldest = connection.execute(
                select(doctor_run.c.id).order_by(doctor_run.c.id.desc()).offset(RUNS_KEPT).limit(1)
            ).scalar()
            if oldest is not None:
                connection.execute(delete(doctor_run).where(doctor_run.c.id <= oldest))

    def last_doctor_run(self, *, before: datetime | None = None) -> DoctorRun | None:
        """The newest; with `before`, the newest one that began before that instant."""
        query = select(doctor_run).order_by(doctor_run.c.id.desc()).limit(1)
        if before is not None:
            query = query.where(doctor_run.c.at < before)
        with self._store.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else DoctorRun(row.at, row.findings, row.ready)
