"""Tells how a server's backups end, where that is news: one that fails each minute of a week would be ten thousand events that say the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from failsafe.app import App
from failsafe.backup.report import BackupReport
from failsafe.events import Event
from failsafe.model import Result

BAD = ("backup.failed", "backup.incomplete")
ENDINGS = ("backup.done", "backup.recovered", *BAD)
AGAIN = timedelta(hours=6)  # the same fault is told again after that


@dataclass(frozen=True, slots=True)
class BackupNews:
    """Of one server. `bad_since`: when the backup before this one had ended badly; None where it had not."""

    app: App
    server: str
    bad_since: datetime | None

    @classmethod
    def of(cls, app: App, server: str) -> BackupNews:
        """Call it before the run begins. Raises StoreError."""
        row = app.glance().by("duty", "name").get(f"backup:{server}")
        if row is None or row["ended_at"] is None or row["result"] not in (Result.FAILED, Result.INCOMPLETE):
            return cls(app, server, None)
        return cls(app, server, row["ok_at"] or row["ended_at"])

    def record(self, event: Event) -> None:
        """As `App.record`, but for what the newest event of a backup tells already, in the same words: a fault, or that nothing is new under a guard.

        Raises StoreError.
        """
        repeats = event.name in BAD or bool(event.details.get("unchanged"))
        if not repeats or not self._is_known(event):
            self.app.record(event)

    def tell_recovered(self, report: BackupReport) -> None:
        """After the run, whatever it brought: an unchanged one is no event of its own. Raises StoreError."""
        if self.bad_since is not None and report.result is Result.OK:
            text = (
                f"the backup is complete again; the last complete one before it had ended by {self.bad_since:%Y-%m-%d %H:%M} UTC"
            )
            self.app.record(Event("backup.recovered", self.server, text, self.app.clock.now()))

    def _is_known(self, event: Event) -> bool:
        last = self.app.events.newest(ENDINGS, self.server)
        same = last is not None and (last.name, last.text) == (event.name, event.text)
        return same and last is not None and timedelta(0) <= event.at - last.at < AGAIN
