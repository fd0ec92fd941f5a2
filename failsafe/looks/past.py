"""What is known of earlier looks, as far as it decides whether to look again: their history, and what became of the login that they use."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from failsafe.app import App
from failsafe.failover.rounds import ASKED_AGAIN_LATER, Probe
from failsafe.looks.look import Look
from failsafe.model import ProbeClass, Sign
from failsafe.secrets import secret_path


def probe_of(app: App, look: Look, last_run_at: datetime | None, looks: Iterable[Look]) -> Probe:
    """One look with its past; `looks` are all of this configuration. Asks the database for more than the newest only while something is wrong."""
    newest = app.history.newest(look.server, look.vantage, look.axis)
    history = newest
    last = newest[-1].evidence if newest else None
    if last is not None and (last.seen is ProbeClass.PROBE_BLOCKED or Sign.BAD_CERTIFICATE in last.signs):
        history = app.history.recent(look.server, look.vantage, look.axis, newest[-1].last_at - ASKED_AGAIN_LATER)
    probe = Probe(look.name, look.interval, last_run_at or (newest[-1].last_at if newest else None), history)
    if not look.password_file:
        return probe
    kin = (other for other in looks if other.password_file == look.password_file)
    logins = tuple(run for other in kin for run in app.history.newest(other.server, other.vantage, other.axis))
    refused = any(Sign.LOGIN_REFUSED in run.evidence.signs for run in logins)
    changed_at = _changed_at(look.password_file) if refused else None
    return Probe(probe.name, probe.interval, probe.last_run_at, history, logins, changed_at)


def _changed_at(file: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(secret_path(file).stat().st_mtime, UTC)
    except OSError:
        return None
