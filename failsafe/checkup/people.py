"""Gathers what the doctor judges of people: whom a server has accounts for, who would be told, and which duties are late. Judges nothing itself."""

from __future__ import annotations

from datetime import datetime, timedelta

from failsafe.app import App
from failsafe.backup.doctor_accounts import AccountsSeen
from failsafe.backup.doctor_notify import NotifyCheckup
from failsafe.backup.doctor_overdue import judge_overdue
from failsafe.backup.notify_paths import Watched, dependent
from failsafe.errors import ArchiveError, FailsafeError
from failsafe.model import Finding


def look_at_accounts(app: App, server: str) -> AccountsSeen:
    """From the last snapshot's accounts, and what the homecomings of this server's domains fetch."""
    from failsafe.backup.accounts import read_accounts
    from failsafe.backup.archive.reader import Archive

    archive = Archive(app.staging_folder(server))
    try:
        accounts = read_accounts(archive, archive.generation())
    except ArchiveError:
        accounts = None
    fetched: dict[str, frozenset[str] | None] = {}
    for domain, table in app.config.domain.items():
        if table.server == server and table.homecoming is not None:
            home = table.homecoming
            mailboxes = frozenset(account.mailbox.lower() for account in home.accounts)
            fetched[domain] = None if home.catch_all is not None else mailboxes
    probe = app.config.probe.get(server)
    exempt = frozenset() if probe is None or probe.recipient is None else frozenset({probe.recipient.lower()})
    domains = () if accounts is None else tuple(name for name in accounts.domains if "." in name)
    return AccountsSeen(domains, fetched, exempt)


def look_at_notify(app: App, now: datetime) -> NotifyCheckup:
    """Raises StoreError."""
    file = app.config.notify.urls_file
    if file is None:
        return NotifyCheckup()
    from failsafe.adapters.notify import read_urls

    try:
        urls = read_urls(file)
    except FailsafeError as error:
        return NotifyCheckup(configured=True, error=str(error))
    waiting = sum(pending.attempts > 0 for pending in app.events.pending_notices(now + timedelta(days=1)))
    return NotifyCheckup(configured=True, waiting=waiting, depends=dependent(urls, _watched(app)))


def _watched(app: App) -> Watched:
    from failsafe.adapters.ssh import parse_address

    hosts = {name for table in app.config.domain.values() for name in table.primary}
    for server in app.config.mail_server.values():
        hosts |= {server.imap.host} if server.imap is not None else set()
        hosts |= {parse_address(str(server.ssh))[1]} if server.ssh is not None else set()
    return Watched(frozenset(name.lower() for name in app.config.domain), frozenset(host.lower() for host in hosts))


def late_duties(app: App, now: datetime) -> list[Finding]:
    """Every duty that has not gone well for too long, as `status` knows it. Raises StoreError."""
    from failsafe.status.build import build_status
    from failsafe.status.roster import roster_of

    return judge_overdue(build_status(roster_of(app.config), app.glance(), now).overdue)
