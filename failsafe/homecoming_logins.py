"""Logins at a secondary: which were refused, so that nobody repeats them. Shared by the doctor, who looks daily, and by gatherings, every few minutes.

A refused login is tried again when its password file changes, after a day, or when a person asks for it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from failsafe.app import App
from failsafe.config.secondaries import SecondaryServer
from failsafe.errors import MailError, SecretError
from failsafe.ports import MailSource, SourceMailbox
from failsafe.secrets import secret_path

LOGIN_AGAIN = timedelta(days=1)


class LoginMemory:
    """Of one domain's homecoming; what is noted is kept at once. Raises StoreError."""

    def __init__(self, app: App, domain: str) -> None:
        self._app, self._duty = app, f"homecoming-login:{domain}"
        row = app.duties.all().get(self._duty)
        self._refused: dict[str, list[str]] = {} if row is None else dict(row.details.get("refused", {}))

    def refused_at(self, user: str, password_file: Path, now: datetime) -> datetime | None:
        """When it was refused; None where it may be tried."""
        at, known = self._refused.get(user, ("", ""))
        if not at or known != _mark(password_file):
            return None
        then = datetime.fromisoformat(at)
        return then if timedelta(0) <= now - then < LOGIN_AGAIN else None

    def note(self, user: str, password_file: Path, now: datetime, *, refused: bool) -> None:
        before = dict(self._refused)
        self._refused.pop(user, None)
        if refused:
            self._refused[user] = [now.isoformat(), _mark(password_file)]
        if self._refused != before:
            self._keep(now)

    def forget_others(self, users: set[str], now: datetime) -> None:
        """Those that are not configured any more."""
        left = {user: refused for user, refused in self._refused.items() if user in users}
        if left != self._refused:
            self._refused = left
            self._keep(now)

    def _keep(self, now: datetime) -> None:
        self._app.duties.ended(self._duty, now, ok=not self._refused, details={"refused": self._refused})


class SparingSource:
    """MailSource of a secondary that leaves a refused login alone. `again`: a person asks, so it is tried all the same."""

    def __init__(self, app: App, server: SecondaryServer, source: MailSource, *, again: bool = False) -> None:
        self._app, self._source, self._again = app, source, again
        self._logins = {login.mailbox: login for login in server.logins}
        self._domain = server.domain
        self._memory = LoginMemory(app, server.domain)

    @property
    def name(self) -> str:
        return self._source.name

    def mailboxes(self) -> tuple[str, ...]:
        return self._source.mailboxes()

    def open(self, mailbox: str) -> SourceMailbox:
        login, now = self._logins[mailbox], self._app.clock.now()
        at = None if self._again else self._memory.refused_at(login.user, login.password_file, now)
        if at is not None:
            raise MailError(
                f"{login.user}: login refused on {at:%Y-%m-%d}, and not tried again since",
                mend=f'check user and password_file in [domain."{self._domain}".homecoming]; it is tried again when the file changes, or after a day',
                transient=False,
                credential=True,
            )
        try:
            box = self._source.open(mailbox)
        except MailError as error:
            if error.credential:
                self._memory.note(login.user, login.password_file, now, refused=True)
            raise
        self._memory.note(login.user, login.password_file, now, refused=False)
        return box


def _mark(password_file: Any) -> str:
    """Changes when the file does; says nothing of what is in it."""
    try:
        status = secret_path(password_file).stat()
    except (OSError, SecretError):
        return ""
    return f"{status.st_ino}/{status.st_mtime_ns}/{status.st_size}"
