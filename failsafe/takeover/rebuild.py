"""Staging and catalog of each server from the repositories, never from the server: its mail does not cross the wire again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from failsafe.adapters.lock import FileLock
from failsafe.adapters.process import interrupt_all
from failsafe.app import App
from failsafe.backup.archive.reader import Archive
from failsafe.backup.archive.staging import Staging
from failsafe.backup.guardbook import GuardBook
from failsafe.backup.inventory import Inventory
from failsafe.backup.own_files import read_knowledge
from failsafe.backup.refill import make_whole
from failsafe.backup.snapshot import host_of
from failsafe.backups import HEAVY_LOCK, WAIT_FOR_HEAVY
from failsafe.errors import ArchiveError, FailsafeError, Interrupted, ResticError
from failsafe.mail.manifest import Generation
from failsafe.ports import Narrator, Progress
from failsafe.repositories import keep_guards
from failsafe.store.duties import BackupRun
from failsafe.takeover.adopt import reading


@dataclass(frozen=True, slots=True)
class RebuiltServer:
    """`generation` None: nothing came, and `error` says why."""

    server: str
    generation: int | None = None
    messages: int = 0
    at: datetime | None = None
    error: str = ""
    mend: str = ""


def stored_secondaries(app: App, names: Sequence[str]) -> tuple[str, ...]:
    """Of what homecomings read, that of which any of these repositories holds a snapshot. One that does not answer has told so already."""
    wanted = {host_of(server): server for server in app.config.archived if server not in app.config.mail_server}
    found: set[str] = set()
    for name in names if wanted else ():
        with suppress(ResticError):
            found |= {wanted[info.host] for info in reading(app, name).snapshots() if info.host in wanted}
    return tuple(sorted(found))


def rebuild_server(
    app: App, server: str, names: Sequence[str], guards: Sequence[Mapping[str, Any]], progress: Progress, narrate: Narrator
) -> RebuiltServer:
    """What is there already is not fetched again. What fails is in the answer; Interrupted raises."""
    sources = [reading(app, name) for name in names]
    try:
        with FileLock(app.lock_file(HEAVY_LOCK), f"takeover of {server}").hold(wait_seconds=WAIT_FOR_HEAVY):
            with Staging.open(app.staging_folder(server), server, sets_aside=True) as staging:
                make_whole(staging, sources, progress, narrate, interrupt_all)
                newest = staging.newest()
                if newest is None:
                    raise ArchiveError(
                        f"{server}: no repository gave a snapshot of it", mend="look at the repositories; then run this again"
                    )
                _take_guards(app, server, staging, guards)
                _note_run(app, server, staging.archive, newest)
            return RebuiltServer(server, newest.number, newest.messages, newest.at)
    except Interrupted:
        raise
    except FailsafeError as error:
        return RebuiltServer(server, error=str(error), mend=error.mend)


def _take_guards(app: App, server: str, staging: Staging, guards: Sequence[Mapping[str, Any]]) -> None:
    """The ledger of what was pulled is made from staging; the guards that stood stand again, until a person accepts them."""
    with Inventory.open(app.inventory_file(server)) as inventory:
        inventory.begin(staging)
        standing = {one.place for one in inventory.standing()}
        for guard in guards:
            if guard["server"] == server and guard["place"] not in standing:
                inventory.raise_guard(guard["place"], guard["code"], guard["text"], guard["raised_at"])
        inventory.commit()
    keep_guards(app, server, GuardBook(app.inventory_file(server), server).guards())


def _note_run(app: App, server: str, archive: Archive, newest: Generation) -> None:
    """The pull that made this generation is not in the journal that it carries. Its mail is complete up to when that pull began, and it says when."""
    known, last = read_knowledge(archive, newest), app.duties.last_backup(server)
    rows = () if known is None else known.rows
    began = next((row["began_at"] for row in rows if row["table"] == "pull" and row["server"] == server), None)
    began_at = None if began is None else datetime.fromisoformat(str(began))
    if began_at is None or began_at > newest.at or (last is not None and last.ended_at >= newest.at):
        return
    report = {"messages": {"total": newest.messages}, "generation": newest.number}
    app.duties.add_backup_run(BackupRun(server, began_at, newest.at, str(newest.result), report))


def note_snapshots(app: App, name: str) -> str:
    """What a repository holds, for `status` until the next backup; "" or why that is not known."""
    try:
        listed = reading(app, name).snapshots()
    except FailsafeError as error:
        return str(error)
    if listed:
        at = max(info.at for info in listed)
        app.duties.change_repository(name, snapshots=len(listed), last_snapshot_at=at, last_result="ok")
    return ""


def rebuild_catalog(app: App, servers: Sequence[str]) -> str:
    """ "" where it is complete, else why not: it is only a copy, and the next search or backup goes on with it."""
    from failsafe.backup.catalog import open_current

    try:
        open_current(app.catalog_file, [(server, Archive(app.staging_folder(server))) for server in servers]).close()
    except FailsafeError as error:
        return str(error)
    return ""
