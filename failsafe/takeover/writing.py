"""Writes the files of a kit: each whole or not at all, closed to others, and never over one that is there."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from failsafe.errors import KitError, Refused
from failsafe.model import Guard
from failsafe.takeover.places import Placed


def demand_no_conflict(files: Iterable[Placed]) -> None:
    """Before anything is written. Raises Refused naming every file that is there and is another one."""
    guards = [Guard("file-exists", f"{file.path} {why}") for file in files if (why := _conflict(file))]
    if guards:
        raise Refused(
            f"{len(guards)} file(s) of the kit would be written over others; nothing was changed",
            guards,
            mend="move them away, or name another folder with --prefix",
        )


def write_files(files: Iterable[Placed]) -> list[Path]:
    """Gives those that were written; what is there already, the same, stays. Raises KitError, Refused."""
    written = []
    for file in files:
        if _conflict(file) is None and not os.path.lexists(file.path):
            _write(file)
            written.append(file.path)
        elif why := _conflict(file):
            raise Refused(f"{file.path} {why}", [], mend="move it away, then run it again")
    return written


def _conflict(file: Placed) -> str | None:
    """Why this file cannot be put there; None where it can, or where the same lies there."""
    try:
        found = file.path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return "is there, and is no plain file"
    try:
        with file.path.open("rb") as there:
            same = there.read(len(file.content) + 1) == file.content
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if same else "is there, and is another one"


def _write(file: Placed) -> None:
    folder = file.path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=f".{file.path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(file.content)
                out.flush()
                with contextlib.suppress(PermissionError):  # a file system that keeps no modes; `doctor` says so
                    os.fchmod(out.fileno(), file.mode)
                os.fsync(out.fileno())
            _put(temporary, file.path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise KitError(
            f"{file.path} cannot be written: {error.strerror}",
            mend="mend that and run it again: it goes on from here; or name another folder with --prefix",
        ) from error


def _put(temporary: str, path: Path) -> None:
    try:
        os.link(temporary, path)  # fails where somebody has put one there meanwhile
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise
        Path(temporary).rename(path)
