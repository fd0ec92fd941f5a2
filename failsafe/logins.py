"""Logins at mail servers: which were refused, so that nobody repeats them. Shared by all that log in on their own: pulls, gatherings, deliveries, the doctor.

A wrong password in a loop is what fail2ban is made for: docker-mailserver's bans for a week at the sixth in a week. So a refused login is tried again when
its password file changes, after eight days, or when a person asks for it; and where several were refused in that time, only those are tried that are known
to be good. Otherwise one wrong password that opens many mailboxes would be wrong as many times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from failsafe.errors import MailError, SecretError
from failsafe.failover.rounds import REFUSED_LOGIN_PAUSE
from failsafe.model import Endpoint
from failsafe.ports import MailSource, SourceMailbox
from failsafe.secrets import secret_path

if TYPE_CHECKING:
    from failsafe.adapters.imap_login import Login
    from failsafe.app import App

Opened = TypeVar("Opened")

LOGIN_AGAIN = REFUSED_LOGIN_PAUSE
# Logins that were never good: when so many were refused, no other one is tried. One refusal may be two lines of log, and more with a password that opens many.
RISKED = 3
RISKED_WITH_ONE_FILE = 2  # where nobody was ever let in with that password
LOST = 2  # logins that were good and are refused now: so many, beside others, and something is wrong with all of them
MENDED = "it is tried again when that file changes, or after eight days"


@dataclass(frozen=True, slots=True)
class Refusal:
    """`mark` of the place and the password file then; `was_good`: with that very file it had been let in before."""

    at: datetime
    mark: str
    was_good: bool = False

    def to_row(self) -> list[Any]:
        return [self.at.isoformat(), self.mark, self.was_good]

    @classmethod
    def of(cls, row: list[Any]) -> Refusal:
        return cls(datetime.fromisoformat(row[0]), row[1], bool(row[2:] and row[2]))


class LoginMemory:
    """Of one place where people log in, a primary's or a secondary's; what is noted is kept at once. Raises StoreError.

    `endpoint`: with another one a login is another, too. `again`: a person asks, so only what is refused from now on counts.
    """

    def __init__(self, app: App, place: str, endpoint: Endpoint, *, again: bool = False) -> None:
        self._app, self._duty, self._where = app, f"login:{place}", f"{endpoint.host}:{endpoint.port} {endpoint.tls}"
        self._since = app.clock.now() if again else None

    @cached_property
    def _details(self) -> dict[str, Any]:
        row = self._app.duties.all().get(self._duty)
        return {} if row is None else row.details

    @cached_property
    def _refused(self) -> dict[str, Refusal]:
        return {user: Refusal.of(each) for user, each in self._details.get("refused", {}).items()}

    @cached_property
    def _good(self) -> dict[str, str]:
        return dict(self._details.get("good", {}))

    def held(self, user: str, password_file: Path, now: datetime) -> str:
        """Why it is not tried; "" where it may be."""
        counting = {name: each for name, each in self._refused.items() if self._counts(each, now)}
        mine, mark = counting.pop(user, None), self._mark(password_file)
        if mine is not None:
            return f"login refused on {mine.at:%Y-%m-%d}, and not tried again since" if mine.mark == mark else ""
        if self._may_risk(counting, mark, is_good=self._good.get(user) == mark):
            return ""
        named = ", ".join(sorted(counting)[:RISKED])
        return (
            f"not tried: {len(counting)} other logins were refused there ({named}), and some more would get this machine banned"
        )

    def note(self, user: str, password_file: Path, now: datetime, *, refused: bool) -> None:
        before, mark = (dict(self._refused), dict(self._good)), self._mark(password_file)
        self._refused.pop(user, None)
        if refused:
            self._refused[user] = Refusal(now, mark, self._good.pop(user, None) == mark)
        else:
            self._good[user] = mark
        if before != (self._refused, self._good):
            self._keep(now)

    def forget_others(self, users: set[str], now: datetime) -> None:
        """Those that are not configured any more."""
        if not users >= {*self._refused, *self._good}:
            self._refused = {user: each for user, each in self._refused.items() if user in users}
            self._good = {user: mark for user, mark in self._good.items() if user in users}
            self._keep(now)

    def attempt(self, user: str, password_file: Path, log_in: Callable[[], Opened], mend: str) -> Opened:
        """What `log_in` gives, unless that login is held. Raises MailError (`credential`) then, and what `log_in` raises."""
        now = self._app.clock.now()
        why = self.held(user, password_file, now)
        if why:
            raise MailError(f"{user}: {why}", mend=f"{mend}; {MENDED}", transient=False, credential=True)
        try:
            opened = log_in()
        except MailError as error:
            if error.credential:
                self.note(user, password_file, now, refused=True)
            raise
        self.note(user, password_file, now, refused=False)
        return opened

    def _may_risk(self, others: Mapping[str, Refusal], mark: str, *, is_good: bool) -> bool:
        if is_good:
            return len(others) <= RISKED or sum(each.was_good for each in others.values()) < LOST
        alike = sum(each.mark == mark for each in others.values())
        return len(others) < RISKED and (alike < RISKED_WITH_ONE_FILE or mark in self._good.values())

    def _counts(self, refusal: Refusal, now: datetime) -> bool:
        if self._since is not None and refusal.at < self._since:
            return False
        return timedelta(0) <= now - refusal.at < LOGIN_AGAIN

    def _mark(self, password_file: Path) -> str:
        """Changes when the file does, or the server; says nothing of what is in it."""
        try:
            status = secret_path(password_file).stat()
        except (OSError, SecretError):
            return self._where
        return f"{self._where} {status.st_ino}/{status.st_mtime_ns}/{status.st_size}"

    def _keep(self, now: datetime) -> None:
        refused = {user: each.to_row() for user, each in self._refused.items()}
        self._app.duties.ended(self._duty, now, ok=not refused, details={"refused": refused, "good": self._good})


class SparingSource:
    """MailSource that leaves a refused login alone. `mend`: what to do about one."""

    def __init__(self, source: MailSource, memory: LoginMemory, login_of: Callable[[str], Login], mend: str) -> None:
        self._source, self._memory, self._login_of, self._mend = source, memory, login_of, mend

    @property
    def name(self) -> str:
        return self._source.name

    def mailboxes(self) -> tuple[str, ...]:
        return self._source.mailboxes()

    def open(self, mailbox: str) -> SourceMailbox:
        login = self._login_of(mailbox)
        return self._memory.attempt(login.user, login.password_file, lambda: self._source.open(mailbox), self._mend)
