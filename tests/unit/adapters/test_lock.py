"""Locks between processes: one holder, readable by others, gone with its process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from failsafe.adapters.lock import FileLock, Holder, LockBusy
from tests.support import wait_until

HOLDER = """
import sys, time
from pathlib import Path
from failsafe.adapters.lock import FileLock
with FileLock(Path(sys.argv[1]), "a test").hold():
    print("held", flush=True)
    time.sleep(60)
"""


def test_only_one_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    with FileLock(path, "first").hold():
        with pytest.raises(LockBusy, match="first"), FileLock(path, "second").hold():
            pass
        assert FileLock(path).holder() == Holder(os.getpid(), "first")
    assert FileLock(path).holder() is None


def test_it_can_be_taken_again_after_an_exception(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "x.lock")
    with pytest.raises(ZeroDivisionError), lock.hold():
        _ = 1 / 0
    with lock.hold():
        assert lock.holder() is not None


def test_the_kernel_releases_it_when_the_holder_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        assert FileLock(path).holder() == Holder(child.pid, "a test")
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close() if child.stdout else None
    wait_until(lambda: FileLock(path).holder() is None, 10, "the lock is free")
    with FileLock(path).hold(wait_seconds=5):
        assert FileLock(path).holder() == Holder(os.getpid(), "")


def test_a_missing_lock_file_has_no_holder(tmp_path: Path) -> None:
    assert FileLock(tmp_path / "none.lock").holder() is None
