"""What is known of a login that looks use: what each of them last saw of it, and when its password last changed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from failsafe.app import App
from failsafe.failover.health import EvidenceRun
from failsafe.failover.rounds import ASKED_AGAIN_LATER, LOGIN_REFUSED
from failsafe.looks.look import Look
from failsafe.mail.replies import CERTIFICATE_FAULT
from failsafe.secrets import secret_path

Known = tuple[tuple[EvidenceRun, ...], tuple[EvidenceRun, ...], datetime | None]


def known(app: App, look: Look, newest: tuple[EvidenceRun, ...], looks: Iterable[Look]) -> Known:
    """For a look whose newest run is `newest`: its history as far as it matters, the newest of all looks with the same login, and when
    the password changed. Asks the database for more only while there is something wrong with the login."""
    history = newest
    if newest and CERTIFICATE_FAULT in newest[-1].evidence.text:
        history = app.history.recent(look.server, look.vantage, look.axis, newest[-1].last_at - ASKED_AGAIN_LATER)
    kin = (other for other in looks if other.password_file == look.password_file)
    logins = tuple(run for other in kin for run in app.history.newest(other.server, other.vantage, other.axis))
    refused = any(run.evidence.text.startswith(LOGIN_REFUSED) for run in logins)
    return history, logins, _changed_at(look.password_file) if refused else None


def _changed_at(file: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(secret_path(file).stat().st_mtime, UTC)
    except OSError:
        return None
