"""Status -> the JSON of `status --json`, exactly the promised shape. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from failsafe import __version__
from failsafe.failover.ways_out import way_out
from failsafe.model import ObservedFlip
from failsafe.status.course import Pull
from failsafe.status.values import DomainStatus, ServerStatus, Status, Upload


def to_json(status: Status) -> dict[str, Any]:
    """Exactly the promised shape, and `findings` and `answers` beside it."""
    return {
        "at": instant(status.at),
        "controller": {"id": status.controller, "leader": status.leader, "version": __version__},
        "domains": [_domain_json(domain) for domain in status.domains],
        "servers": [_server_json(server, status.at) for server in status.servers],
        "repositories": [
            {
                "repository": each.repository,
                "status": each.status,
                "snapshots": each.snapshots,
                "last_snapshot_at": instant(each.last_snapshot_at),
                "last_check_at": instant(each.last_check_at),
                "last_drill_at": instant(each.last_drill_at),
                "last_drill": None if each.drill is None else each.drill.to_json(),
                **({"upload": _upload_json(each.upload)} if each.upload else {}),
                **({"work": each.work.to_json()} if each.work is not None else {}),
                **({"bucket": dict(each.bucket)} if each.bucket else {}),
                **({"coverage": each.reading.to_json()} if each.reading is not None else {}),
                **({"retention": each.retention.to_json()} if each.retention.at is not None else {}),
            }
            for each in status.repositories
        ],
        "disk_full_at": instant(status.disk_full_at),
        "findings": [
            {"code": each.code, "severity": str(each.severity), "subject": each.subject, "text": each.text, "mend": each.mend}
            for each in status.findings
        ],
    }


def _upload_json(upload: Upload) -> dict[str, Any]:
    return {"since": instant(upload.since), "bytes_done": upload.done, "bytes_total": upload.total, "percent": upload.percent}


def _domain_json(domain: DomainStatus) -> dict[str, Any]:
    return {
        "domain": domain.domain,
        "state": str(domain.state),
        "since": instant(domain.since),
        "serving": str(domain.serving),
        "mx": [{"preference": preference, "exchange": exchange} for preference, exchange in domain.mx],
        "guards": [{"code": guard.code, "text": guard.text, "mend": way_out(guard, domain.domain)} for guard in domain.guards],
        "health": domain.health,
        "vantages": [{"vantage": each.vantage, "verdict": str(each.verdict), "at": instant(each.at)} for each in domain.vantages],
        "held_until": instant(domain.held_until),
        "draining": domain.draining,
        "mode": domain.mode,
        "observed": [_observed_json(flip) for flip in domain.observed],
        "halt": None if domain.halt is None else domain.halt.to_json(),
        "last_drill": None if domain.drill is None else domain.drill.to_json(),
    }


def _observed_json(flip: ObservedFlip) -> dict[str, Any]:
    return {
        "kind": str(flip.kind),
        "at": instant(flip.at),
        "why": list(flip.why),
        "change": list(flip.change),
        "held_up_by": list(flip.guards),
        "over_at": instant(flip.over_at),
    }


def _server_json(server: ServerStatus, now: datetime) -> dict[str, Any]:
    last = (
        None
        if server.last_at is None
        else {"at": instant(server.last_at), "result": server.last_result, "messages": server.messages}
    )
    age = None if server.recovery_point_at is None else max(int((now - server.recovery_point_at).total_seconds()), 0)
    guards = [{"code": guard.code, "text": guard.text, "mend": guard.mend} for guard in server.guards]
    return {
        "server": server.server,
        "status": server.status,
        "last_backup": last,
        "recovery_point_age_seconds": age,
        "guards": guards,
        "mailboxes": [
            {"mailbox": each.mailbox, "proved_at": instant(each.proved_at), "safe_at": instant(each.safe_at)}
            for each in server.mailboxes
        ],
        **({"pull": _pull_json(server.pull)} if server.pull is not None else {}),
    }


def _pull_json(pull: Pull) -> dict[str, Any]:
    return {
        "percent": pull.percent,
        "bytes_done": pull.done,
        "bytes_total": pull.total,
        "rate_bytes_per_second": pull.rate,
        "expected_end_at": instant(pull.expected_end_at),
        "moved_at": instant(pull.moved_at),
        "moving": pull.moving,
    }


def instant(at: datetime | None) -> str | None:
    """UTC with seconds, as all JSON of failsafe."""
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"
