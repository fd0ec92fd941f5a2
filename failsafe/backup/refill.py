"""Brings a lost or damaged staging folder back from the newest snapshot that can be had, so that no message crosses the wire again.

Files are named by the digests of their contents, so each one is judged alone, and what is there already is not fetched. The generation's
own file comes last: a kill at any moment leaves whole files that the next attempt finds, and never half a state that looks like one.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

from failsafe.backup.archive.durable import disk_errors
from failsafe.backup.archive.layout import generation_path
from failsafe.backup.archive.mending import adopt, is_here, lacking, set_aside
from failsafe.backup.archive.reader import Archive
from failsafe.backup.archive.staging import Staging
from failsafe.backup.serving import MOST_AT_ONCE
from failsafe.backup.snapshot import host_of, read_tags
from failsafe.errors import ArchiveError, ExternalError, Interrupted
from failsafe.mail.manifest import Generation
from failsafe.ports import Narrator, Progress, Repository

SNAPSHOTS_ASKED = 20  # newest first
STEPS = 2  # manifests, then what they name
ANSWER_SECONDS = 60.0  # for repositories, when staging was lost; a silent one must not keep the pull
AT_ONCE = 256  # files fetched before they are put in place: at most 4 GB of segments, and what an interruption can cost


@dataclass(frozen=True, slots=True)
class Stored:
    """A snapshot of this server that a repository lists."""

    at: datetime
    generation: int
    snapshot_id: str
    repository: Repository


def make_whole(
    staging: Staging,
    sources: Sequence[Repository],
    progress: Progress,
    narrate: Narrator,
    stop: Callable[[], None],
    highest: int = 0,
) -> None:
    """Nothing to do where staging is whole. What no snapshot can give is pulled anew, under numbers that no snapshot has.

    `stop` ends the programs that other threads run, for a repository that does not answer. `highest`: the number that some repository
    is known to have, whether it answers or not.
    """
    absent = lacking(staging.archive, newest) if (newest := staging.newest()) else ()
    if newest is not None and not absent and not staging.was_damaged:
        return
    stored = _stored(sources, host_of(staging.server), stop)
    staging.go_on_after(max(highest, *(one.generation for one in stored), 0 if newest is None else newest.number))
    if newest is not None and absent:
        narrate(f"{len(absent)} file(s) of staging are missing or damaged, such as {absent[0]}")
        absent = mend(staging, newest, stored, progress, narrate)
        if not absent:
            narrate("they came back from a snapshot")
            return
        set_aside(staging.folder, newest.number)
    taken = refill(staging, stored, progress, narrate) if stored else None
    if taken is not None:
        narrate(f"staging was lost or damaged; it came back from a snapshot, as generation {taken.number}")
    elif stored or newest is not None or staging.was_damaged:
        narrate("staging was lost or damaged, and no snapshot could be read: what is missing is pulled anew")


def _stored(sources: Sequence[Repository], host: str, stop: Callable[[], None]) -> list[Stored]:
    """What repositories list. One that cannot be asked, does not answer or is not there yet is passed over."""
    if not sources:
        return []
    with ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="stored") as pool:
        asked = [pool.submit(_stored_in, repository, host) for repository in sources]
        try:
            _answered, silent = wait(asked, timeout=ANSWER_SECONDS)
        except BaseException:
            stop()
            raise
        if silent:
            stop()
        return [one for answer in asked for one in answer.result()]


def _stored_in(repository: Repository, host: str) -> list[Stored]:
    with contextlib.suppress(ExternalError, Interrupted):  # the latter: it took too long
        listed = ((info, read_tags(info.tags).generation) for info in repository.snapshots(host))
        return [Stored(info.at, number, info.id, repository) for info, number in listed if number is not None]
    return []


def refill(staging: Staging, stored: Iterable[Stored], progress: Progress, narrate: Narrator) -> Generation | None:
    """Takes over the newest of these snapshots that can be read whole; None where none can, and why is narrated.

    An incomplete one serves too: it holds what had arrived, and the pull goes on from there.
    """
    _clear(staging)
    for one in sorted(stored, key=lambda each: (each.generation, each.at), reverse=True)[:SNAPSHOTS_ASKED]:
        try:
            return _take_over(staging, one, progress)
        except Interrupted:
            raise
        except ExternalError as error:
            narrate(f"snapshot {one.snapshot_id[:8]} in {one.repository.name} cannot refill staging: {error}")
    return None


def mend(
    staging: Staging, newest: Generation, stored: Iterable[Stored], progress: Progress, narrate: Narrator
) -> tuple[str, ...]:
    """Fetches single files that the newest generation names; gives those that no snapshot could give."""
    absent = lacking(staging.archive, newest)
    for one in sorted(stored, key=lambda each: (each.generation, each.at), reverse=True)[:SNAPSHOTS_ASKED]:
        try:
            there = set(one.repository.list_files(one.snapshot_id, ""))
            for _ in range(STEPS):  # a manifest that came back names further files
                _fetch(staging, one, [path for path in absent if path in there], progress)
                absent = lacking(staging.archive, newest)
        except Interrupted:
            raise
        except ExternalError as error:
            narrate(f"snapshot {one.snapshot_id[:8]} in {one.repository.name} cannot mend staging: {error}")
        if not absent:
            break
    return absent


def replace_damaged(
    staging: Staging,
    damaged: Sequence[str],
    sources: Sequence[Repository],
    progress: Progress,
    narrate: Narrator,
    stop: Callable[[], None],
) -> tuple[str, ...]:
    """Fetches files that are there and are not what their names say, each by itself; gives those that no snapshot could give whole.

    An index is made anew from its segment, which asks nobody.
    """
    left = [path for path in damaged if not _remade(staging, path)]
    stored = _stored(sources, host_of(staging.server), stop) if left else []
    for one in sorted(stored, key=lambda each: (each.generation, each.at), reverse=True)[:SNAPSHOTS_ASKED]:
        if not left:
            break
        try:
            there = set(one.repository.list_files(one.snapshot_id, ""))
        except ExternalError as error:
            narrate(f"snapshot {one.snapshot_id[:8]} in {one.repository.name} cannot mend staging: {error}")
            continue
        for path in [path for path in left if path in there]:
            try:
                _bring(staging, one, [path], progress)
                left.remove(path)
            except ExternalError as error:
                narrate(f"snapshot {one.snapshot_id[:8]} in {one.repository.name} cannot give {path}: {error}")
    return tuple(left)


def _remade(staging: Staging, path: str) -> bool:
    if not path.endswith(".idx"):
        return False
    with contextlib.suppress(ArchiveError):
        staging.remake_index(Path(path).stem)
        return True
    return False


def _take_over(staging: Staging, one: Stored, progress: Progress) -> Generation:
    own = generation_path(one.generation)
    with _workplace(staging) as work:
        one.repository.fetch(one.snapshot_id, [own], work)
        generation = Archive(work).generation(one.generation)
        archive = staging.archive
        for step in (archive.manifest_files, archive.metadata_files, archive.data_files):
            _fetch(staging, one, step(generation), progress)
        problems = archive.verify(generation, read_messages=False)
        if problems:
            raise ArchiveError(str(problems[0]), transient=False)
        adopt(staging.folder, own, work / own)
    return generation


def _fetch(staging: Staging, one: Stored, paths: Iterable[str], progress: Progress) -> None:
    wanted = [path for path in paths if not is_here(staging.folder, path)]
    if wanted:
        _bring(staging, one, wanted, progress)


def _bring(staging: Staging, one: Stored, wanted: Sequence[str], progress: Progress) -> None:
    progress.stage(f"staging comes back from {one.repository.name}", len(wanted), "files")
    for portion in _portions(wanted):
        with _workplace(staging) as work:
            one.repository.fetch(one.snapshot_id, portion, work)
            for path in portion:
                adopt(staging.folder, path, work / path)
                progress.advance(1)


def _portions(paths: Sequence[str]) -> Iterator[list[str]]:
    rest = iter(paths)
    while portion := list(islice(rest, AT_ONCE)):
        yield portion


def _clear(staging: Staging) -> None:
    """What a killed attempt left."""
    shutil.rmtree(_place(staging), ignore_errors=True)


def _place(staging: Staging) -> Path:
    return staging.folder.with_name(f"{staging.folder.name}.refill")


@contextlib.contextmanager
def _workplace(staging: Staging) -> Iterator[Path]:
    """A folder beside staging, on the same disk, so that what was fetched is moved and not copied."""
    place = _place(staging)
    with disk_errors("use", place):
        place.mkdir(mode=0o700, exist_ok=True)
        here = Path(tempfile.mkdtemp(dir=place))
    try:
        yield here
    finally:
        shutil.rmtree(here, ignore_errors=True)
