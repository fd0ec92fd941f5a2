"""Brings one repository up to date from staging, without a pull; and keeps what is known of repositories after each use."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from failsafe.adapters.process import interrupt_all
from failsafe.app import App
from failsafe.backup.archive.staging import Staging
from failsafe.backup.guardbook import GuardBook
from failsafe.backup.job import ServerJob, run_snapshots
from failsafe.backup.proofs import Proofs
from failsafe.backup.pull import PullReport
from failsafe.backup.report import BackupReport, SnapshotReport
from failsafe.backup.snapshot import Target
from failsafe.model import Guard
from failsafe.ports import Progress, Repository
from failsafe.status.roster import OFFSITE_EVERY

WAIT_BY_HAND = 10.0  # seconds for a job in the same repository that is about to end; scheduled ones come again by themselves
MOVED_EVERY = 60.0  # seconds between two notes that a long upload gets on


def target_of(app: App, repository: Repository, what: str, *, by_hand: bool) -> Target:
    """A repository with the times that its configuration gives it, and the lock that keeps failsafe's own jobs there apart."""
    name = repository.name
    table = app.config.repository[name]
    every = table.every if table.every is not None else timedelta() if table.is_path else OFFSITE_EVERY
    wait = WAIT_BY_HAND if by_hand else 0.0
    return Target(repository, every, table.window, lambda: app.hold_repository(name, what, wait_seconds=wait))


def serve_repository(app: App, name: str, server: str, progress: Progress, *, by_hand: bool) -> BackupReport:
    """One server's newest generation into one repository. Nothing is pulled, and no pull waits for it. What fails outside is in the report."""
    good = app.duties.last_backup(server, result="ok")  # before staging is opened: another pull may end meanwhile
    repository = app.repository(name)
    job = ServerJob(
        server=server,
        staging=app.staging_folder(server),
        pull=_pull_nothing,
        targets=(target_of(app, repository, f"snapshot of {server}", by_hand=by_hand),),
        proofs=app.proofs_file(server),
        zone=app.time_zone,
        by_hand=by_hand,
        guards=GuardBook(app.inventory_file(server), server),
        stop=interrupt_all,
    )
    report = run_snapshots(job, clock=app.clock, progress=OnCourse(app, f"snapshot:{name}", progress), record=app.record)
    keep_guards(app, server, report.guards)
    keep_holds(app, server, report.generation, None if good is None else good.started_at, [name])
    keep_snapshots(app, report.snapshots, {name: repository.opened_id})
    keep_safe(app, server, [name])
    return report


def begin_duty(app: App, name: str) -> None:
    app.duties.started(f"snapshot:{name}", app.clock.now())


def end_duty(app: App, name: str, reports: Iterable[BackupReport]) -> None:
    """It went well where nothing failed and nobody stood in the way."""
    reports = list(reports)
    failed = any(report.troubles or any(one.trouble is not None for one in report.snapshots) for report in reports)
    skipped = any(report.skipped for report in reports)
    result = "failed" if failed else "skipped" if skipped else "ok"
    app.duties.ended(f"snapshot:{name}", app.clock.now(), ok=result == "ok", result=result)
    if result == "ok" and name in app.duties.repositories():  # also where the last try was called a failure, and was none
        app.duties.change_repository(name, last_result="ok", last_error="")


def settle_duties(app: App, report: BackupReport, served: Iterable[str], holding: Collection[str]) -> None:
    """What a backup did for the repositories that it served itself: each one's duty, and whether its last use went well.

    Those with a job of their own are left to it: another server's mail may be what they fail on.
    """
    now = app.clock.now()
    taken = {one.repository: one.trouble is None for one in report.snapshots}
    for name in served:
        if taken.get(name, name in holding):
            app.duties.ended(f"snapshot:{name}", now, ok=True, result="ok")
            if name not in taken:  # also where the last try was called a failure, and was none
                app.duties.change_repository(name, last_result="ok", last_error="")
        elif name in taken:
            app.duties.ended(f"snapshot:{name}", now, ok=False, result="failed")


def keep_snapshots(app: App, snapshots: Sequence[SnapshotReport], ids: Mapping[str, str]) -> None:
    """How each repository was found, for `status` and for what is due next."""
    now, known = app.clock.now(), app.duties.repositories()
    for snapshot in snapshots:
        values: dict[str, Any] = {  # a part, or mail that a pull could not read, is no failure of the repository that took it
            "last_result": "ok" if snapshot.trouble is None else str(snapshot.result),
            "last_error": snapshot.trouble.text if snapshot.trouble else "",
        }
        if snapshot.snapshot_id:
            before = known.get(snapshot.repository)
            values["last_snapshot_at"] = now
            values["snapshots"] = ((before.snapshots or 0) if before else 0) + 1
            if before is None or not before.restic_id:
                values["restic_id"] = ids[snapshot.repository]
        app.duties.change_repository(snapshot.repository, **values)
        if snapshot.snapshot_id:
            _count_added(app, snapshot, now)


def _count_added(app: App, snapshot: SnapshotReport, now: datetime) -> None:
    """What snapshots ever added: says how much came after a check has read its part, and how large a repository is that nobody measured."""
    before = app.duties.repositories()[snapshot.repository].details.get("added") or {}
    added = {"bytes": int(before.get("bytes", 0)) + snapshot.bytes_added, "since": before.get("since", now.isoformat())}
    app.duties.change_details(snapshot.repository, added=added)


def keep_holds(app: App, server: str, generation: int | None, good_at: datetime | None, names: Iterable[str]) -> set[str]:
    """Up to when each repository is proven to hold this server's mail: the beginning of the last good pull (`good_at`), if it holds what staging holds.

    Gives the names of those that do.
    """
    holding = set()
    proofs, now, known = Proofs(app.proofs_file(server)), app.clock.now(), app.duties.repositories()
    for name in names:
        proof = proofs.get(name)
        if proof is None:
            continue
        if proof.generation == generation:
            holding.add(name)
        holds_at = good_at if good_at is not None and name in holding else min(proof.generation_at, good_at or now)
        if name not in known:
            app.duties.change_repository(name, details={})
        app.duties.change_details(name, holds={server: holds_at.isoformat()})
    return holding


def keep_mailboxes(app: App, server: str, proved: Mapping[str, datetime | None], generation: int | None, began: datetime) -> None:
    """Up to when each mailbox was proved complete by a pull that began at `began`; see `keep_safe`.

    What this pull proved is as it was when the pull began; a mailbox that it could not prove keeps its earlier moment.
    """
    before = _mailboxes(app, server)
    rows: dict[str, list[str | None]] = {}
    for mailbox, at in proved.items():
        was, safe = before.get(mailbox, (None, None))
        rows[mailbox] = [began.isoformat() if at is not None and at >= began else was, safe]
    app.duties.ended(f"mailboxes:{server}", app.clock.now(), ok=True, details={"generation": generation, "mailboxes": rows})
    keep_safe(app, server, app.config.repository)


def keep_safe(app: App, server: str, names: Iterable[str]) -> None:
    """A mailbox is safe up to when it was proved, once a repository is proven to hold the generation of that pull."""
    row = app.duties.all().get(f"mailboxes:{server}")
    proofs = Proofs(app.proofs_file(server))
    held = {proof.generation for proof in map(proofs.get, names) if proof is not None}
    if row is None or row.details.get("generation") not in held:
        return
    rows = {mailbox: [was, was or safe] for mailbox, (was, safe) in _mailboxes(app, server).items()}
    if rows != row.details["mailboxes"]:
        app.duties.ended(row.name, app.clock.now(), ok=True, details={**row.details, "mailboxes": rows})


def _mailboxes(app: App, server: str) -> dict[str, list[str | None]]:
    row = app.duties.all().get(f"mailboxes:{server}")
    return {} if row is None else dict(row.details.get("mailboxes", {}))


def keep_guards(app: App, server: str, guards: Sequence[Guard]) -> None:
    """What stands now, for `status` and for failbacks."""
    shown = [{"code": guard.code, "text": guard.text, "mend": guard.mend} for guard in guards]
    before = app.duties.all().get(f"guards:{server}")
    if shown or (before is not None and before.details.get("guards")):
        app.duties.ended(f"guards:{server}", app.clock.now(), ok=not shown, details={"guards": shown})


def has_something(app: App) -> bool:
    """Whether any server's staging holds a generation that a repository could take."""
    return any((app.staging_folder(server) / "generations").is_dir() for server in app.config.archived)


def _pull_nothing(_staging: Staging, _progress: Progress) -> PullReport:
    raise AssertionError("a job without a pull")


class OnCourse:
    """Passes progress on, and notes once a minute that a long run gets on: it is then not called overdue."""

    def __init__(self, app: App, duty: str, progress: Progress | None) -> None:
        self._app, self._duty, self._progress = app, duty, progress
        self._total: int | None = None
        self._done, self._unit = 0, ""
        self._noted_at: float | None = None

    def stage(self, text: str, total: int | None = None, unit: str = "") -> None:
        self._total, self._done, self._unit = total, 0, unit
        if self._progress is not None:
            self._progress.stage(text, total, unit)

    def advance(self, amount: int) -> None:
        self._done += amount
        if self._progress is not None:
            self._progress.advance(amount)
        now = self._app.clock.monotonic()
        if self._noted_at is None or now - self._noted_at >= MOVED_EVERY:
            self._noted_at = now
            self._app.duties.moved(self._duty, self._app.clock.now(), done=self._done, total=self._total, unit=self._unit)
