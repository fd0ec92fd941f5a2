"""Puts the homecoming of a domain together from the configuration: what is gathered from the secondary. Used by the verb and by the daemon's children."""

from __future__ import annotations

from failsafe.app import App
from failsafe.backup.archive.reader import Archive
from failsafe.backup.report import BackupReport
from failsafe.backups import back_up
from failsafe.config.secondaries import CATCH_ALL, secondary_of
from failsafe.errors import UsageError
from failsafe.homecoming.gathered import Gathered
from failsafe.logs import get_log
from failsafe.ports import Narrator, Progress


def gather(app: App, domain: str, progress: Progress, narrate: Narrator | None = None, *, by_hand: bool = False) -> BackupReport:
    """One gathering: what lies at the secondary goes into its archive and into repositories; nothing is changed there.

    `by_hand`: windows of repositories do not count, and a login that was refused is tried again.
    What fails outside is in the report. Raises UsageError where the domain has no homecoming, Refused while another heavy job runs, StoreError.
    """
    _demand_homecoming(app, domain)
    return back_up(app, secondary_of(domain), progress, narrate or _to_log, by_hand=by_hand)


def gathered(app: App, domain: str) -> Gathered:
    """What gatherings have brought so far. Raises UsageError where the domain has no homecoming."""
    _demand_homecoming(app, domain)
    return Gathered(Archive(app.staging_folder(secondary_of(domain))), CATCH_ALL.format(domain))


def _demand_homecoming(app: App, domain: str) -> None:
    if app.domain(domain).homecoming is None:
        raise UsageError(
            f'[domain."{domain}"] has no homecoming: nobody knows where mail lies at its secondary',
            mend=f'add [domain."{domain}".homecoming] with host, port and accounts or catch_all (docs/homecoming.md)',
        )


def _to_log(text: str) -> None:
    get_log().info("homecoming.gather", text=text)
