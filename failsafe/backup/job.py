"""One server's backup, start to end: pull, prove, snapshot into every repository, tidy staging."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, timedelta, tzinfo
from functools import partial
from pathlib import Path

from failsafe.backup.archive.clearing import clear_away, is_clearing
from failsafe.backup.archive.staging import Staging
from failsafe.backup.guardbook import GuardBook
from failsafe.backup.guards import REPOSITORY, mend_of
from failsafe.backup.parts import Checkpoints, Maker, Parts
from failsafe.backup.proofs import Proofs
from failsafe.backup.pull import PullReport
from failsafe.backup.refill import make_whole, replace_damaged
from failsafe.backup.report import BackupReport, Counts, SnapshotReport, Trouble
from failsafe.backup.rot import Found, RotWatch, watch_of
from failsafe.backup.serving import Served, serve_all
from failsafe.backup.snapshot import Snapshotter, Target
from failsafe.errors import ArchiveError, FailsafeError, HostKeyError, Interrupted, LeaseLost
from failsafe.events import Event
from failsafe.mail.manifest import Generation
from failsafe.model import Guard, Result
from failsafe.ports import Clock, Narrator, Progress, Recorder, Repository

HOST_KEY, UNKNOWN = "host-key-changed", "repository-unknown"
UNMENDED = (
    "look at the disk; if no repository can be brought back, move {0} away: what it held is then pulled anew from the server"
)
MENDS = 5  # damaged files of staging that one pull may come upon; with more of them the next ones go on
MISSING_IN_EVENT = 100  # of the report's missing messages; the whole list is in the report and in the generation

# `failsafe.backup.pull.pull` with everything but these two bound to it.
Puller = Callable[[Staging, Progress], PullReport]


@dataclass(frozen=True, slots=True)
class ServerJob:
    """What to back up and where to. `by_hand`: windows and `every` do not count, and repositories are asked anew.

    `targets` are served by this run, all at the same time; `others` are served by jobs of their own.
    """

    server: str
    staging: Path
    pull: Puller
    targets: tuple[Target, ...]
    proofs: Path  # a small file of our own beside staging, not in it
    zone: tzinfo = UTC
    by_hand: bool = False
    guards: GuardBook | None = None  # None: only what the pull itself says
    others: tuple[Repository, ...] = ()
    sources: tuple[Repository, ...] = ()  # where lost staging comes back from; left out: `targets` and `others`
    narrate: Narrator = lambda _text: None
    checkpoints: Checkpoints = field(default_factory=Checkpoints)  # the pull calls it with each part that is durable
    carry: Callable[[Staging], object] = lambda _staging: None  # failsafe's own news, where a pull failed
    part_stored: Callable[[Generation, Served], None] = lambda _generation, _served: None  # called from other threads
    stop: Callable[[], None] = lambda: None  # ends the programs that other threads of this process run


def run_backup(
    job: ServerJob, *, lock: AbstractContextManager[object], clock: Clock, progress: Progress, record: Recorder
) -> BackupReport:
    """Pulls under `lock` (one heavy job at a time), then gives it back. What fails outside is in the report; a busy lock raises as the lock does.

    A pull that fails does not keep repositories from catching up; one repository never keeps another from its snapshot, nor the next pull waiting.
    """
    with ExitStack() as heavy:
        heavy.enter_context(lock)
        started = clock.monotonic()
        report = _Backup(job, clock, progress, record).run(started, heavy)
        _tell(report, clock, record)
        _tell_guards(job, clock, record)
        return report


def run_snapshots(job: ServerJob, *, clock: Clock, progress: Progress, record: Recorder) -> BackupReport:
    """Brings the newest generation of staging into the targets; pulls nothing, and holds up no pull. What fails is in the report."""
    started = clock.monotonic()
    report = _Backup(job, clock, progress, record).catch_up(started)
    if report.snapshots:
        _tell(report, clock, record)
        _tell_guards(job, clock, record)
    return report


def _tell_guards(job: ServerJob, clock: Clock, record: Recorder) -> None:
    if job.guards is not None:
        with contextlib.suppress(ArchiveError):  # it is in the report
            for event in job.guards.news(clock.now()):
                record(event)
            job.guards.note_told()


class _Backup:
    def __init__(self, job: ServerJob, clock: Clock, progress: Progress, record: Recorder) -> None:
        self._job, self._clock, self._progress, self._record = job, clock, progress, record
        self._proofs = Proofs(job.proofs)
        self._troubles: list[Trouble] = []

    def run(self, started: float, heavy: ExitStack) -> BackupReport:
        pulled: PullReport | None = None
        newest: Generation | None = None
        served = Served()
        try:
            with Staging.open(self._job.staging, self._job.server, sets_aside=True) as staging:
                known = self._proofs.highest()
                make_whole(staging, self._sources(), self._progress, self._job.narrate, self._job.stop, known)
                with self._parts(staging) as parts:
                    pulled = self._pull(staging)
                    if pulled is None:
                        self._carry(staging)
                    newest = staging.newest()
                    if is_clearing(staging):
                        clear_away(staging)
                    heavy.close()  # a repository may take days: pulls go on meanwhile
                    if newest is not None:
                        served = self._snapshot(staging, newest, parts)
                if newest is not None:
                    for one in served.snapshots:
                        self._judge_repository(one)
                    self._look_for_rot(staging, newest)
                    if not self._guards(pulled) and not self._troubles:  # while one stands, or may stand, nothing is deleted
                        staging.collect(keep=self._in_use())
        except (Interrupted, LeaseLost):
            raise
        except FailsafeError as error:
            self._troubles.append(Trouble(str(error), error.mend))
        return self._report(pulled, newest, served, timedelta(seconds=self._clock.monotonic() - started))

    def catch_up(self, started: float) -> BackupReport:
        newest: Generation | None = None
        served = Served()
        try:
            with Staging.open(self._job.staging, self._job.server) as staging:
                newest = staging.newest()
                if newest is not None:
                    served = self._snapshot(staging, newest)
                    for one in served.snapshots:
                        self._judge_repository(one)
        except (Interrupted, LeaseLost):
            raise
        except FailsafeError as error:
            self._troubles.append(Trouble(str(error), error.mend))
        return BackupReport(
            self._job.server,
            Result.FAILED if self._troubles else Result.OK,
            Counts(total=0 if newest is None else newest.messages),
            unchanged=not (served.snapshots or served.skipped or self._troubles),
            snapshots=served.snapshots,
            skipped=served.skipped,
            guards=self._guards(None),
            troubles=tuple(self._troubles),
            generation=None if newest is None else newest.number,
            took=timedelta(seconds=self._clock.monotonic() - started),
        )

    def _sources(self) -> tuple[Repository, ...]:
        return self._job.sources or (*(target.repository for target in self._job.targets), *self._job.others)

    def _pull(self, staging: Staging, mends: int = MENDS) -> PullReport | None:
        """`mends`: how often it may begin anew after a damaged file of staging was brought back."""
        try:
            pulled = self._job.pull(staging, self._progress)
        except (Interrupted, LeaseLost):
            raise
        except HostKeyError as error:
            text, mend, shown = str(error), error.mend, error.shown
            if error.changed:
                mend = mend_of(HOST_KEY, self._job.server)
                self._with_book(lambda book: book.stand(HOST_KEY, text, self._clock.now(), about=shown))
            self._troubles.append(Trouble(text, mend))
            return None
        except FailsafeError as error:
            if mends and isinstance(error, ArchiveError) and self._was_mended(staging, error):
                return self._pull(staging, mends - 1)
            self._troubles.append(Trouble(str(error), error.mend))
            return None
        if pulled.damaged:
            self._watch().suspect(pulled.damaged)
        self._with_book(lambda book: book.lift(HOST_KEY))  # it is the known one again
        return pulled

    def _was_mended(self, staging: Staging, error: ArchiveError) -> bool:
        """A pull came upon a damaged file of staging: without it no new mail is stored, so it is not left to the look of the month.

        What cannot be mended now is known to that look from here on, which asks again and says how to go on.
        """
        if not error.damaged or not self._watch().suspect([error.damaged]):
            return False
        job = self._job
        if replace_damaged(staging, [error.damaged], self._sources(), self._progress, job.narrate, job.stop):
            return False
        self._tell_damage(f"{Found((error.damaged,))}; it was brought back", {"damaged": [error.damaged], "left": []})
        return True

    def _watch(self) -> RotWatch:
        return watch_of(self._job.proofs, self._clock)

    def _tell_damage(self, text: str, details: dict[str, object]) -> None:
        self._job.narrate(text)
        name = "staging.damaged" if details["left"] else "staging.mended"
        self._record(Event(name, self._job.server, text, self._clock.now(), details))

    def _carry(self, staging: Staging) -> None:
        """A failover is in every repository soon, although it happens while the server is dead."""
        try:
            self._job.carry(staging)
        except (Interrupted, LeaseLost):
            raise
        except FailsafeError as error:
            self._job.narrate(f"the journal does not go along into the backup: {error}")

    def _look_for_rot(self, staging: Staging, newest: Generation) -> None:
        """After everything else, so that no recovery point waits for it."""
        job, watch = self._job, self._watch()
        found = watch.look(staging, newest, self._progress)
        if not found.damaged:
            return
        left = found.damaged
        if found.is_due:
            left = replace_damaged(staging, left, self._sources(), self._progress, job.narrate, job.stop)
            watch.still(left)
        if found.is_news or len(left) < len(found.damaged):
            text = f"{found}; {len(found.damaged) - len(left)} came back from a snapshot"
            self._tell_damage(text, {"damaged": list(found.damaged), "left": list(left)})
        if left:
            self._troubles.append(
                Trouble(f"{Found(left)}; no snapshot could give them", UNMENDED.format(staging.folder / left[0]))
            )

    def _with_book(self, deed: Callable[[GuardBook], object]) -> None:
        if self._job.guards is None:
            return
        try:
            deed(self._job.guards)
        except ArchiveError as error:
            trouble = Trouble(str(error), error.mend)
            self._troubles += [trouble] if trouble not in self._troubles else []

    def _snapshot(self, staging: Staging, newest: Generation, parts: Parts | None = None) -> Served:
        targets = self._job.targets
        if parts is not None:  # one that is still at a part takes this when it is done
            targets = tuple(replace(target, hold=partial(parts.after, target)) for target in targets)
        make = self._snapshotter(staging, by_hand=self._job.by_hand)
        return serve_all(targets, lambda progress: make(newest, progress), self._progress, self._job.stop)

    def _parts(self, staging: Staging) -> Parts:
        """Snapshots of what a long pull has so far, where it is a repository's turn."""
        parts = Parts(self._job.targets, self._snapshotter(staging, by_hand=False), self._job.stop, self._part_stored)
        self._job.checkpoints.listen(parts)
        return parts

    def _snapshotter(self, staging: Staging, *, by_hand: bool) -> Maker:
        job, proofs, clock, record = self._job, self._proofs, self._clock, self._record
        return lambda generation, progress: Snapshotter(
            staging, generation, proofs, clock, progress, record, zone=job.zone, by_hand=by_hand
        )

    def _part_stored(self, generation: Generation, served: Served) -> None:
        """Told as it happens: the pull may go on for days."""
        self._job.part_stored(generation, served)
        if served.snapshots:
            told = [f"{one.repository}: {one.trouble.text if one.trouble else 'stored'}" for one in served.snapshots]
            text = f"{generation.messages} messages so far, the pull goes on; {'; '.join(told)}"
            details = {"generation": generation.number, "snapshots": [one.to_json() for one in served.snapshots]}
            self._record(Event("backup.part", self._job.server, text, self._clock.now(), {**generation.notes, **details}))

    def _judge_repository(self, one: SnapshotReport) -> None:
        """Another repository than the known one, at its address, is a guard until a person says that it was meant, or the known one is back."""
        trouble, place = one.trouble, REPOSITORY + one.repository
        if trouble is not None and trouble.kind == "unexpected-repository":
            text = trouble.text
            self._with_book(lambda book: book.stand(UNKNOWN, text, self._clock.now(), place))
        elif one.snapshot_id:
            self._with_book(lambda book: book.lift(UNKNOWN, place))

    def _guards(self, pulled: PullReport | None) -> tuple[Guard, ...]:
        if self._job.guards is None:
            return () if pulled is None else pulled.guards
        found: list[Guard] = []
        self._with_book(lambda book: found.extend(book.guards()))
        return tuple(found)

    def _in_use(self) -> set[int]:
        """Generations that a repository's last snapshot names: the next one there is compared with its files."""
        repositories = [*(target.repository for target in self._job.targets), *self._job.others]
        proofs = (self._proofs.get(repository.name) for repository in repositories)
        return {proof.generation for proof in proofs if proof is not None}

    def _report(self, pulled: PullReport | None, newest: Generation | None, served: Served, took: timedelta) -> BackupReport:
        number = None if newest is None else newest.number
        guards = self._guards(pulled)
        if pulled is None:
            return BackupReport(
                self._job.server,
                Result.FAILED,
                Counts(total=0 if newest is None else newest.messages),
                unchanged=False,
                snapshots=served.snapshots,
                skipped=served.skipped,
                guards=guards,
                troubles=tuple(self._troubles),
                generation=number,
                took=took,
            )
        return BackupReport(
            self._job.server,
            Result.FAILED if self._troubles else pulled.result,
            Counts(pulled.total, pulled.new, pulled.moved, pulled.reflagged, pulled.gone),
            unchanged=pulled.unchanged and not served.snapshots and not self._troubles,
            snapshots=served.snapshots,
            skipped=served.skipped,
            missing=pulled.missing,
            guards=guards,
            troubles=tuple(self._troubles),
            notes=pulled.notes,
            generation=number,
            bytes_pulled=pulled.bytes_pulled,
            took=took,
            proved=pulled.proved,
        )


def _tell(report: BackupReport, clock: Clock, record: Recorder) -> None:
    """One event, unless nothing happened: a sleeping disk is not woken to write that."""
    if report.unchanged and report.result is Result.OK and not report.guards:
        return
    names = {Result.OK: "backup.done", Result.INCOMPLETE: "backup.incomplete", Result.FAILED: "backup.failed"}
    details = replace(report, missing=report.missing[:MISSING_IN_EVENT]).to_json()
    record(Event(names[report.result], report.server, _sentence(report), clock.now(), details))


def _sentence(report: BackupReport) -> str:
    troubles = [trouble.text for trouble in report.troubles]
    troubles += [f"{one.repository}: {one.trouble.text}" for one in report.snapshots if one.trouble is not None]
    if troubles:
        return troubles[0].splitlines()[0]
    if report.missing:
        return f"{len(report.missing)} message(s) or files are missing from generation {report.generation}"
    counts = report.messages
    return f"{counts.total} messages, {counts.new} new, in {len(report.snapshots)} snapshot(s)"
