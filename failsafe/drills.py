"""Restore drills of one repository, put together from the configuration: who is drilled, with which credential, where; and the evidence kept."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from failsafe.adapters.dovecot import DovecotOpener
from failsafe.adapters.maildir_files import FilesOpener
from failsafe.adapters.rebuilding import rebuild
from failsafe.app import App
from failsafe.backup.coverage import spoken_size
from failsafe.backup.drill import FAR, NEAR, Bounds
from failsafe.backup.drill_report import DrillReport, ServerDrill, last_drilled
from failsafe.backup.drill_run import DrillJob, drill_server
from failsafe.backup.drill_words import PASSED
from failsafe.backup.due import SELDOM
from failsafe.backup.opening import MailOpener
from failsafe.backup.report import Trouble
from failsafe.errors import ExternalError, FailsafeError, Interrupted, LeaseLost
from failsafe.events import Event
from failsafe.logs import get_log
from failsafe.maintenance import alone
from failsafe.model import Notice, Severity
from failsafe.ports import Clock, Progress, Repository

FOLDER = "drill"  # below state_dir; each repository has its own folder there


@dataclass(frozen=True, slots=True)
class DrillPlace:
    """All that a drill needs, however it is known: from a configuration, or from what somebody was left with."""

    repository: Repository
    servers: tuple[str, ...]
    new_servers: frozenset[str]  # of which no backup was ever complete
    known: frozenset[str]  # mailboxes that probes and canaries are sent to
    folder: Path  # where it works; what lies in it is removed
    bounds: Bounds


def drill_repository(app: App, name: str, progress: Progress) -> DrillReport:
    """Drills every server whose mail the repository holds, and keeps the evidence. LockBusy while another job of ours is there."""
    place = _place(app, name)
    before = app.duties.drills(name)
    app.duties.started(f"drill:{name}", app.clock.now())
    with alone(app, name, f"drill of {name}"):
        report = run_drill(place, before, app.clock, progress)
    _keep(app, report)
    return report


def run_drill(place: DrillPlace, before: Sequence[dict[str, object]], clock: Clock, progress: Progress) -> DrillReport:
    """`before`: the reports of earlier drills, newest first. What fails outside is in the report."""
    started_at, began = clock.now(), clock.monotonic()
    servers: list[ServerDrill] = []
    trouble = None
    try:
        with workroom(place.folder) as folder:
            place.repository.open()
            took = clock.monotonic() - began
            opener, notes = choose_opener(folder / "opened")
            for server in place.servers:
                room = folder / "server"
                job = _job(place, server, room, before, opener, clock, progress)
                servers.append(drill_server(job))
                shutil.rmtree(room, ignore_errors=True)
        servers = [_with_notes(each, notes, took if place_ == 0 else 0.0) for place_, each in enumerate(servers)]
    except (Interrupted, LeaseLost):
        raise
    except FailsafeError as error:
        trouble = Trouble(str(error), error.mend)
    except OSError as error:
        trouble = Trouble(f"cannot work in {place.folder}: {error.strerror or error}", "look at the disk of controller.state_dir")
    return DrillReport(place.repository.name, started_at, clock.now(), tuple(servers), trouble)


@contextmanager
def workroom(folder: Path) -> Iterator[Path]:
    """An empty folder, also where an earlier drill was killed in it. Removed at the end, whatever happened: it holds mail in the clear."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def choose_opener(room: Path) -> tuple[MailOpener, tuple[str, ...]]:
    """A real Dovecot where one is installed and works; else Python's mailbox, and why."""
    if shutil.which("dovecot", path=_places()) is None:
        return FilesOpener(), (
            "no Dovecot is installed here, so Python's mailbox opened the mail (Debian: apt install dovecot-imapd)",
        )
    try:
        return DovecotOpener(room), ()
    except ExternalError as error:
        return FilesOpener(), (f"Dovecot is installed and did not work here, so Python's mailbox opened the mail: {error}",)


def _places() -> str:
    from failsafe.adapters.dovecot import PLACES

    return PLACES


def _place(app: App, name: str) -> DrillPlace:
    """With the credential that a restore would use, and an empty cache, as on the machine that restores when this one is gone."""
    table = app.config.repository.get(name)
    credentials = table.restore_environment_file if table is not None else None
    folder = app.state_dir / FOLDER / name
    repository = app.repository(
        name, environment_file=credentials, cache_dir=folder / "cache"
    )  # raises UsageError where there is none
    servers = app.archived_servers()
    probes = (probe.recipient for probe in app.config.probe.values())
    canaries = (canary.to for canary in app.config.canary.values())
    return DrillPlace(
        repository,
        servers,
        frozenset(server for server in servers if app.duties.last_backup(server, result="ok") is None),
        frozenset(address for address in (*probes, *canaries) if address is not None),
        folder,
        FAR if app.is_far(name) else NEAR,
    )


def _job(
    place: DrillPlace,
    server: str,
    room: Path,
    before: Sequence[dict[str, object]],
    opener: MailOpener,
    clock: Clock,
    progress: Progress,
) -> DrillJob:
    drilled = {mailbox: at for (of, mailbox), at in last_drilled(before).items() if of == server}
    passed = next((str(report["at"]) for report in before if report["result"] == PASSED), "first")
    return DrillJob(
        repository=place.repository,
        server=server,
        folder=room,
        bounds=place.bounds,
        drilled=drilled,
        seed=f"{place.repository.name} {server} {passed}",
        known=place.known,
        is_new=server in place.new_servers,
        opener=opener,
        files=FilesOpener(),
        rebuild=rebuild,
        free=_free(place.folder),
        clock=clock,
        progress=progress,
    )


def _free(folder: Path) -> Callable[[], int]:
    return lambda: shutil.disk_usage(folder).free


def _with_notes(drill: ServerDrill, notes: tuple[str, ...], seconds: float) -> ServerDrill:
    """With what was found out before any server's part began."""
    from dataclasses import replace

    timing = replace(drill.timing, restic=drill.timing.restic + seconds)
    return replace(drill, notes=(*notes, *drill.notes), timing=timing)


# -- evidence ------------------------------------------------------------------------------------------------------------


def _keep(app: App, report: DrillReport) -> None:
    """The history, what `status` shows, the duty, and one event."""
    name, passed = report.repository, report.result == PASSED
    evidence = report.to_json()
    app.duties.add_drill(name, report.started_at, report.ended_at, report.result, evidence)
    if name not in app.duties.repositories():
        app.duties.change_repository(name, details={})
    if report.was_tried:
        app.duties.change_repository(name, last_drill_at=report.ended_at)
    before = (app.duties.repositories()[name].details.get("drill") or {}).get("result")
    app.duties.change_details(name, drill=report.summary())
    details = {} if passed or not report.was_tried else {"failures": SELDOM}
    app.duties.ended(f"drill:{name}", report.ended_at, ok=passed, result=report.result, details=details)
    app.record(_event(report, evidence, recovered=passed and before not in (None, PASSED)))
    for server in report.servers:
        for note in server.notes:
            get_log().info("drill.note", repository=name, server=server.server, text=note)


def _event(report: DrillReport, evidence: dict[str, object], *, recovered: bool) -> Event:
    name = report.repository
    if report.result == PASSED:
        text = spoken(report)
        notice = _notice(report, f"mail comes back from {name} again", "nothing", Severity.OK) if recovered else None
        return Event("drill.passed", name, text, report.ended_at, evidence, notice)
    subject = f"the restore drill of {name} failed" if report.was_tried else f"no restore drill of {name} could be made"
    notice = _notice(report, subject, f"failsafe drill restore --repository {name}", Severity.FAIL)
    return Event("drill.failed", name, f"{subject}: {report.first_fault}", report.ended_at, evidence, notice)


def _notice(report: DrillReport, subject: str, must_do: str, severity: Severity) -> Notice:
    lines = [str(fault) for server in report.servers for fault in server.faults[:10]]
    return Notice(
        subject=subject,
        losing_mail="No: what lies on the server is not touched by this.",
        mail_goes="Where it went before.",
        must_do=must_do,
        since=report.ended_at,
        thread=f"drill/{report.repository}",
        severity=severity,
        details="\n".join(lines) or report.first_fault or spoken(report),
    )


def spoken(report: DrillReport) -> str:
    """ "1,234 message(s) of 3 mailbox(es), 56 MB, back in 12.3 s, opened with Dovecot 2.3.19"."""
    opened = f", opened with {report.opened_with}" if report.opened_with else ""
    size = spoken_size(report.bytes)
    return f"{report.messages:,} message(s) of {report.mailboxes} mailbox(es), {size}, back in {report.timing.recovery:.1f} s{opened}"
