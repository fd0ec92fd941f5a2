"""Runs a restore drill of one server: its newest complete snapshot, brought back the way that needs no failsafe, opened, and compared.

restic gives the files, the snapshot's own rebuild.py makes Maildirs of them, a reader of mail opens these, and everything that it shows is
compared with the manifest. Nothing here can change a repository, staging or a mail server.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from failsafe.backup.archive import Archive
from failsafe.backup.archive.layout import GENERATIONS, README, REBUILD, generation_number, path_of
from failsafe.backup.drill import Bounds, Canary, MailboxSize, choose_mailboxes
from failsafe.backup.drill_fetch import Fetcher
from failsafe.backup.drill_open import Opening
from failsafe.backup.drill_parts import Chosen, Parts
from failsafe.backup.drill_report import FAULTS_NAMED, Fault, MailboxDrill, ServerDrill, Timing
from failsafe.backup.opening import MailOpener, Rebuilder, Rebuilt
from failsafe.backup.report import Trouble
from failsafe.backup.snapshot import host_of, read_tags, state_of
from failsafe.errors import (
    ArchiveError,
    ExternalError,
    FailsafeError,
    Interrupted,
    LeaseLost,
    MailError,
    ProcessError,
    ResticError,
)
from failsafe.mail.manifest import Generation, MailboxManifest
from failsafe.model import Result, SnapshotInfo
from failsafe.ports import Clock, Progress, Repository

RESERVE = 64 << 20  # bytes of disk that a drill leaves free, and that its own lists and indexes may take
REBUILD_SAID = 20  # problems of rebuild.py that are told; the comparison names each message


@dataclass(frozen=True, slots=True)
class DrillJob:
    """`folder` is empty and the drill's own; `free` tells the bytes free there; `drilled`: when each mailbox last came back well."""

    repository: Repository
    server: str
    folder: Path
    bounds: Bounds
    drilled: Mapping[str, datetime]
    seed: str
    known: frozenset[str]  # mailboxes that probes are sent to: the canary is taken from there
    is_new: bool  # no backup of the server was ever complete, so that there need not be anything to drill
    opener: MailOpener
    files: MailOpener  # for folders that not every mail server shows
    rebuild: Rebuilder
    free: Callable[[], int]
    clock: Clock
    progress: Progress


def drill_server(job: DrillJob) -> ServerDrill:
    """Never raises for what the repository or the mail in it does: that is in the result."""
    drill = _Drill(job)
    try:
        drill.run()
    except (Interrupted, LeaseLost):
        raise
    except (ArchiveError, ResticError) as error:
        if isinstance(error, ResticError) and error.kind != "failed":
            return drill.result(Trouble(str(error), error.mend))
        drill.fault(Fault(str(error)))  # the repository was opened a moment ago, so this is its data
    except FailsafeError as error:
        return drill.result(Trouble(str(error), error.mend))
    except OSError as error:
        mend = "look at the disk that holds controller.state_dir; the drill is made again"
        return drill.result(Trouble(f"cannot work in {job.folder}: {error.strerror or error}", mend))
    return drill.result(None)


def newest_complete(listed: tuple[SnapshotInfo, ...]) -> SnapshotInfo | None:
    """Of one server's snapshots."""
    ours = [info for info in listed if read_tags(info.tags).result == Result.OK and read_tags(info.tags).generation is not None]
    return max(ours, key=lambda info: (info.at, read_tags(info.tags).generation or 0), default=None)


class _Drill:
    """What is known while one drill runs."""

    def __init__(self, job: DrillJob) -> None:
        self.job = job
        self.archive = Archive(job.folder / "archive")
        self.spent = dict.fromkeys(("restic", "rebuild", "open", "compare"), 0.0)
        self.faults: list[Fault] = []
        self.fault_count = 0
        self.notes: list[str] = []
        self.mailboxes: list[MailboxDrill] = []
        self.snapshot: SnapshotInfo | None = None
        self.canary: Canary | None = None
        self.opened = False

    def run(self) -> None:
        self._stage("asking for snapshots")
        with self.timed("restic"):
            self.snapshot = newest_complete(listed := self.job.repository.snapshots(host_of(self.job.server)))
        if self.snapshot is None:
            self._nothing(any_there=bool(listed))
            return
        with self.timed("restic"):
            self._stage("fetching manifests")
            fetcher = Fetcher(self.job.repository, self.snapshot, self.archive.folder, self.job.clock.monotonic)
            try:
                chosen = self._choose(fetcher)
                self._demand_room(fetcher, chosen)
                self._stage("fetching messages")
                fetcher.fetch(chosen.data_files)
            finally:
                for fault in fetcher.faults:
                    self.fault(fault)
        with self.timed("rebuild"):
            self._stage("rebuilding Maildirs")
            self._rebuild(chosen)
        for mailbox in chosen.mailboxes:
            self._compare(chosen, mailbox)
        if chosen.generation.messages and not sum(each.messages for each in self.mailboxes):
            self.fault(Fault(f"none of {chosen.generation.messages} messages was tried"))

    def result(self, trouble: Trouble | None) -> ServerDrill:
        snapshot = self.snapshot
        return ServerDrill(
            self.job.server,
            "" if snapshot is None else snapshot.id,
            None if snapshot is None else snapshot.at,
            None if snapshot is None else read_tags(snapshot.tags).generation,
            tuple(self.mailboxes),
            self.canary,
            self.job.opener.name if self.opened else "",
            Timing(**self.spent),
            tuple(self.faults),
            self.fault_count,
            tuple(self.notes),
            trouble,
        )

    def fault(self, fault: Fault) -> None:
        self.fault_count += 1
        if len(self.faults) < FAULTS_NAMED:
            self.faults.append(fault)

    @contextlib.contextmanager
    def timed(self, step: str) -> Iterator[None]:
        began = self.job.clock.monotonic()
        try:
            yield
        finally:
            self.spent[step] += self.job.clock.monotonic() - began

    # -- what is brought back --------------------------------------------------------------------------------------------

    def _nothing(self, *, any_there: bool) -> None:
        """Nothing complete is there: no fault while the first pull is still under way."""
        name = self.job.repository.name
        what = "only snapshots that are not complete" if any_there else "no snapshot"
        text = f"repository {name} holds {what} of {self.job.server}, so nothing of it could be tried"
        if self.job.is_new:
            self.notes.append(text)
        else:
            self.fault(Fault(text))

    def _choose(self, fetcher: Fetcher) -> Chosen:
        generation = self._generation(fetcher)
        manifests = self._manifests(fetcher, generation)
        room = self.job.free() - RESERVE
        bounds = self.job.bounds.within(room)
        sizes = [_size_of(fetcher, manifest) for manifest in manifests.values()]
        choice = choose_mailboxes(sizes, self.job.drilled, bounds, self.job.seed)
        if bounds.bytes < self.job.bounds.bytes and len(choice.whole) < min(len(sizes), bounds.mailboxes):
            self.notes.append(f"only {max(room, 0) >> 20} MiB are free for a drill, so fewer mailboxes were tried")
        parts = Parts(fetcher, self.archive, generation, manifests, self.job.seed)
        assert self.snapshot is not None
        chosen = parts.choose(choice, self.job.known, self.snapshot.at)
        self.canary = chosen.canary
        return chosen

    def _generation(self, fetcher: Fetcher) -> Generation:
        """The snapshot's only one. Raises ArchiveError where it is not what the snapshot's tags say."""
        assert self.snapshot is not None
        names = [path for path in fetcher.sizes if path.startswith(f"{GENERATIONS}/")]
        wanted = read_tags(self.snapshot.tags).generation
        if [generation_number(Path(name).name) for name in names] != [wanted]:
            text = f"snapshot {self.snapshot.id[:8]} holds {', '.join(names) or 'no generation'} instead of generation {wanted} alone"
            raise ArchiveError(text, transient=False)
        fetcher.fetch([*names, README, REBUILD])
        generation = self.archive.generation()
        state = read_tags(self.snapshot.tags).state
        if state and state != state_of(self.archive, generation.number):
            self.fault(Fault(f"snapshot {self.snapshot.id[:8]} holds another generation {generation.number} than its tags say"))
        if generation.result is not Result.OK:
            self.fault(Fault(f"generation {generation.number} is {generation.result}, its snapshot says ok"))
        return generation

    def _manifests(self, fetcher: Fetcher, generation: Generation) -> dict[str, MailboxManifest]:
        fetcher.fetch(path_of("mailboxes", name) for name in generation.mailboxes.values())
        found = {}
        for mailbox, name in generation.mailboxes.items():
            try:
                found[mailbox] = self.archive.manifest(name)
            except ArchiveError as error:
                self.fault(Fault(str(error), mailbox))
        total = sum(folder.messages for manifest in found.values() for folder in manifest.folders)
        if len(found) == len(generation.mailboxes) and total != generation.messages:
            self.fault(Fault(f"the snapshot promises {generation.messages} messages, its manifests count {total}"))
        return found

    def _demand_room(self, fetcher: Fetcher, chosen: Chosen) -> None:
        needed = fetcher.bytes_of(chosen.data_files) + chosen.message_bytes + RESERVE
        free = self.job.free()
        if needed > free:
            raise ExternalError(
                f"a drill needs {needed >> 20} MiB of disk, and {free >> 20} MiB are free",
                mend="make room on the disk that holds controller.state_dir, or set it to a larger one",
            )

    # -- rebuilt and opened ----------------------------------------------------------------------------------------------

    def _rebuild(self, chosen: Chosen) -> None:
        """As README.txt tells a person to; parts of mailboxes have a generation of their own."""
        for generation, mailboxes in chosen.rebuilds(self.archive.folder):
            said = self.job.rebuild(
                self.archive.folder, self._target, mailboxes, generation=generation, size=chosen.message_bytes
            )
            _demand_end(said)
            for problem in said.problems[:REBUILD_SAID]:
                self.fault(Fault(f"rebuild.py: {problem}"))
            self.notes += [f"rebuild.py: {note}" for note in said.notes[:REBUILD_SAID]]
            if said.code and not said.problems:
                self.fault(Fault(f"rebuild.py ended with code {said.code} and named no problem"))

    def _compare(self, chosen: Chosen, mailbox: str) -> None:
        self._stage(f"opening {mailbox} with {self.job.opener.name}")
        before = self.fault_count
        opening = Opening(self.archive, chosen.manifest(mailbox), self._target, self.fault, self.notes.append)
        who = self.job.files.name
        try:
            with self.timed("compare"):
                opening.compare_strange(self.job.files)
            who = self.job.opener.name
            with self.timed("open"):
                opening.open(self.job.opener)
            self.opened = True
            with self.timed("compare"):
                opening.compare(self.job.opener)
        except (MailError, ProcessError) as error:
            self.fault(Fault(f"{who} could not read it: {error}", mailbox))
        finally:
            opening.close()
        ok = self.fault_count == before and not any(fault.mailbox == mailbox for fault in self.faults)
        self.mailboxes.append(MailboxDrill(mailbox, chosen.kind(mailbox), opening.messages, opening.bytes, ok))

    @property
    def _target(self) -> Path:
        return self.job.folder / "mail"

    def _stage(self, text: str) -> None:
        self.job.progress.stage(f"drill of {self.job.server} in {self.job.repository.name}: {text}")


def _demand_end(said: Rebuilt) -> None:
    """Raises ExternalError where the disk ended it, which says nothing about the mail."""
    if said.stopped:
        mend = "make room on the disk that holds controller.state_dir, or look at it; the drill is made again"
        raise ExternalError(f"rebuild.py {said.stopped}", mend=mend)


def _size_of(fetcher: Fetcher, manifest: MailboxManifest) -> MailboxSize:
    paths = [path_of("segments", segment) for segment in manifest.segments]
    paths += [path_of("shards", shard) for folder in manifest.folders for shard in folder.shards]
    messages = sum(folder.messages for folder in manifest.folders)
    return MailboxSize(manifest.mailbox, messages, sum(fetcher.sizes.get(path, 0) for path in paths))
