"""Erases mailboxes from everything that failsafe keeps here, and says when the last copy disappears elsewhere. Used by the verb `erase`.

First the word that keeps them out, in the database; from then on nothing of them is pulled, found or restored. Then staging, inventory and
catalog. Each step can be run again; what a kill left, the next run or the next backup finishes.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from failsafe.adapters.lock import FileLock, LockBusy
from failsafe.app import App
from failsafe.backup.archive import Archive
from failsafe.backup.catalog import Catalog
from failsafe.backup.catalog_erase import erase_mailboxes, mailboxes_in
from failsafe.backup.erased import Erased, Tombstone, belongs_to
from failsafe.backup.erasing import Cleared, Eraser
from failsafe.backup.erasure_book import settle
from failsafe.backup.freeze import judge_server
from failsafe.backup.inventory import Inventory
from failsafe.backup.last_copy import Holding, LastCopy, foresee
from failsafe.backup.snapshot import host_of
from failsafe.backups import HEAVY_LOCK
from failsafe.errors import ArchiveError, FailsafeError, UsageError
from failsafe.events import Event
from failsafe.maintenance import repository_freezes, rules_of, view_server
from failsafe.own_state import own_files_or_less
from failsafe.ports import Narrator
from failsafe.status.roster import FORGET_EVERY, PRUNE_EVERY
from failsafe.tombstones import first_without, keep_erased, known_erased

LOCK_WAIT_SECONDS = 10.0  # for a backup or check that is about to end


@dataclass(frozen=True, slots=True)
class Target:
    """What is known of the name on one server. `erased_at`: a tombstone stands already."""

    server: str
    mailboxes: tuple[str, ...]
    messages: int  # in staging; a copy in two folders counts twice
    erased_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """`left`: why something is still in staging; "" where nothing is."""

    target: Target
    left: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "server": self.target.server,
            "mailboxes": list(self.target.mailboxes),
            "messages": self.target.messages,
            "cleared": not self.left,
            "left": self.left,
        }


# ---------------------------------------------------------------- looking


def find_targets(app: App, name: str, server: str | None) -> tuple[Target, ...]:
    """Servers that know a mailbox or domain of this name. Raises UsageError where none does."""
    if server is not None:
        app.server(server)
    found = [_target(app, name, each) for each in ([server] if server is not None else sorted(app.config.archived))]
    targets = tuple(each for each in found if each.mailboxes or each.erased_at is not None)
    if not targets:
        where = server or "any server"
        raise UsageError(
            f"no mailbox and no domain {name} of {where} is known here",
            mend="write it as USER@DOMAIN or DOMAIN; `failsafe status --mailboxes` lists mailboxes",
        )
    return targets


def _target(app: App, name: str, server: str) -> Target:
    belongs = belongs_to(name)
    known: dict[str, int] = {}
    row = app.duties.all().get(f"mailboxes:{server}")
    known.update(dict.fromkeys(row.details.get("mailboxes", {}) if row is not None else {}, 0))
    if app.catalog_file.exists():
        with Catalog.open(app.catalog_file) as catalog:
            known.update(dict.fromkeys(mailboxes_in(catalog, server), 0))
    archive = Archive(app.staging_folder(server))
    if archive.numbers():
        for mailbox, digest in archive.generation().mailboxes.items():
            if belongs(mailbox):
                known[mailbox] = sum(folder.messages for folder in archive.manifest(digest).folders)
    standing = known_erased(app, server).by_name.get(name.lower())
    mine = {mailbox: count for mailbox, count in known.items() if belongs(mailbox)}
    at = standing.at if standing is not None and standing.stands else None
    return Target(server, tuple(sorted(mine)), sum(mine.values()), at)


def last_copies(app: App, name: str, targets: tuple[Target, ...], erased_at: datetime) -> tuple[LastCopy, ...]:
    """What becomes of the copies in each repository. Changes nothing."""
    now = app.clock.now()
    return tuple(
        foresee(_holding(app, name, target, repository, erased_at), now, app.time_zone)
        for repository in sorted(app.config.repository)
        for target in targets
    )


def _holding(app: App, name: str, target: Target, repository: str, erased_at: datetime) -> Holding:
    table = app.config.repository[repository]
    state = app.duties.repositories().get(repository)
    bucket = (state.details.get("bucket") or {}) if state is not None else {}
    frozen = (*repository_freezes(app, repository), *judge_server(view_server(app, target.server)))
    view = Holding(
        repository,
        target.server,
        target.erased_at or erased_at,
        generation=first_without(app, target.server, name),
        keep=rules_of(table),
        maintenance_here=table.maintenance == "here",
        frozen=tuple(guard for guard in frozen if guard.code != "maintenance-elsewhere"),
        forget_every=FORGET_EVERY,
        prune_every=PRUNE_EVERY,
        lock_days=int(bucket.get("lock_days") or 0) if bucket.get("lock") else 0,
        versioned=bucket.get("versioning") == "on",
        deletes=table.maintenance_environment_file is not None or bucket.get("deleting") not in ("denied", "hides"),
    )
    try:
        adapter = app.repository(repository, environment_file=table.restore_environment_file)
        return replace(view, snapshots=adapter.snapshots(host_of(target.server)))
    except FailsafeError as error:
        if getattr(error, "kind", "") == "no-repository":
            return view
        return replace(view, error=str(error).splitlines()[0])


# ---------------------------------------------------------------- doing


def erase(app: App, name: str, target: Target, reason: str, narrate: Narrator) -> Outcome:
    """One server's part. Raises ArchiveError, StoreError; then the tombstone stands, and running it again goes on."""
    now = app.clock.now()
    erased = known_erased(app, target.server)
    if target.erased_at is None:
        erased = erased.joined(Erased.of([Tombstone(name, now)]))
    keep_erased(app, target.server, erased)
    _forget_in_database(app, target.server, erased.covers)
    if app.catalog_file.exists():
        with Catalog.open(app.catalog_file) as catalog:
            erase_mailboxes(catalog, target.server, erased.covers)
    left = _clear(app, name, target.server, erased, narrate)
    if target.erased_at is None:
        text = f"{name} was erased here and is not archived any more" + (f": {reason}" if reason else "")
        details: dict[str, object] = {"name": name, "mailboxes": len(target.mailboxes), "reason": reason, "left": left}
        app.record(Event("mailbox.erased", target.server, text, now, details))
    return Outcome(target, left)


def readmit(app: App, name: str, target: Target, reason: str) -> None:
    """Lets the next backup archive it again, from the server. What was erased here does not come back by that."""
    now = app.clock.now()
    known = known_erased(app, target.server)
    erased = known.joined(Erased.of([Tombstone(known.by_name[name.lower()].name, now, stands=False)]))
    keep_erased(app, target.server, erased)
    if app.inventory_file(target.server).exists():
        lock = FileLock(app.lock_file(HEAVY_LOCK), f"erase {name}").hold(wait_seconds=LOCK_WAIT_SECONDS)
        with contextlib.suppress(LockBusy), lock, Inventory.open(app.inventory_file(target.server)) as inventory:
            settle(inventory, None, erased)  # else the next backup learns it from the database
    text = f"{name} is archived again" + (f": {reason}" if reason else "")
    app.record(Event("mailbox.readmitted", target.server, text, now, {"name": name, "reason": reason}))


def _clear(app: App, name: str, server: str, erased: Erased, narrate: Narrator) -> str:
    """Staging and inventory; gives why something is left there."""
    _remove_leftovers(app, server)
    if not Archive(app.staging_folder(server)).numbers() and not app.inventory_file(server).exists():
        return ""
    try:
        with FileLock(app.lock_file(HEAVY_LOCK), f"erase {name}").hold(wait_seconds=LOCK_WAIT_SECONDS):
            cleared = _clear_staging(app, server, erased, narrate)
    except LockBusy as error:
        narrate(str(error))
        return "a job is at work there; what is left goes with the next backup, or when this is run again"
    first = cleared.generation
    if first is not None:
        keep_erased(app, server, erased, first={name.lower(): first.number})
    if not cleared.whole:
        return "a snapshot is being made of it; no new one takes it along, and it goes with the next backup, or when this is run again"
    return ""


def _clear_staging(app: App, server: str, erased: Erased, narrate: Narrator) -> Cleared:
    with app.staging(server) as staging, Inventory.open(app.inventory_file(server)) as inventory:
        known = settle(inventory, staging.newest(), erased)
        inventory.begin(staging)
        return Eraser(staging, inventory, known, lambda: own_files_or_less(app, narrate)).run()


def _remove_leftovers(app: App, server: str) -> None:
    """Damaged files that were put aside for a look hold it too."""
    inventory, staging = app.inventory_file(server), app.staging_folder(server)
    for pattern_folder, pattern in (
        (inventory.parent, f"{inventory.name}.damaged*"),
        (app.state_dir, f"{app.catalog_file.name}.damaged*"),
    ):
        for path in pattern_folder.glob(pattern) if pattern_folder.is_dir() else ():
            path.unlink(missing_ok=True)
    for ending in ("damaged", "refill"):
        try:
            shutil.rmtree(staging.with_name(f"{staging.name}.{ending}"))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ArchiveError(
                f"cannot remove {staging}.{ending}: {error.strerror}", mend="remove it by hand, then run this again"
            ) from error


def _forget_in_database(app: App, server: str, covers: Callable[[str], bool]) -> None:
    """What `status` shows of it, and files that reports of backups name."""
    now = app.clock.now()
    rows = app.duties.all()
    with app.store.together():
        row = rows.get(f"mailboxes:{server}")
        if row is not None:
            left = {name: safe for name, safe in row.details.get("mailboxes", {}).items() if not covers(name)}
            app.duties.ended(row.name, now, ok=True, details={**row.details, "mailboxes": left})
        app.duties.change_reports(server, lambda report: _without(report, covers))
        app.events.change_details(server, lambda details: _without(details, covers))
        for domain, table in app.config.domain.items():
            if server in (table.server, f"{domain}:secondary"):
                app.homecomings.forget(domain, covers)
        app.duties.change_drills(lambda report: without_drilled(report, server, covers))
        for repository in app.config.repository:  # an event of a drill has its report
            app.events.change_details(
                repository, lambda details: without_drilled(details, server, covers) if "servers" in details else details
            )


def without_drilled(report: dict[str, Any], server: str, covers: Callable[[str], bool]) -> dict[str, Any]:
    """A drill's report (`drill restore --json`) without what it says of these mailboxes of a server; the counts stay."""

    def left(part: dict[str, Any]) -> dict[str, Any]:
        canary = part.get("canary")
        return {
            **part,
            "mailboxes": [each for each in part.get("mailboxes", ()) if not covers(str(each.get("mailbox", "")))],
            "canary": None if canary is None or covers(str(canary.get("mailbox", ""))) else canary,
            "findings": [each for each in part.get("findings", ()) if not covers(str(each.get("mailbox", "")))],
        }

    if "servers" not in report:  # a failover drill: no mail was in it
        return report
    parts = report["servers"]
    return {**report, "servers": [left(part) if part.get("server") == server else part for part in parts]}


def _without(report: dict[str, Any], covers: Callable[[str], bool]) -> dict[str, Any]:
    """A report of a backup without lines that speak of these mailboxes."""
    left = dict(report)
    if isinstance(missing := left.get("missing"), list):
        left["missing"] = [each for each in missing if not covers(str(each.get("mailbox", "")))]
    if isinstance(notes := left.get("notes"), list):
        left["notes"] = [each for each in notes if not covers(str(each).partition(" ")[0])]
    return left
