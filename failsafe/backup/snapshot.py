"""One repository's part in a backup: bring the newest generation of staging into it, and prove that it is there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from failsafe.backup.archive.clearing import snapshot_excludes
from failsafe.backup.archive.layout import GENERATIONS, generation_path
from failsafe.backup.archive.reader import Archive
from failsafe.backup.archive.staging import Staging
from failsafe.backup.due import Duty, LastRun, Window, next_due_at
from failsafe.backup.proofs import Begun, Proof, Proofs
from failsafe.backup.report import SnapshotReport, Trouble
from failsafe.errors import ArchiveError, FailsafeError, Interrupted, LeaseLost, ResticError
from failsafe.events import Event
from failsafe.mail.manifest import Generation
from failsafe.model import Result, SnapshotInfo
from failsafe.ports import Clock, Progress, Recorder, Repository, SnapshotRequest

TRUSTED_FOR = timedelta(days=1)  # how long a proof stands before the repository's own list is read again
JITTER = 0.9  # of `every`: a backup that begins a little earlier than the last one did is still the next one
STATE_DIGITS = 16
NAMED = 5


@dataclass(frozen=True, slots=True)
class Target:
    """A repository and when snapshots may go there. `every` zero: with every backup. `hold` makes it ours alone; Refused while it is somebody else's."""

    repository: Repository
    every: timedelta = timedelta()
    window: Window | None = None
    hold: Callable[[], AbstractContextManager[object]] = nullcontext


@dataclass(frozen=True, slots=True)
class Held:
    """What a snapshot says of itself, in its tags."""

    generation: int | None
    state: str
    result: str
    messages: int | None


def host_of(server: str) -> str:
    """restic's host name for a server's snapshots. A comma or a blank in it would be another host to restic."""
    return f"failsafe-{server}"


def tags_of(generation: Generation, state: str, result: Result | None = None) -> tuple[str, ...]:
    """Everything that is needed to know what is stored where, without any state of ours. `result`: of the snapshot, where it is another."""
    return (
        f"generation:{generation.number}",
        f"state:{state}",
        f"result:{result or generation.result}",
        f"messages:{generation.messages}",
    )


def read_tags(tags: Sequence[str]) -> Held:
    """The other way round; a snapshot that is not ours holds nothing."""
    values = dict(tag.split(":", 1) for tag in tags if ":" in tag)
    number, messages = values.get("generation", ""), values.get("messages", "")
    return Held(
        int(number) if number.isdecimal() else None,
        values.get("state", ""),
        values.get("result", ""),
        int(messages) if messages.isdecimal() else None,
    )


def state_of(staging: Staging | Archive, number: int) -> str:
    """Digits that tell this generation from any other of the same number. Raises ArchiveError."""
    path = staging.folder / generation_path(number)
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:STATE_DIGITS]
    except OSError as error:
        raise ArchiveError(f"cannot read {path}: {error.strerror}") from error


def is_due(target: Target, last_at: datetime | None, now: datetime, zone: tzinfo) -> bool:
    """Whether a snapshot may go there now: at most one in `every`, and only while the window is open."""
    duty = Duty("snapshot", target.every * JITTER, window=target.window)
    last = LastRun() if last_at is None else LastRun(last_at, last_at, last_at)
    return next_due_at(duty, last, now, zone) <= now


class Snapshotter:
    """Brings one server's newest generation into repositories, each on its own account."""

    def __init__(
        self,
        staging: Staging,
        generation: Generation,
        proofs: Proofs,
        clock: Clock,
        progress: Progress,
        record: Recorder,
        *,
        zone: tzinfo,
        by_hand: bool,
    ) -> None:
        self._staging, self._generation, self._proofs = staging, generation, proofs
        self._clock, self._progress, self._record = clock, progress, record
        self._zone, self._by_hand = zone, by_hand
        self._host = host_of(staging.server)
        self._state = state_of(staging, generation.number)

    def serve(self, target: Target) -> SnapshotReport | None:
        """None where there is nothing to do: the generation is there, or its time has not come. Whatever fails is in the report."""
        started = self._clock.monotonic()
        try:
            made = self._serve(target)
        except (Interrupted, LeaseLost):
            raise
        except FailsafeError as error:
            kind = error.kind if isinstance(error, ResticError) else ""
            return SnapshotReport(
                target.repository.name,
                Result.INCOMPLETE if kind == "incomplete" else Result.FAILED,
                generation=self._generation.number,
                took=timedelta(seconds=self._clock.monotonic() - started),
                trouble=Trouble(str(error), error.mend.replace("accept SERVER", f"accept {self._staging.server}"), kind),
            )
        if made is None:
            return None
        snapshot_id, added = made
        return SnapshotReport(
            target.repository.name,
            self._generation.result,
            snapshot_id,
            self._generation.number,
            added,
            timedelta(seconds=self._clock.monotonic() - started),
        )

    def _serve(self, target: Target) -> tuple[str, int] | None:
        repository, now = target.repository, self._clock.now()
        proof, begun = self._proofs.get(repository.name), self._proofs.begun(repository.name)
        if proof is not None and not self._by_hand and self._settles(target, proof, now):
            return None  # without waking the repository's disk
        if proof is not None and begun is None and self._is_fresh(proof, now) and repository.recognises(proof.snapshot_id):
            if self._is_ours(proof.generation, proof.state):
                return None
            due = self._by_hand or is_due(target, proof.generation_at, now, self._zone)
            return self._take(repository, proof.opened_at) if due else None
        self._open(repository)
        listed = repository.snapshots(self._host)
        if begun is not None and not self._is_ours(begun.generation, begun.state):
            self._judge_begun(repository, listed, begun)
        wanting: list[SnapshotInfo] = []
        for info in self._holders(listed):
            if self._is_whole(repository, info.id):
                self._prove(repository, info.id, now)
                return None
            self._disown(repository, info)
            wanting.append(info)
        past = [info.at for info in listed if info.at <= now and info not in wanting]
        if not self._by_hand and not is_due(target, max(past, default=None), now, self._zone):
            return None
        return self._take(repository, now, len(wanting))

    def _settles(self, target: Target, proof: Proof, now: datetime) -> bool:
        """Whether what we know from the last run leaves nothing to do."""
        if not self._is_fresh(proof, now):
            return False
        return self._is_ours(proof.generation, proof.state) or not is_due(target, proof.generation_at, now, self._zone)

    def _is_fresh(self, proof: Proof, now: datetime) -> bool:
        return timedelta() <= now - proof.opened_at < TRUSTED_FOR

    def _open(self, repository: Repository) -> None:
        """Creates it where there surely is none."""
        try:
            repository.open()
        except ResticError as error:
            if error.kind != "no-repository":
                raise
            restic_id = repository.ensure()
            text = f"repository {repository.name} was created"
            self._record(Event("repository.created", repository.name, text, self._clock.now(), {"id": restic_id}))

    def _take(self, repository: Repository, opened_at: datetime, wanting: int = 0) -> tuple[str, int]:
        """`wanting`: how many snapshots of this generation are not whole. It is dated after them, so that restic's `latest` is this one."""
        number = self._generation.number
        request = SnapshotRequest(
            self._staging.folder,
            self._host,
            tags_of(self._generation, self._state),
            snapshot_excludes(self._staging, number),
            self._generation.at + timedelta(seconds=wanting),
        )
        self._proofs.begin(repository.name, number, self._state)
        try:
            taken = repository.backup(request, self._progress)
            self._demand_whole(repository, taken.id, taken.files)
        except ResticError as error:
            if error.kind == "incomplete":
                self._disown_all(repository)
            raise
        self._prove(repository, taken.id, opened_at)
        return taken.id, taken.bytes_added

    def _judge_begun(self, repository: Repository, listed: Sequence[SnapshotInfo], begun: Begun) -> None:
        """A run was killed before it saw whether its snapshot is whole, and that generation is the newest no more."""
        for info in self._holders(listed, begun):
            if not self._was_whole(repository, info.id, begun):
                self._disown(repository, info)
        self._proofs.settle(repository.name)

    def _was_whole(self, repository: Repository, snapshot_id: str, begun: Begun) -> bool:
        """False too where staging no longer has that generation: nobody can say it then."""
        with suppress(ArchiveError):
            if state_of(self._staging, begun.generation) == begun.state:
                return self._is_whole(repository, snapshot_id, self._staging.generation(begun.generation))
        return False

    def _disown_all(self, repository: Repository) -> None:
        """What was just made is in the repository and may lack files. Where it cannot be asked now, the next backup does this."""
        self._proofs.forget(repository.name)  # so that the next one looks at the list
        with suppress(ResticError):
            for info in self._holders(repository.snapshots(self._host)):
                if not self._is_whole(repository, info.id):
                    self._disown(repository, info)

    def _disown(self, repository: Repository, info: SnapshotInfo) -> None:
        """A snapshot that is not whole must not say that it is: retention, a restore and a person go by its tags."""
        if read_tags(info.tags).result != Result.OK:
            return
        text = f"snapshot {info.id[:8]} lacks files of generation {read_tags(info.tags).generation}, or cannot be compared with it any more"
        details: dict[str, object] = {"snapshot_id": info.id}
        tags = (f"result:{Result.INCOMPLETE}" if tag.startswith("result:") else tag for tag in info.tags)
        try:
            fresh = repository.retag(info.id, tuple(tags))
            text += f"; it is {fresh[:8]} now and says so"
            details["retagged"] = fresh
        except ResticError as error:
            text += " and still says that it is whole: its tags could not be changed"
            details["error"] = str(error)
        self._record(Event("snapshot.wanting", repository.name, text, self._clock.now(), details))

    def _holders(self, listed: Sequence[SnapshotInfo], of: Begun | None = None) -> list[SnapshotInfo]:
        """Snapshots that say they hold our generation (or that one), newest first."""
        wanted = (self._generation.number, self._state) if of is None else (of.generation, of.state)
        held = ((info, read_tags(info.tags)) for info in reversed(listed))
        return [info for info, tags in held if (tags.generation, tags.state) == wanted]

    def _is_ours(self, generation: int, state: str) -> bool:
        return (generation, state) == (self._generation.number, self._state)

    def _is_whole(self, repository: Repository, snapshot_id: str, generation: Generation | None = None) -> bool:
        lacking, generations = self._compare(repository.list_files(snapshot_id, ""), generation)
        return not lacking and len(generations) == 1

    def _demand_whole(self, repository: Repository, snapshot_id: str, files: Sequence[str] | None) -> None:
        """restic's word is not enough: from 0.18 on it leaves out what vanished during the run, and calls that a success."""
        lacking, generations = self._compare(repository.list_files(snapshot_id, "") if files is None else files)
        if lacking:
            text = f"snapshot {snapshot_id[:8]} lacks {len(lacking)} file(s) of generation {self._generation.number}"
            raise ResticError(
                f"repository {repository.name}: {text}, such as {', '.join(lacking[:NAMED])}",
                kind="incomplete",
                mend="run the backup again; if it happens twice, run `failsafe verify`",
            )
        if len(generations) != 1:
            raise ResticError(f"repository {repository.name}: snapshot {snapshot_id[:8]} holds {len(generations)} generations")

    def _compare(self, files: Sequence[str], generation: Generation | None = None) -> tuple[list[str], list[str]]:
        """(files that a snapshot of these lacks, generations that it holds). `generation`: another than ours."""
        there = set(files)
        needed = self._staging.archive.files_needed(generation or self._generation)
        generations = [path for path in there if path.startswith(f"{GENERATIONS}/")]
        return sorted(path for path in needed if path not in there), generations

    def _prove(self, repository: Repository, snapshot_id: str, opened_at: datetime) -> None:
        proof = Proof(snapshot_id, self._generation.number, self._state, self._generation.at, self._clock.now(), opened_at)
        self._proofs.put(repository.name, proof)
