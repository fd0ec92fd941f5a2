"""Forget and prune of one repository: gathers what may stop them, runs them with the maintenance credential, keeps what came of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any

from failsafe.adapters.lock import FileLock
from failsafe.app import App
from failsafe.backup.coverage import Coverage
from failsafe.backup.drill_words import drill_failed_at
from failsafe.backup.freeze import RepositoryView, ServerView, judge_repository, judge_server, pins_of
from failsafe.backup.guardbook import GuardBook
from failsafe.backup.last_copy import Holding, has_it
from failsafe.backup.maintain import ForgetReport, Planner, PruneOutcome, ServerPlan, plan_forget, run_forget, run_prune
from failsafe.backup.retention import Decision, Keep, plan_retention
from failsafe.backup.snapshot import host_of
from failsafe.backups import HEAVY_LOCK, WAIT_FOR_HEAVY
from failsafe.config.schema import RepositoryTable
from failsafe.config.secondaries import domain_of
from failsafe.errors import ArchiveError, Refused, StoreError
from failsafe.events import Event
from failsafe.model import DomainState, Guard, Notice, Severity, SnapshotInfo
from failsafe.ports import Progress
from failsafe.render import spoken_age
from failsafe.repositories import OnCourse
from failsafe.store.journal import Journal
from failsafe.tombstones import first_without, stored_erased

FROZEN_LONG = timedelta(days=7)  # then a person is told, and told again after as long


def rules_of(table: RepositoryTable) -> Keep:
    """`keep` of the configuration; left out, it is empty."""
    keep = table.keep
    if keep is None:
        return Keep()
    counts = {name: getattr(keep, name) or 0 for name in ("last", "hourly", "daily", "weekly", "monthly", "yearly")}
    return Keep(within=keep.within or "", **counts)


def plan_repository(app: App, name: str) -> ForgetReport:
    """What forgetting would do now; changes nothing, and waits for nobody."""
    return plan_forget(app.repository(name), _planner(app, name), repository_freezes(app, name))


def forget_repository(app: App, name: str, *, only: Collection[str] | None = None) -> ForgetReport:
    """Forgets what `keep` lets go. Refused, with its guards, where maintenance is elsewhere; LockBusy while another job is there."""
    _demand_here(app, name, "forget")
    app.duties.started(f"forget:{name}", app.clock.now())
    with alone(app, name, "forget"):
        frozen = repository_freezes(app, name)
        report = run_forget(_maintained(app, name), _planner(app, name), frozen, clock=app.clock, record=app.record, only=only)
    result = "failed" if report.trouble is not None else "frozen" if report.frozen else "ok"
    app.duties.ended(f"forget:{name}", app.clock.now(), ok=result != "failed", result=result)
    _keep_retention(app, name, report)
    return report


def prune_repository(app: App, name: str, progress: Progress | None = None) -> PruneOutcome:
    """Removes what no snapshot needs. Any server's freeze stops it: its data lies among that of the others. `status` shows how far it is."""
    _demand_here(app, name, "prune")
    app.duties.started(f"prune:{name}", app.clock.now())
    with alone(app, name, "prune"):
        servers = (guard for server in app.archived_servers() for guard in judge_server(view_server(app, server)))
        frozen = tuple(dict.fromkeys((*repository_freezes(app, name), *servers)))
        course = OnCourse(app, f"prune:{name}", progress)
        waiting = ErasedIn(app, name)
        outcome = run_prune(
            _maintained(app, name), frozen, clock=app.clock, record=app.record, progress=course, wants_whole=waiting.wants_whole
        )
        if outcome.whole:
            waiting.note_pruned()
    result = "failed" if outcome.trouble is not None else "frozen" if outcome.frozen else "ok"
    now = app.clock.now()
    app.duties.ended(f"prune:{name}", now, ok=result != "failed", result=result)
    if outcome.done and outcome.bytes_left is not None:
        added = (_details(app, name).get("added") or {}).get("bytes", 0)
        app.duties.change_details(name, size={"bytes": outcome.bytes_left, "at": now.isoformat(), "added": added})
    return outcome


class ErasedIn:
    """Erased mail whose last snapshot in a repository was forgotten: the prune after that must leave no part of it among other data."""

    def __init__(self, app: App, name: str) -> None:
        self._app, self._name = app, name
        self._settled: dict[str, str] = dict(_details(app, name).get("erased") or {})
        self._ready: dict[str, str] = {}

    def wants_whole(self, listed: Sequence[SnapshotInfo]) -> bool:
        for server in sorted(self._app.config.archived):
            mine = [info for info in listed if info.host == host_of(server)]
            for each in stored_erased(self._app, server).standing:
                key, at = f"{server} {each.name.lower()}", each.at.isoformat()
                first = first_without(self._app, server, each.name)
                view = Holding(self._name, server, each.at, generation=first)
                if self._settled.get(key) != at and not any(has_it(info, view) for info in mine):
                    self._ready[key] = at
        return bool(self._ready)

    def note_pruned(self) -> None:
        self._app.duties.change_details(self._name, erased={**self._settled, **self._ready})


def view_server(app: App, server: str) -> ServerView:
    """What may stop forgetting this server's snapshots. What cannot be read is in it as not known."""
    own = domain_of(server)
    concerned = [name for name, table in app.config.domain.items() if own == name or table.server == server]
    domains = {name: _state_of(app, name) for name in concerned}
    file = app.inventory_file(server)
    if not file.exists():
        return ServerView(server, None, "it was never backed up from this machine", domains)
    try:
        return ServerView(server, GuardBook(file, server).standing(), "", domains)
    except ArchiveError as error:
        return ServerView(server, None, str(error), domains)


def repository_freezes(app: App, name: str) -> tuple[Guard, ...]:
    state, table = app.duties.repositories().get(name), app.config.repository[name]
    coverage = Coverage.of({} if state is None else state.details, table.check.share)
    known = state is not None and bool(state.restic_id)
    failed_at = drill_failed_at({} if state is None else state.details)
    return judge_repository(RepositoryView(name, known, coverage.damaged_at, table.maintenance == "here", failed_at))


def plan_server(app: App, name: str, server: str, snapshots: Sequence[SnapshotInfo], frozen: Sequence[Guard] = ()) -> ServerPlan:
    """One server's snapshots in one repository."""
    view = view_server(app, server)
    own = judge_server(view)
    decisions = plan_retention(
        snapshots,
        rules_of(app.config.repository[name]),
        app.clock.now(),
        app.time_zone,
        pins=pins_of(view.guards, server),
        freezes=(*frozen, *own),
    )
    return ServerPlan(server, decisions, own if snapshots else ())


def _planner(app: App, name: str) -> Planner:
    """Snapshots of hosts that are none of the configured servers' are shown, and left alone."""
    frozen = repository_freezes(app, name)
    hosts = {host_of(server): server for server in sorted(app.config.archived)}

    def plan(listed: Sequence[SnapshotInfo]) -> tuple[ServerPlan, ...]:
        plans = [
            plan_server(app, name, server, [info for info in listed if info.host == host], frozen)
            for host, server in hosts.items()
        ]
        others = tuple(
            Decision(info, kept=True, reasons=(f"host {info.host} is none of the configured mail servers'",))
            for info in listed
            if info.host not in hosts
        )
        return (*plans, *([ServerPlan("", others)] if others else []))

    return plan


def _state_of(app: App, domain: str) -> DomainState | None:
    try:
        return Journal(app.store, None).load(domain, app.clock.now()).state
    except (StoreError, ValueError):
        return None


def _maintained(app: App, name: str) -> Any:
    return app.repository(name, environment_file=app.config.repository[name].maintenance_environment_file)


def _demand_here(app: App, name: str, verb: str) -> None:
    app.repository(name)  # raises UsageError for a name that is not configured
    guards = [guard for guard in repository_freezes(app, name) if guard.code == "maintenance-elsewhere"]
    if guards:
        raise Refused(f"{verb} of {name} is not done from this machine", guards, mend=guards[0].mend)


@contextmanager
def alone(app: App, name: str, what: str) -> Iterator[None]:
    """No other job of ours in that repository; and on this machine nothing heavy beside it. A slow line far away keeps no pull waiting."""
    with ExitStack() as held:
        if not app.is_far(name):
            held.enter_context(FileLock(app.lock_file(HEAVY_LOCK), f"{what} of {name}").hold(wait_seconds=WAIT_FOR_HEAVY))
        held.enter_context(app.hold_repository(name, f"{what} of {name}", wait_seconds=WAIT_FOR_HEAVY))
        yield


def _details(app: App, name: str) -> dict[str, Any]:
    state = app.duties.repositories().get(name)
    return {} if state is None else state.details


def _keep_retention(app: App, name: str, report: ForgetReport) -> None:
    """For `status`: what was forgotten last, and since when nothing may be. A freeze that lasts is told once a week."""
    now, before = app.clock.now(), _details(app, name).get("retention") or {}
    if report.trouble is not None or not report.plans:
        return
    since = before.get("frozen_since") or now.isoformat() if report.frozen else None
    told = before.get("told_at") if report.frozen else None
    if since is not None and _is_long(since, now) and (told is None or _is_long(told, now)):
        app.record(_lasting(name, report.frozen, datetime.fromisoformat(since), now))
        told = now.isoformat()
    listed = [each for plan in report.plans if plan.server for each in plan.decisions]
    frozen = [{"code": each.code, "text": each.text, "mend": each.mend} for each in report.frozen]
    kept = {"at": now.isoformat(), "forgotten": len(report.forgotten), "kept": len(listed) - len(report.forgotten)}
    app.duties.change_details(name, retention={**kept, "frozen": frozen, "frozen_since": since, "told_at": told})
    app.duties.change_repository(name, snapshots=len(listed) - len(report.forgotten))


def _is_long(since: str, now: datetime) -> bool:
    return now - datetime.fromisoformat(since) >= FROZEN_LONG


def _lasting(name: str, frozen: Sequence[Guard], since: datetime, now: datetime) -> Event:
    notice = Notice(
        subject=f"nothing is forgotten in {name}, so it grows",
        losing_mail="No.",
        mail_goes="Where it went before.",
        must_do=frozen[0].mend,
        since=since,
        thread=f"retention/{name}",
        severity=Severity.WARN,
        details="\n".join(f"{each.text}: {each.mend}" for each in frozen),
    )
    text = f"nothing was forgotten or pruned for {spoken_age(now - since)}: {frozen[0].text}"
    return Event("retention.frozen", name, text, now, notice=notice)
