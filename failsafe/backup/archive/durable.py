"""Writing so that a cut at any moment leaves the old or the new: temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import sys
import tempfile
from collections.abc import Collection, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import IO

from failsafe.errors import ArchiveError

File = IO[bytes]
LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs"})
WRITTEN = (
    1 << 17
)  # bytes of a temporary file that the system is given at a time: in Python's 8 KiB they take four times as long (0.9 and 3.4 GB/s, ext4)
FEW = 8  # files that are made durable one by one: a whole file system may have much to write that is not ours


@contextlib.contextmanager
def disk_errors(doing: str, path: Path) -> Iterator[None]:
    """Translates what the disk says. ENOSPC and read-only file systems are the usual ones."""
    try:
        yield
    except OSError as error:
        raise ArchiveError(
            f"cannot {doing} {path}: {error.strerror or error}", mend="check free space, permissions and health of this disk"
        ) from error


def make_folder(path: Path) -> None:
    """Creates missing folders (mode 0700) and makes their names durable."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(file: File) -> None:
    file.flush()
    os.fsync(file.fileno())


def open_temporary(folder: Path) -> File:
    """A new file (mode 0600) in the archive's folder for unfinished ones; its `name` is its path."""
    handle, path = tempfile.mkstemp(dir=folder)
    os.close(handle)
    return Path(path).open("w+b", buffering=WRITTEN)


def sync_all(paths: Collection[Path | str]) -> None:
    """Files or folders of one file system: one call for many of them where that is sure, since each may wait for the disk. Raises OSError."""
    if len(paths) > FEW and _is_sure(next(iter(paths))):
        _sync_disk(next(iter(paths)))
        return
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _sync_disk(path: Path | str) -> None:
    """All that was written to the file system of this file or folder is durable (Linux' syncfs)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(handle)


def _is_sure(path: Path | str) -> bool:
    """Whether syncfs does for this place what fsync does: a FUSE daemon (mergerfs, sshfs), say, is told of fsync alone."""
    device = os.stat(path).st_dev  # noqa: PTH116 - strings
    return _tells_faults() and _file_system(os.major(device), os.minor(device)) in LOCAL


@cache
def _tells_faults() -> bool:
    """syncfs(2): before Linux 5.8 it says nothing of a write that failed, before 5.17 nothing of a journal that did. Many a NAS has an older one."""
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    return sys.platform == "linux" and release is not None and (int(release[1]), int(release[2])) >= (5, 17)


@cache
def _file_system(major: int, minor: int) -> str:
    """Its type, as proc(5) names it in mountinfo; "" where it is not there (a subvolume of btrfs has a number of its own)."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            fields, _, more = line.partition(" - ")
            if fields.split()[2:3] == [f"{major}:{minor}"] and more:
                return more.split()[0]
    return ""


class Together:
    """Finished temporary files that are made durable together, and get their names then."""

    def __init__(self) -> None:
        self._files: list[tuple[str, Path]] = []

    def add(self, file: File, target: Path) -> None:
        file.flush()
        file.close()
        self._files.append((file.name, target))

    def settle(self) -> None:
        """The folders themselves are the caller's to sync. Raises OSError."""
        sync_all([passing for passing, _ in self._files])
        while self._files:  # one by one, so that after a fault the rest can still be put in place
            passing, target = self._files[-1]
            make_folder(target.parent)
            Path(passing).replace(target)
            self._files.pop()


def put_in_place(file: File, target: Path) -> None:
    """Makes a finished temporary file durable under its name; the folder itself is the caller's to sync."""
    sync_file(file)
    file.close()
    make_folder(target.parent)
    Path(file.name).replace(target)


def replace_file(temporary_folder: Path, target: Path, pieces: Iterable[bytes]) -> None:
    """Writes one file, whatever was there before, durable when it returns."""
    with disk_errors("write", target):
        file = open_temporary(temporary_folder)
        try:
            file.writelines(pieces)
            put_in_place(file, target)
            sync_folder(target.parent)
        except BaseException:
            discard(file)
            raise


def discard(file: File) -> None:
    with contextlib.suppress(OSError):  # a full disk does not take what was still to be written, and need not
        file.close()
    Path(file.name).unlink(missing_ok=True)
