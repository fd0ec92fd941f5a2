"""Takes away at once what the newest generation does not name, when mail was erased on purpose; until that is done no snapshot takes it along.

Ordinarily files that no generation names do no harm and wait for `collect`. Here they must not reach a repository: a mark in the staging
folder, durable before the first change, says that clearing is not done. It outlives a kill.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from failsafe.backup.archive import durable
from failsafe.backup.archive.layout import ERASING, GENERATIONS, KINDS, generation_path
from failsafe.backup.archive.staging import Staging


def begin_clearing(staging: Staging) -> None:
    """From here on snapshots leave out what their generation does not name."""
    mark = staging.folder / ERASING
    if not mark.exists():
        with durable.disk_errors("write", mark):
            mark.touch(mode=0o600)
            durable.sync_folder(staging.folder)


def is_clearing(staging: Staging) -> bool:
    return (staging.folder / ERASING).exists()


def clear_away(staging: Staging, spare: Collection[str] = ()) -> bool:
    """Deletes everything that the newest generation does not name, older generations too, but for the files of `spare` (paths) and what is
    newer than it. False while somebody else has the folder open: what is left is left out of snapshots until the next attempt.
    """
    newest = staging.newest()
    if newest is not None:
        staging.collect((), spare)
        if any(path not in spare for path in superfluous(staging, newest.number)):
            return False
    mark = staging.folder / ERASING
    with durable.disk_errors("clear", mark):
        mark.unlink(missing_ok=True)
        durable.sync_folder(staging.folder)
    return True


def superfluous(staging: Staging, number: int) -> Iterator[str]:
    """Paths of files that a generation does not name and that are older than it, and of older generations."""
    generation = staging.generation(number)
    named = set(staging.archive.files_needed(generation))
    written = (staging.folder / generation_path(number)).stat().st_mtime_ns
    for kind in (GENERATIONS, *KINDS):
        for path in staging.present(kind):
            name = path.relative_to(staging.folder).as_posix()
            if name not in named and path.stat().st_mtime_ns < written:
                yield name


def snapshot_excludes(staging: Staging, number: int) -> tuple[str, ...]:
    """Patterns for restic, in order: other generations, what is unfinished, and while mail is being erased whatever is left of it."""
    excludes = staging.restic_excludes(number)
    return (*excludes, *superfluous(staging, number)) if is_clearing(staging) else excludes
