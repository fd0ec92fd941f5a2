"""Gathers what is known of the repositories and of their drills. Judges nothing itself."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from failsafe.app import App
from failsafe.backup.doctor import (
    RepositoryCheckup,
)
from failsafe.backup.drill_doctor import DrillCheckup
from failsafe.config.keep import keep_warning
from failsafe.maintenance import rules_of
from failsafe.status.drilled import Drilled
from failsafe.status.upkeep import reading_of


def look_at_repositories(app: App) -> Iterable[RepositoryCheckup]:
    known = app.duties.repositories()
    for name, table in sorted(app.config.repository.items()):
        state = known.get(name)
        failed = state is not None and state.last_result not in ("", "ok")
        last_check_at = None if state is None else state.last_check_at
        reading = reading_of({} if state is None else state.details, table.check.every, last_check_at)
        yield RepositoryCheckup(
            name,
            table.check.every,
            None if state is None else state.last_snapshot_at,
            last_check_at,
            state.last_error or "no reason known" if state is not None and failed else "",
            damaged_at=None if reading is None else reading.coverage.damaged_at,
            reading="" if reading is None else str(reading),
            keep="" if rules_of(table).is_empty else str(rules_of(table)),
            maintenance_here=table.maintenance == "here",
            keep_warning=keep_warning(table),
        )


def look_at_drills(app: App) -> Iterable[DrillCheckup]:
    known, duties = app.duties.repositories(), app.duties.all()
    for name, table in sorted(app.config.repository.items()):
        state, duty = known.get(name), duties.get(f"drill:{name}")
        details = {} if state is None else state.details
        drill, since = Drilled.of(details), (details.get("added") or {}).get("since")
        first = None if state is None else state.last_snapshot_at if since is None else datetime.fromisoformat(since)
        yield DrillCheckup(
            name,
            table.drill_every,
            first,
            None if duty is None else duty.ok_at,
            "" if drill is None else drill.describe(),
            failed=drill is not None and not drill.passed,
        )
