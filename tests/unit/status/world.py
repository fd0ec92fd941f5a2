"""Values that the tests of status, words and web share: a roster, and a glance that is built by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from failsafe.backup.due import Duty
from failsafe.status.roster import DomainRow, Roster
from failsafe.store.glance import Glance

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
ROSTER = Roster(
    controller="nas",
    state_dir=Path("/nonexistent"),
    database="sqlite",
    time_zone="Europe/Warsaw",
    servers=("vps",),
    repositories=("nas", "offsite"),
    domains=(DomainRow("example.org", "vps", ("mail.example.org",), ("mx.example.net",), "auto", 1, 1, timedelta(minutes=1)),),
    duties=(Duty("backup:vps", QUARTER), Duty("doctor", timedelta(days=1), heavy=False)),
)


def ago(**parts: float) -> datetime:
    return NOW - timedelta(**parts)


def watch(at: datetime | None = None, **changed: Any) -> dict[str, Any]:
    """The row that the daemon leaves of a domain's watch."""
    details = {
        "mx": [[10, "mail.example.org"]],
        "guards": [],
        "health": {"inbound": "up", "delivery": "unknown", "access": "up", "submission": "unknown", "host": "unknown"},
        "vantages": [{"vantage": "here", "verdict": "up", "at": ago(minutes=1).isoformat()}],
        **changed,
    }
    when = at or ago(minutes=1)
    return {"name": "watch:example.org", "started_at": None, "ended_at": when, "ok_at": when, "result": "", "details": details}


def duty(name: str, at: datetime) -> dict[str, Any]:
    return {"name": name, "started_at": at, "ended_at": at, "ok_at": at, "result": "ok", "details": {}}


def repository(name: str, result: str = "ok", error: str = "") -> dict[str, Any]:
    at = ago(minutes=5)
    return {
        "repository": name, "snapshots": 41, "last_snapshot_at": at, "last_result": result, "last_error": error, "last_check_at": at, "last_drill_at": None,
    }  # fmt: skip


def run(result: str = "ok", at: datetime | None = None) -> dict[str, Any]:
    when = at or ago(minutes=5)
    return {"server": "vps", "started_at": when, "ended_at": when, "result": result, "report": {"messages": {"total": 1200}}}


def healthy(**changed: Any) -> Glance:
    """All is well, unless a table is given otherwise."""
    rows: dict[str, Any] = {
        "duty": (watch(), duty("backup:vps", ago(minutes=5)), duty("doctor", ago(hours=5))),
        "backup_run": (run(),),
        "good_run": (run(),),
        "repository_state": (repository("nas"), repository("offsite")),
        "lease": ({"holder": "nas", "expires_at": NOW},),
        "first_event": ({"at": ago(days=30)},),
        "notice": ({"waiting": 0, "oldest_at": None},),
        "event": ({"id": 1, "at": ago(minutes=5), "name": "backup.done", "subject": "vps", "text": "1200 messages"},),
        **changed,
    }
    return Glance(rows)


def state(name: str, *, serving: str = "primary", **changed: Any) -> dict[str, Any]:
    return {
        "domain": "example.org", "state": name, "since_at": ago(hours=2), "serving": serving, "epoch": 7, "held_until": None, "hold_reason": "",
        "draining_until": None, "details": {"reason": "here says down for 16 min"}, **changed,
    }  # fmt: skip
