"""Locks between processes of this machine: `flock` on a file, released by the kernel when the holder dies, however it dies."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from failsafe.errors import Refused, StoreError

POLL_SECONDS = 0.1  # while waiting for a holder to finish
MAXIMUM_BYTES = 4096  # of the note about the holder


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: a process and what it is doing. Only a word of help; the lock itself is the kernel's."""

    pid: int
    what: str

    def __str__(self) -> str:
        return f"{self.what or 'another failsafe'} (process {self.pid})"


class LockBusy(Refused):
    """Somebody else holds the lock; `holder` is None where they left no word."""

    def __init__(self, path: Path, holder: Holder | None) -> None:
        self.holder = holder
        who = "another failsafe" if holder is None else str(holder)
        super().__init__(f"{who} is at work and holds {path}", mend="wait until it has ended, then try again")


class FileLock:
    """`with FileLock(path, "backup vps").hold(): …`. The file stays where it is: removing it would let two hold it at once."""

    def __init__(self, path: Path, what: str = "") -> None:
        self.path = path
        self._what = what

    @contextmanager
    def hold(self, *, wait_seconds: float = 0.0) -> Iterator[None]:
        """Holds it for the block. Raises LockBusy after `wait_seconds` (0: at once), StoreError where the file cannot be made."""
        descriptor = self._open()
        try:
            self._take(descriptor, wait_seconds)
            note = json.dumps({"pid": os.getpid(), "what": self._what}).encode()
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, note, 0)
            try:
                yield
            finally:
                os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def holder(self) -> Holder | None:
        """Who holds it now; None where nobody does."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if _try(descriptor):
                return None
            return _note(descriptor) or Holder(0, "")
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"cannot open the lock file {self.path}: {error.strerror}",
                mend="check the owner and mode of controller.state_dir",
            ) from error

    def _take(self, descriptor: int, wait_seconds: float) -> None:
        deadline = time.monotonic() + wait_seconds
        while not _try(descriptor):
            if time.monotonic() >= deadline:
                raise LockBusy(self.path, _note(descriptor))
            time.sleep(POLL_SECONDS)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise StoreError(
            f"this file system cannot lock files: {error.strerror}", mend="set controller.state_dir to a local disk"
        ) from error
    return True


def _note(descriptor: int) -> Holder | None:
    try:
        values = json.loads(os.pread(descriptor, MAXIMUM_BYTES, 0))
        return Holder(int(values["pid"]), str(values["what"]))
    except (ValueError, KeyError, TypeError):
        return None
