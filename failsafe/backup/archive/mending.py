"""Puts single files of a snapshot back into a staging folder: each is judged by its own name, the digest of its content."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from failsafe.backup.archive import durable
from failsafe.backup.archive.layout import GENERATIONS, generation_number, generation_path
from failsafe.backup.archive.reader import Archive
from failsafe.backup.archive.segment import decode_index, digest_of
from failsafe.errors import ArchiveError
from failsafe.mail.manifest import Generation, decode_generation

READ_FIRST = frozenset(("mailboxes", "lists"))


def adopt(folder: Path, path: str, source: Path) -> None:
    """Moves `source` to `path` below `folder`, if it is what that name says; durable when it returns. Raises ArchiveError where it is not."""
    _demand_right(path, source)
    target = folder / path
    with durable.disk_errors("write", target):
        durable.make_folder(target.parent)
        with source.open("rb") as file:
            os.fsync(file.fileno())
        source.replace(target)
        durable.sync_folder(target.parent)


def is_here(folder: Path, path: str) -> bool:
    """Manifests and lists are small and read first, so they are compared with their names; of all others it is enough that they are there."""
    place = folder / path
    return digest_of(place) == place.stem if path.partition("/")[0] in READ_FIRST else place.is_file()


def lacking(archive: Archive, generation: Generation) -> tuple[str, ...]:
    """Files that a generation names and that are not here; while manifests are among them, those that only they name are not known."""
    absent = tuple(path for path in archive.manifest_files(generation) if not is_here(archive.folder, path))
    if absent:
        return absent
    named = (*archive.metadata_files(generation), *archive.data_files(generation))
    return tuple(path for path in named if not is_here(archive.folder, path))


def set_aside_damaged(folder: Path) -> None:
    """Takes a newest generation that cannot be understood out of the way."""
    archive = Archive(folder)
    numbers = archive.numbers()
    if not numbers:
        return
    try:
        archive.generation(numbers[-1])
    except ArchiveError as error:
        if error.transient:  # it cannot be read just now
            raise
        set_aside(folder, numbers[-1])


def set_aside(folder: Path, number: int) -> None:
    """A generation goes to FOLDER.damaged, where a person may look at it: nothing is to be built on it any more."""
    path, aside = folder / generation_path(number), _aside(folder)
    with durable.disk_errors("write", aside):
        durable.make_folder(aside)
        path.replace(aside / path.name)
        durable.sync_folder(aside)
        durable.sync_folder(path.parent)


def newest_aside(folder: Path) -> int:
    """The highest number that was put aside; 0 where none was."""
    with contextlib.suppress(FileNotFoundError):
        return max((generation_number(path.name) or 0 for path in _aside(folder).iterdir()), default=0)
    return 0


def _aside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.damaged")


def is_right(path: str, source: Path) -> bool:
    """Whether a file is what its path in an archive says. One that cannot be read is not."""
    try:
        _demand_right(path, source)
    except (ArchiveError, OSError, ValueError):
        return False
    return True


def _demand_right(path: str, source: Path) -> None:
    kind, _, name = path.partition("/")
    if kind == GENERATIONS:
        right = decode_generation(source.read_bytes()).number == generation_number(name)
    elif path.endswith(".idx"):
        decode_index(source.read_bytes())
        right = True
    else:
        right = digest_of(source) == Path(name).stem
    if not right:
        raise ArchiveError(f"{path} came from its snapshot and does not match its digest", transient=False)
