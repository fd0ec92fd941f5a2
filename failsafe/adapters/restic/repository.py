"""The port Repository on restic."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

from failsafe.adapters.process import Finished
from failsafe.adapters.restic import commands
from failsafe.adapters.restic.capabilities import Capabilities
from failsafe.adapters.restic.driver import PATIENCE, Access, Driver, Narrator, Patience
from failsafe.adapters.restic.escrow import Files, ask_files, copy_files, prove
from failsafe.adapters.restic.glance import Memory, find_whole
from failsafe.adapters.restic.growth import shown_growth
from failsafe.adapters.restic.listeners import BackupLines, PruneLines
from failsafe.adapters.restic.parse import (
    Failure,
    Summary,
    as_json,
    is_refusal,
    judge_failure,
    parse_config_id,
    parse_node,
    parse_packs,
    parse_prune,
    parse_snapshot,
    parse_snapshots,
    words,
)
from failsafe.adapters.restic.paths import archive_paths, arrived
from failsafe.adapters.restic.place import (
    Counter,
    clear_unfinished_init,
    counter_of,
    demand_place,
    demand_writable,
    local_folder,
    name_failure,
)
from failsafe.adapters.restic.reach import sftp_options
from failsafe.errors import ResticError
from failsafe.model import SnapshotInfo, SnapshotTaken
from failsafe.ports import CheckReport, Progress, PruneReport, SnapshotRequest
from failsafe.secrets import Secret

LISTING = timedelta(minutes=30)  # `ls` reads the whole index first, over a slow line perhaps
LONGEST = timedelta(days=14)  # a first snapshot over a slow line takes days; the no-progress watchdog is what ends a stuck one
SLOWEST = 100_000  # bytes a second that a fetch may be expected to reach
EXPECTED = 16_000_000  # bytes of a file of which the size is not known: a segment's
DELETE_MEND = (
    "its credential may not delete there (as on an append-only server): give the repository a maintenance_environment_file with one that may, "
    'or set maintenance = "elsewhere" and run restic forget and prune where that is allowed; nothing is lost meanwhile'
)
NAMED = 10  # files named in an error
DAMAGE_LINES = 50
CACHE_LEFTOVER_AGE = timedelta(days=2)  # of a `restic check` that was killed


class ResticRepository:
    """One restic repository. `limit_upload` and `limit_download` in bytes a second; `expected_id`: what it must be, once known."""

    def __init__(  # noqa: PLR0913 - one argument for each key of its configuration
        self,
        name: str,
        url: str,
        *,
        password: Callable[[], Secret],
        environment: Callable[[], Mapping[str, Secret]] = dict,
        cache_dir: Path,
        program: str = "restic",
        limit_upload: int | None = None,
        limit_download: int | None = None,
        expected_id: str | None = None,
        patience: Patience = PATIENCE,
        narrate: Narrator = lambda _text: None,
        ssh_key: Path | None = None,
        known_hosts: Path | None = None,
        count: Counter | None = None,  # of files at a place that is not a folder here
    ) -> None:
        extra = sftp_options(url, ssh_key, known_hosts)
        access = Access(name, url, password, environment, Path(cache_dir), program, limit_upload, limit_download, extra)
        self._folder = local_folder(url)
        self._count = counter_of(self._folder) if self._folder is not None else count
        self._driver = Driver(access, patience, narrate, self._named)
        self._memory = Memory(access.cache_dir / "known" / f"{name}.json")
        self._expected_id, self._silence, self._narrate = expected_id, patience.silence, narrate
        self.opened_id = ""  # of the last `open`
        self._listed: tuple[SnapshotInfo, dict[str, int]] | None = None

    @property
    def name(self) -> str:
        return self._driver.access.name

    @property
    def capabilities(self) -> Capabilities:
        """Of the installed restic."""
        return self._driver.capabilities

    def open(self) -> str:
        self._demand_place()
        lines: list[str] = []
        self._driver.demand(commands.config(), on_stdout=lines.append)
        found = parse_config_id(lines)
        if found is None:
            raise self._error("failed", "cat config", "its configuration has no id; run `failsafe verify`")
        if self._expected_id is not None and found != self._expected_id:
            raise self._error(
                "unexpected-repository",
                "cat config",
                f"another repository ({found[:10]}…) is where {self._expected_id[:10]}… was",
                "if you put it there: failsafe accept SERVER --what repository --reason TEXT",
            )
        self.opened_id = found
        if self._folder is not None:
            self._memory.remember(self._folder, found)
        return found

    def recognises(self, snapshot_id: str) -> bool:
        known = self._expected_id or self.opened_id
        return bool(self._folder and known and self._memory.recognises(self._folder, known, snapshot_id))

    def ensure(self) -> str:
        """See the port. Creates only on the definite answer that nothing is there, and never where one was known before."""
        self._demand_place()  # what it raises is no answer of restic's
        try:
            return self.open()
        except ResticError as error:
            if error.kind != "no-repository":
                raise
            if self._expected_id is not None:
                raise self._error(
                    "no-repository",
                    "cat config",
                    f"nothing is where repository {self._expected_id[:10]}… was; a new one is not created in its place",
                    "mount its disk or bring it back; if it is meant to be new: failsafe accept SERVER --what repository --reason TEXT",
                ) from error
        self._create()
        return self.open()

    def backup(self, request: SnapshotRequest, progress: Progress) -> SnapshotTaken:
        self._demand_writable()
        started = time.monotonic()
        listener = BackupLines(progress, f"snapshot into {self.name}")
        argv = commands.backup(request.host, request.tags, request.excludes, request.at)

        def attempt(more: tuple[str, ...]) -> Finished:
            return self._driver.run(
                (*argv[:-1], *more, argv[-1]),
                deadline=LONGEST,
                silence=self._silence,
                cwd=request.folder,
                on_stdout=listener,
                on_stderr=listener.complaint,
            )

        finished = self._driver.locking(attempt)
        self._judge_backup(finished, listener)
        assert listener.summary is not None
        snapshot_id, files = self._seen(listener) or self._read_back(request, listener.summary)
        took = timedelta(seconds=time.monotonic() - started)
        return SnapshotTaken(snapshot_id, listener.summary.bytes_added, took, files)

    def retag(self, snapshot_id: str, tags: Sequence[str]) -> str:
        """See the port. restic answers 0 although it could change nothing, so that its list has the word."""
        first = next((info.original for info in self.snapshots() if info.id == snapshot_id), "") or snapshot_id
        finished = self._driver.locking(partial(self._maintain, commands.tag(snapshot_id, tags)))
        if finished.code != 0:
            raise self._driver.failed(finished, "tag")
        alike = [info for info in self.snapshots() if first in (info.id, info.original)]
        told = [info.id for info in alike if set(info.tags) == set(tags) and info.original]
        if not told or any(set(info.tags) != set(tags) for info in alike):
            said = judge_failure(1, finished.stderr, self.capabilities)
            raise self._error(said.kind, "tag", f"snapshot {snapshot_id[:8]} keeps its tags: {said.text}", said.mend)
        return told[-1]

    def snapshots(self, host: str | None = None) -> tuple[SnapshotInfo, ...]:
        return self._snapshots(commands.snapshots(host))

    def list_files(self, snapshot_id: str, folder: str = "") -> tuple[str, ...]:
        return tuple(sorted(self._sizes(snapshot_id, folder)[1]))

    def list_sizes(self, snapshot_id: str) -> Mapping[str, int]:
        return self._sizes(snapshot_id)[1]

    def fetch(self, snapshot_id: str, paths: Sequence[str], target: Path, progress: Progress | None = None) -> None:
        """See the port. Asks first whether the snapshot has each file, and afterwards whether each one arrived in its full size."""
        wanted = archive_paths(paths)
        if not wanted:
            return
        _, sizes = self._sizes(snapshot_id)
        self._demand_none([path for path in wanted if path not in sizes], f"snapshot {snapshot_id[:8]} does not have")
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        with shown_growth(target, {path: sizes[path] for path in wanted}, progress, f"fetching from {self.name}"):
            for portion in self._portions(wanted, sizes):
                total = sum(sizes[path] for path in portion or wanted)
                self._driver.demand(commands.restore(snapshot_id, str(target), portion), deadline=self._fetch_deadline(total))
        short = [path for path in wanted if not arrived(target / path, sizes[path])]
        self._demand_none(short, f"restic restore ended well, yet from snapshot {snapshot_id[:8]} did not arrive")

    def fetch_some(self, snapshot_id: str, paths: Sequence[str], target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        for portion in commands.batches(archive_paths(paths)):
            deadline = self._fetch_deadline(len(portion) * EXPECTED)
            self._driver.demand(commands.restore(snapshot_id, str(target), portion), deadline=deadline)

    def check(self, *, part: int = 0, parts: int = 0) -> CheckReport:
        """See the port. Only the exit code is trusted: what is not surely something else is damage."""
        self.open()  # a wrong password or an unreachable place is no damage
        self._clear_check_caches()
        finished = self._driver.run(commands.check(part, parts), deadline=LONGEST, silence=self._silence)
        percent = 100.0 / parts if parts else 0.0
        packs_read, packs = parse_packs(finished.stdout) or (None, None)
        if finished.code == 0:
            return CheckReport(ok=True, read_percent=percent, took=finished.took, packs_read=packs_read, packs=packs)
        failure = judge_failure(finished.code, finished.stderr, self.capabilities)
        if failure.kind in ("unreachable", "interrupted", "disk-full", "locked"):
            raise self._driver.error(failure, "check")
        said = words((*finished.stdout, *finished.stderr)).splitlines()
        damaged = tuple(self._driver.hide(line) for line in said[-DAMAGE_LINES:])
        return CheckReport(
            ok=False, read_percent=percent, damaged=damaged, took=finished.took, packs_read=packs_read, packs=packs
        )

    def forget(self, snapshot_ids: Sequence[str]) -> None:
        """See the port. An exit code says too little: 0.14 answers 0 although it could not delete."""
        self._demand_writable()
        for start in range(0, len(snapshot_ids), commands.BATCH_SNAPSHOTS):
            argv = commands.forget(snapshot_ids[start : start + commands.BATCH_SNAPSHOTS])
            finished = self._driver.locking(partial(self._maintain, argv))
            if finished.code not in (0, 3):  # 3, from 0.19 on: some could not be deleted; which ones is read back
                raise self._refused(self._driver.failed(finished, "forget"))
            self._demand_gone(argv[1:], finished)

    def prune(self, progress: Progress | None = None, *, whole: bool = False) -> PruneReport:
        self._demand_writable()
        listener = None if progress is None else PruneLines(progress, f"prune of {self.name}")
        finished = self._driver.locking(partial(self._maintain, commands.prune(whole=whole), listener=listener))
        if finished.code != 0:
            raise self._refused(self._driver.failed(finished, "prune"))
        left = [line for line in finished.stderr if "unable to remove" in line]
        if left:  # data that no index names any more: all versions answer 0, and the next prune tries again
            text = f"files could not be deleted, so their room is not back\n{words(finished.stderr)}"
            raise self._refused(self._error("failed", "prune", text))
        said = parse_prune(finished.stdout)
        return PruneReport(said.get("total prune"), said.get("remaining"), finished.took)

    def unlock(self) -> None:
        self._driver.demand(commands.unlock())

    def key_files(self) -> Files:
        """Its config and keys/ as files, proved: a repository made of them alone was opened with our password. Raises ResticError."""
        restic_id, access = self.open(), self._driver.access
        files = copy_files(self._folder) if self._folder is not None else ask_files(self._driver)

        def open_alone(folder: Path) -> str:
            cache = folder.parent / "cache"
            return ResticRepository(
                self.name, str(folder), password=access.password, cache_dir=cache, program=access.program
            ).open()

        prove(files, restic_id, open_alone)
        return files

    # Inside

    def _maintain(self, argv: tuple[str, ...], more: tuple[str, ...], *, listener: PruneLines | None = None) -> Finished:
        return self._driver.run((*argv, *more), deadline=LONGEST, silence=self._silence, on_stdout=listener)

    def _demand_gone(self, snapshot_ids: Sequence[str], finished: Finished) -> None:
        left = {info.id for info in self.snapshots()} & set(snapshot_ids)
        if left:
            said = judge_failure(finished.code or 1, finished.stderr, self.capabilities)
            text = f"{len(left)} of {len(snapshot_ids)} snapshots are still there, such as {min(left)[:8]}: {said.text}"
            raise self._refused(self._error(said.kind, "forget", text, said.mend), surely=not said.mend)

    def _refused(self, error: ResticError, *, surely: bool = False) -> ResticError:
        """An error of forget or prune; where the place refused to delete, with the ways out: the right credential, or another machine."""
        if self._folder is None and (surely or is_refusal(str(error))):
            error.mend = DELETE_MEND
        return error

    def _demand_writable(self) -> None:
        if self._folder is not None:
            demand_writable(self._folder)

    def _named(self, failure: Failure) -> Failure:
        wanted = failure.kind in ("wrong-password", "no-repository")
        return name_failure(failure, self._count, self._driver.access.password().source) if wanted else failure

    def _demand_place(self) -> None:
        if self._folder is not None:
            demand_place(self._folder)

    def _create(self) -> None:
        if self._folder is not None:
            clear_unfinished_init(self._folder)
        finished = self._driver.run(commands.init())
        if finished.code == 0:
            self._narrate(f"{self.name}: created a restic repository at {self._driver.place}")
            return
        try:
            self.open()  # two may have begun at once; then the other's is as good
        except ResticError:
            raise self._driver.failed(finished, "init") from None

    def _judge_backup(self, finished: Finished, listener: BackupLines) -> None:
        if finished.code == 3:
            named = "\n".join(f"  {item}" for item in listener.unread[:NAMED])
            text = f"{len(listener.unread) or 'some'} file(s) could not be read; the snapshot is incomplete\n{named}".rstrip()
            raise self._error("incomplete", "backup", text, "look at the disk that holds state_dir, then run the backup again")
        if finished.code != 0:
            raise self._driver.failed(finished, "backup")
        if listener.summary is None or not listener.summary.snapshot_id:
            raise self._error("failed", "backup", "it ended with code 0 and named no snapshot; not counted as a backup")
        if listener.unread:  # 0.18 and newer leave out files that vanished, and answer 0
            raise self._error("incomplete", "backup", f"it left out {listener.unread[0]}")

    def _seen(self, listener: BackupLines) -> tuple[str, tuple[str, ...]] | None:
        """In a folder of this machine: the snapshot's file itself, whole, and the files that restic named while it took them.

        That says no less than `restic ls`, which answers from its cache even where the repository has lost the data (measured on 0.14,
        0.18 and 0.19), and costs no key: restic derives it anew for 0.6 s with each command.
        """
        assert listener.summary is not None
        found = None if self._folder is None else find_whole(self._folder, listener.summary.snapshot_id)
        return None if found is None else (found, tuple(sorted(listener.taken)))

    def _read_back(self, request: SnapshotRequest, summary: Summary) -> tuple[str, tuple[str, ...]]:
        """The snapshot as the repository lists it, and its files. One that is not there is an error in all versions."""
        info, sizes = self._sizes(summary.snapshot_id)
        if info.host != request.host or set(info.tags) != set(request.tags):
            text = (
                f"snapshot {summary.snapshot_id[:8]} reads back as one of {info.host!r} with other tags; not counted as a backup"
            )
            raise self._error("failed", "ls", text, "run `failsafe verify`")
        return info.id, tuple(sorted(sizes))

    def _snapshots(self, argv: tuple[str, ...]) -> tuple[SnapshotInfo, ...]:
        lines: list[str] = []
        self._driver.demand(argv, on_stdout=lines.append)
        try:
            return parse_snapshots("\n".join(lines))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._error("failed", "snapshots", "its list of snapshots makes no sense") from error

    def _sizes(self, snapshot_id: str, folder: str = "") -> tuple[SnapshotInfo, dict[str, int]]:
        """The snapshot itself, and the size of each of its files. A whole list is remembered until another snapshot is asked for: none ever changes."""
        if self._listed is not None and self._listed[0].id == snapshot_id and not folder:
            return self._listed
        nodes: dict[str, int] = {}
        found: list[SnapshotInfo] = []

        def listen(line: str) -> None:
            if not found and f'"id":"{snapshot_id}' in line and '"tree":' in line:
                with suppress(ValueError, KeyError, TypeError, AttributeError):
                    found.append(parse_snapshot(as_json(line) or {}))
            elif (node := parse_node(line)) is not None and (not folder or node[0].startswith(f"{folder}/")):
                nodes[node[0]] = node[1]

        self._driver.demand(commands.ls(snapshot_id, folder), deadline=LISTING, on_stdout=listen)
        if not found:  # 0.14 ignores a snapshot that it does not have, and answers 0
            raise self._error("failed", "ls", f"there is no snapshot {snapshot_id[:8]}", "run `failsafe verify`")
        self._listed = self._listed if folder else (found[0], nodes)
        return found[0], nodes

    def _portions(self, wanted: Mapping[str, None], sizes: Mapping[str, int]) -> Iterator[tuple[str, ...]]:
        """() stands for everything: one run without patterns, where the whole snapshot is wanted."""
        if len(wanted) == len(sizes):
            yield ()
        else:
            yield from commands.batches(wanted)

    def _fetch_deadline(self, total: int) -> timedelta:
        rate = min(SLOWEST, self._driver.access.limit_download or SLOWEST)
        return LISTING + timedelta(seconds=2 * total / rate)

    def _demand_none(self, paths: Sequence[str], what: str) -> None:
        if paths:
            more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
            raise self._error("failed", "restore", f"{what} {', '.join(paths[:NAMED])}{more}")

    def _clear_check_caches(self) -> None:
        """`restic check` makes a cache of its own and leaves it behind when it is killed."""
        for folder in self._driver.access.cache_dir.glob("restic-check-cache-*"):
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > CACHE_LEFTOVER_AGE.total_seconds():
                    shutil.rmtree(folder)

    def _error(self, kind: str, verb: str, text: str, mend: str = "") -> ResticError:
        return self._driver.error(Failure(kind, text, mend), verb)
