"""Forgets and prunes through the port: plan, act, read back. What fails outside is in the report; nothing is done that was not planned."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from failsafe.backup.freeze import ELSEWHERE
from failsafe.backup.report import Trouble
from failsafe.backup.retention import Decision
from failsafe.errors import EXIT_EXTERNAL, EXIT_FINDINGS, EXIT_OK, FailsafeError, Interrupted, LeaseLost, ResticError
from failsafe.events import Event
from failsafe.model import Guard, SnapshotInfo
from failsafe.ports import Clock, Progress, Recorder, Repository

IDS_IN_EVENT = 1000
UNKNOWN_REPOSITORY = "repository-unknown"


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """The decisions about one server's snapshots; `server` "" for those of hosts that are none of ours."""

    server: str
    decisions: tuple[Decision, ...]
    freezes: tuple[Guard, ...] = ()


# what a repository lists -> what to do with it
Planner = Callable[[Sequence[SnapshotInfo]], tuple[ServerPlan, ...]]


@dataclass(frozen=True, slots=True)
class ForgetReport:
    """`forgotten`: read back as gone. `frozen`: everything that stopped forgetting, of the repository and of its servers."""

    repository: str
    plans: tuple[ServerPlan, ...] = ()
    frozen: tuple[Guard, ...] = ()
    forgotten: tuple[str, ...] = ()
    trouble: Trouble | None = None

    @property
    def going(self) -> tuple[str, ...]:
        return tuple(each.snapshot.id for plan in self.plans for each in plan.decisions if not each.kept)

    @property
    def kept(self) -> int:
        return sum(each.kept for plan in self.plans for each in plan.decisions)

    @property
    def exit_code(self) -> int:
        return _exit_code(self.trouble, self.frozen)

    def to_json(self) -> dict[str, Any]:
        line = {
            "repository": self.repository,
            "frozen": _guards_json(self.frozen),
            "forgotten": list(self.forgotten),
            "snapshots": [_decision_json(plan.server, each) for plan in self.plans for each in plan.decisions],
        }
        return line if self.trouble is None else {**line, "error": self.trouble.text, "mend": self.trouble.mend}


@dataclass(frozen=True, slots=True)
class PruneOutcome:
    """`done` False: something stopped it, or it failed."""

    repository: str
    done: bool
    frozen: tuple[Guard, ...] = ()
    whole: bool = False  # nothing that no snapshot needs was left
    bytes_freed: int | None = None
    bytes_left: int | None = None
    took: timedelta = timedelta()
    trouble: Trouble | None = None

    @property
    def exit_code(self) -> int:
        return _exit_code(self.trouble, self.frozen)

    def to_json(self) -> dict[str, Any]:
        line = {
            "repository": self.repository,
            "pruned": self.done,
            "bytes_freed": self.bytes_freed,
            "bytes_left": self.bytes_left,
            "seconds": round(self.took.total_seconds(), 3),
            "frozen": _guards_json(self.frozen),
        }
        return line if self.trouble is None else {**line, "error": self.trouble.text, "mend": self.trouble.mend}


def plan_forget(repository: Repository, plan: Planner, frozen: Sequence[Guard]) -> ForgetReport:
    """Only looks. `frozen`: what stops the whole repository."""
    report = ForgetReport(repository.name, frozen=tuple(frozen))
    try:
        repository.open()
        plans = plan(repository.snapshots())
    except (Interrupted, LeaseLost):
        raise
    except ResticError as error:
        return _stopped(report, error)
    except FailsafeError as error:
        return replace(report, trouble=Trouble(str(error), error.mend))
    stopped = dict.fromkeys([*frozen, *(guard for each in plans for guard in each.freezes)])
    return replace(report, plans=plans, frozen=tuple(stopped))


def run_forget(
    repository: Repository,
    plan: Planner,
    frozen: Sequence[Guard],
    *,
    clock: Clock,
    record: Recorder,
    only: Collection[str] | None = None,
) -> ForgetReport:
    """Forgets what the plan lets go. `only`: what a person has seen and agreed to; anything else stays for the next time."""
    report = plan_forget(repository, plan, frozen)
    going = [id_ for id_ in report.going if only is None or id_ in only]
    if report.trouble is not None or not going:
        return report
    before = {each.snapshot.id for plan_ in report.plans for each in plan_.decisions}
    trouble: Trouble | None = None
    try:
        repository.forget(going)
    except (Interrupted, LeaseLost):
        raise
    except FailsafeError as error:
        trouble = Trouble(str(error), error.mend)
    try:
        gone = before - {info.id for info in repository.snapshots()}
    except FailsafeError as error:
        return replace(report, trouble=trouble or Trouble(str(error), error.mend))
    forgotten = tuple(id_ for id_ in going if id_ in gone)
    strange = gone - set(going)
    if trouble is None and strange:
        text = (
            f"{len(strange)} snapshots vanished from {repository.name} that failsafe did not forget, such as {min(strange)[:8]}"
        )
        trouble = Trouble(text, "find out who else forgets there; failsafe verify")
    if forgotten:
        text = f"{len(forgotten)} of {len(before)} snapshots were forgotten"
        details: dict[str, object] = {
            "ids": list(forgotten[:IDS_IN_EVENT]),
            "count": len(forgotten),
            "kept": len(before) - len(gone),
        }
        record(Event("repository.forgotten", repository.name, text, clock.now(), details))
    return replace(report, forgotten=forgotten, trouble=trouble)


def run_prune(
    repository: Repository,
    frozen: Sequence[Guard],
    *,
    clock: Clock,
    record: Recorder,
    progress: Progress | None = None,
    wants_whole: Callable[[Sequence[SnapshotInfo]], bool] = lambda _listed: False,
) -> PruneOutcome:
    """Removes data that no snapshot needs, unless something stops it; the list of snapshots must be the same afterwards.

    `wants_whole`: whether nothing of it may be left behind, with these snapshots there.
    """
    outcome = PruneOutcome(repository.name, done=False, frozen=tuple(frozen))
    if frozen:
        return outcome
    try:
        repository.open()
        listed = repository.snapshots()
        before, whole = {info.id for info in listed}, wants_whole(listed)
        report = repository.prune(progress, whole=whole)
        lost = before - {info.id for info in repository.snapshots()}
    except (Interrupted, LeaseLost):
        raise
    except FailsafeError as error:
        if isinstance(error, ResticError) and error.kind == "unexpected-repository":
            return replace(outcome, frozen=(Guard(UNKNOWN_REPOSITORY, str(error), error.mend),))
        return replace(outcome, trouble=Trouble(str(error), error.mend))
    outcome = replace(outcome, bytes_freed=report.bytes_freed, bytes_left=report.bytes_left, took=report.took)
    if lost:
        text = f"{len(lost)} snapshots vanished from {repository.name} during a prune, such as {min(lost)[:8]}"
        return replace(outcome, trouble=Trouble(text, "find out who else works there; failsafe verify"))
    freed = "" if report.bytes_freed is None else f", {report.bytes_freed} bytes freed"
    details: dict[str, object] = {"bytes_freed": report.bytes_freed, "bytes_left": report.bytes_left}
    record(Event("repository.pruned", repository.name, f"pruned{freed}", clock.now(), details))
    return replace(outcome, done=True, whole=whole)


def _stopped(report: ForgetReport, error: ResticError) -> ForgetReport:
    """Another repository than ours is a reason to stop like any other; what cannot be reached is a failure."""
    if error.kind == "unexpected-repository":
        return replace(report, frozen=(*report.frozen, Guard(UNKNOWN_REPOSITORY, str(error), error.mend)))
    return replace(report, trouble=Trouble(str(error), error.mend))


def _exit_code(trouble: Trouble | None, frozen: Sequence[Guard]) -> int:
    if trouble is not None:
        return EXIT_EXTERNAL
    return EXIT_FINDINGS if any(guard.code != ELSEWHERE for guard in frozen) else EXIT_OK


def _guards_json(guards: Sequence[Guard]) -> list[dict[str, str]]:
    return [{"code": guard.code, "text": guard.text, "mend": guard.mend} for guard in guards]


def _decision_json(server: str, decision: Decision) -> dict[str, Any]:
    info = decision.snapshot
    return {
        "server": server or None,
        "snapshot_id": info.id,
        "at": f"{info.at:%Y-%m-%dT%H:%M:%SZ}",
        "kept": decision.kept,
        "pinned": bool(decision.pinned),
        "reasons": list(decision.reasons),
    }
