"""Puts one server's backup together from the configuration, runs it, and keeps what came of it. Used by the verbs and by the daemon's children."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from failsafe.adapters.lock import FileLock
from failsafe.adapters.process import interrupt_all
from failsafe.app import App
from failsafe.backup.archive.reader import Archive
from failsafe.backup.archive.staging import Staging
from failsafe.backup.erased import Erased
from failsafe.backup.erasing import settle_erasures
from failsafe.backup.guardbook import GuardBook
from failsafe.backup.guards import Standing
from failsafe.backup.inventory import Inventory
from failsafe.backup.job import ServerJob, run_backup
from failsafe.backup.parts import Checkpoints
from failsafe.backup.pull import PullOptions, PullReport, pull
from failsafe.backup.report import BackupReport
from failsafe.backup.snapshot import host_of, read_tags
from failsafe.backup.stretch import Care
from failsafe.backup_news import BackupNews
from failsafe.canaries import canary_filter
from failsafe.config.secondaries import SecondaryServer
from failsafe.errors import ArchiveError, ExternalError, FailsafeError, Refused
from failsafe.homecoming.folders import views_in
from failsafe.homecoming.gathered import GONE_FOR
from failsafe.homecoming_begin import begin_of_homecoming
from failsafe.loading import load_meanwhile
from failsafe.model import Result, SnapshotInfo
from failsafe.own_state import carry_own_files, own_files_or_less
from failsafe.ports import Narrator, Progress
from failsafe.pulling import care_for, keep_part, keep_space
from failsafe.repositories import keep_guards, keep_holds, keep_mailboxes, keep_snapshots, settle_duties, target_of
from failsafe.store.beginnings import note_started
from failsafe.tombstones import Veil, keep_erased, stored_erased

# What writes down how a backup went, and what goes along into the archive: not needed before the server has answered.
LATER = ("failsafe.store.portable", "failsafe.store.duties", "failsafe.store.events")
HEAVY_LOCK = "heavy"  # one heavy job at a time on this machine: backup, check, drill
WAIT_FOR_HEAVY = timedelta(hours=1).total_seconds()
FULL_LISTING_EVERY = timedelta(days=1)  # folders are listed whatever their stamps say
FULL_LISTING_AGAIN = timedelta(hours=1)  # after one that ended incomplete: what it lacks may lack for weeks
CATALOGED_MEANWHILE = 5_000  # new messages; more take longer than restic, and from it one of two processors
LINGER = 0.5  # seconds for the catalog when all else is done
MISSING_KEPT = 100  # of a run's missing messages, in the shared database; all of them are in the archive


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """A snapshot of one server in one repository, read from its own tags."""

    repository: str
    server: str
    info: SnapshotInfo
    pinned: str = ""  # why it must not be lost now

    def to_json(self) -> dict[str, Any]:
        held = read_tags(self.info.tags)
        return {
            "repository": self.repository,
            "server": self.server,
            "snapshot_id": self.info.id,
            "at": f"{self.info.at:%Y-%m-%dT%H:%M:%SZ}",
            "result": held.result or None,
            "messages": held.messages,
            "pinned": bool(self.pinned),
        }


def back_up(app: App, server: str, progress: Progress, narrate: Narrator, *, by_hand: bool) -> BackupReport:
    """Pull, prove, snapshot, catalog. What fails outside is in the report. Raises Refused while another heavy job runs, ConfigError, StoreError."""
    app.server(server)  # raises UsageError for a name that is not configured
    _demand_no_restore(app, server)
    began = app.clock.now()
    _noted = _begin(app, f"backup:{server}", began)  # a connection, kept until the store has one
    news = BackupNews.of(app, server)
    checkpoints = Checkpoints()
    repositories = [app.repository(name) for name in sorted(app.config.repository)]
    ours = [one for one in repositories if by_hand or not app.is_far(one.name)]  # the others have jobs of their own
    catalog = _Cataloging(app, server, narrate)

    def pull_and_catalog(staging: Staging, shown: Progress) -> PullReport:
        care = care_for(app, server, checkpoints)
        pulled = _pull_or_tell(app, server, staging, shown, narrate, began, care, by_hand=by_hand)
        catalog.begin(pulled.new)
        if not pulled.unchanged:
            load_meanwhile("structlog")  # for the event at the end; restic works meanwhile
        return pulled

    job = ServerJob(
        server=server,
        staging=app.staging_folder(server),
        pull=pull_and_catalog,
        targets=tuple(target_of(app, repository, f"snapshot of {server}", by_hand=by_hand) for repository in ours),
        proofs=app.proofs_file(server),
        zone=app.time_zone,
        by_hand=by_hand,
        guards=GuardBook(app.inventory_file(server), server),
        others=tuple(one for one in repositories if one not in ours),
        sources=tuple(
            app.repository(name, environment_file=one.restore_environment_file, alone=True)
            for name, one in sorted(app.config.repository.items())
        ),
        narrate=narrate,
        checkpoints=checkpoints,
        carry=lambda staging: carry_own_files(app, server, staging, narrate),
        part_stored=lambda generation, served: keep_part(
            app, server, generation, served, {repository.name: repository.opened_id for repository in repositories}
        ),
        stop=interrupt_all,
    )
    lock = FileLock(app.lock_file(HEAVY_LOCK), f"backup of {server}").hold(wait_seconds=WAIT_FOR_HEAVY)
    report = run_backup(job, lock=lock, clock=app.clock, progress=progress, record=news.record)
    news.tell_recovered(report)
    catalog.end(idle=report.unchanged)
    _keep(app, report, began, {repository.name: repository.opened_id for repository in ours})
    return report


def restore_lock(app: App, server: str) -> FileLock:
    """Held while the whole server is restored: a pull of half a server would raise guards."""
    return FileLock(app.lock_file(f"server-restore:{server}"), f"a restore of {server}")


def unfinished_restore(app: App, server: str) -> Path:
    """There while the restore of a whole server has begun and has not ended well: half a server is no state to back up."""
    return app.state_dir / "restoring" / f"{app.inventory_file(server).stem}.json"


def _demand_no_restore(app: App, server: str) -> None:
    holder = restore_lock(app, server).holder()
    if holder is not None:
        raise Refused(f"{server} is being restored by {holder}", mend="its backups begin again when that has ended")
    unfinished = unfinished_restore(app, server)
    if unfinished.exists():
        raise Refused(
            f"a restore of {server} was cut off, and half of it is there",
            mend=f"run the same restore again: it goes on, and backups begin again; if you gave it up: rm {unfinished}",
        )


def _begin(app: App, duty: str, at: datetime) -> sqlite3.Connection | None:
    """As `duties.started`; an SQLite database of this version is written to without SQLAlchemy, which takes long to load."""
    noted = note_started(app.state_dir / "failsafe.sqlite", duty, at) if app.config.controller.database == "sqlite" else None
    if noted is None:
        app.duties.started(duty, at)
    return noted


def stored_snapshots(
    app: App, server: str | None, repository: str | None
) -> tuple[list[StoredSnapshot], list[tuple[str, ExternalError]]]:
    """What is stored where, oldest first, and which repositories could not be asked and why. Raises UsageError."""
    from failsafe.backup.freeze import pinned_by_guards

    servers = [server] if server is not None else sorted(app.config.archived)
    found: list[StoredSnapshot] = []
    silent: list[tuple[str, ExternalError]] = []
    for name in [repository] if repository is not None else sorted(app.config.repository):
        adapter = app.repository(name)
        try:
            for one in servers:
                listed = adapter.snapshots(host_of(one))
                pinned = pinned_by_guards(listed, _standing(app, one), one)
                found += [StoredSnapshot(name, one, info, pinned.get(info.id, "")) for info in listed]
        except ExternalError as error:  # one that is out of reach hides no other
            silent.append((name, error))
    return sorted(found, key=lambda stored: (stored.info.at, stored.repository)), silent


def _standing(app: App, server: str) -> tuple[Standing, ...]:
    try:
        return GuardBook(app.inventory_file(server), server).standing()
    except ArchiveError:
        return ()  # a backup and `forget` say so; here it is only not shown


def _pull_or_tell(
    app: App, server: str, staging: Staging, progress: Progress, narrate: Narrator, now: datetime, care: Care, *, by_hand: bool
) -> PullReport:
    """A full disk or a fault of SQLite is a failed backup that is recorded, and repositories still get what staging has."""
    try:
        return _pull(app, server, staging, progress, narrate, now, care, by_hand=by_hand)
    except (OSError, sqlite3.Error) as error:
        raise ArchiveError(
            f"{server}: the pull could not be kept on this machine: {error}",
            mend="check space, modes and health of the disks with state_dir and the temporary folder; then run the backup again",
        ) from error


def _pull(
    app: App, server: str, staging: Staging, progress: Progress, narrate: Narrator, now: datetime, care: Care, *, by_hand: bool
) -> PullReport:
    table = app.server(server)
    full = _is_full_listing_due(app, server, now)
    options = PullOptions(
        server=server,
        path="" if table.path is None else str(table.path),
        container=table.container or "",
        extra_paths=tuple(str(path) for path in table.extra_paths),
        commands=dict(table.commands),
        exclude_folders=table.exclude_folders,
        care=care,
        full_listing=full,
        layout=table.layout,
        same_clock=table.ssh is None,
        controller=lambda: own_files_or_less(app, narrate),
        erase_after=app.config.controller.erase_after,
        leave_out=canary_filter(app.state_dir),
        meanwhile=lambda: load_meanwhile(*LATER),
    )
    if isinstance(table, SecondaryServer):
        options = replace(options, keep_gone=GONE_FOR, views_in=views_in, since=begin_of_homecoming(app, table.domain))
    source = app.mail_source(server, again=by_hand)
    with Inventory.open(app.inventory_file(server)) as inventory:
        options = replace(options, erased=_settle_erasures(app, server, staging, inventory, narrate))
        if source is None:
            report = pull(app.mail_host(server), staging, inventory, options, app.clock, progress, narrate)
        else:
            from failsafe.backup.imap_pull import pull_over_imap

            report = pull_over_imap(source, app.mail_host(server), staging, inventory, options, app.clock, progress, narrate)
    if full:
        app.duties.ended(f"full-listing:{server}", app.clock.now(), ok=report.result is Result.OK)
    return report


def _is_full_listing_due(app: App, server: str, now: datetime) -> bool:
    """One of the future was written by a clock that has been set back since."""
    last = app.glance().by("duty", "name").get(f"full-listing:{server}")
    if last is None or last["ended_at"] is None:
        return True
    is_good = last["ok_at"] is not None and last["ok_at"] >= last["ended_at"]
    return not timedelta(0) <= now - last["ended_at"] < (FULL_LISTING_EVERY if is_good else FULL_LISTING_AGAIN)


def _settle_erasures(app: App, server: str, staging: Staging, inventory: Inventory, narrate: Narrator) -> Erased:
    """Which mailboxes are not to be pulled; what of them came back, or was left by a kill, goes first. All places know the same afterwards."""
    erased, cleared = settle_erasures(staging, inventory, stored_erased(app, server), lambda: own_files_or_less(app, narrate))
    if erased.by_name:
        keep_erased(app, server, erased)
    if cleared is not None:
        if app.catalog_file.exists():
            from failsafe.backup.catalog import Catalog
            from failsafe.backup.catalog_erase import erase_mailboxes

            with Catalog.open(app.catalog_file) as catalog:
                erase_mailboxes(catalog, server, erased.covers)
        narrate(f"{', '.join(cleared.mailboxes)}: erased, and taken out of staging")
    return erased


class _Cataloging:
    """Brings the catalog up to date while repositories are written: this process only waits for restic meanwhile.

    A first pull brings more than that time is enough for. Its report is not kept waiting: the next runs take in the rest, or a search does.
    """

    def __init__(self, app: App, server: str, narrate: Narrator) -> None:
        self._narrate, self._enough, self._much = narrate, threading.Event(), False
        arguments = (app, server, narrate, self._enough.is_set)
        self._thread = threading.Thread(target=_catalog, args=arguments, name="catalog", daemon=True)

    def begin(self, new: int = 0) -> None:
        """`new`: messages that came in this run."""
        self._much = new > CATALOGED_MEANWHILE
        if self._thread.ident is None and not self._much:
            self._thread.start()

    def end(self, *, idle: bool) -> None:
        """`idle`: this run had nothing else to do, and may finish it."""
        if idle or not self._much:
            self.begin()  # the pull failed, or nothing came: an earlier run may have been cut off before this
            self._thread.join(None if idle else LINGER)
        if self._much or self._thread.is_alive():
            self._enough.set()
            if self._thread.ident is not None:
                self._thread.join()
            self._narrate("the catalog for `failsafe search` is not complete yet: the next runs go on with it, or a search does")


def _catalog(app: App, server: str, narrate: Narrator, enough: Callable[[], bool]) -> None:
    """The catalog is only a copy: a fault in it is told, and never makes a good backup bad."""
    from failsafe.backup.catalog import open_current

    if not (app.staging_folder(server) / "generations").is_dir():
        return
    try:
        open_current(app.catalog_file, [(server, Archive(app.staging_folder(server)))], enough, Veil(app).hides).close()
    except FailsafeError as error:
        narrate(f"the catalog could not be brought up to date: {error}")


def _keep(app: App, report: BackupReport, began: datetime, ids: dict[str, str]) -> None:
    """The run, and what is known of each repository, for `status` and for what is due next: at once, so that the disk is written to once."""
    with app.store.together():
        _keep_all(app, report, began, ids)


def _keep_all(app: App, report: BackupReport, began: datetime, ids: dict[str, str]) -> None:
    from failsafe.store.duties import BackupRun

    now = app.clock.now()
    shown: dict[str, Any] = report.to_json()
    shown["missing"] = shown["missing"][:MISSING_KEPT]
    app.duties.add_backup_run(BackupRun(report.server, began, now, str(report.result), shown))
    app.duties.ended(f"backup:{report.server}", now, ok=report.result is Result.OK, result=str(report.result))
    keep_guards(app, report.server, report.guards)
    went_well = report.pulled is Result.OK and not report.troubles
    holding = keep_holds(app, report.server, report.generation, began if went_well else None, app.config.repository)
    keep_snapshots(app, report.snapshots, ids)
    if report.proved:
        keep_mailboxes(app, report.server, report.proved, report.generation, began)
    settle_duties(app, report, ids, holding)
    keep_space(app)
