"""For all tests: those that take longest begin first, so that no worker is left with one of them at the end; and one that needs the
machine for itself has it."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import pytest

ANNOUNCED = 10.0  # seconds, in which the worker that has the test to be alone says so


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--dist worksteal` each worker begins with its share of the list and takes from the ends of others: the long ones head the
    shares, and what must be alone heads the first."""
    workers = int(getattr(config, "workerinput", {}).get("workercount", 1))
    first = sorted((item for item in items if _is_first(item)), key=lambda item: not _is_alone(item))
    others = [item for item in items if not _is_first(item)]
    share = -(-len(others) // workers)
    items[:] = [
        item for worker in range(workers) for item in (*first[worker::workers], *others[worker * share : (worker + 1) * share])
    ]


def pytest_configure(config: pytest.Config) -> None:
    os.environ.setdefault("FAILSAFE_CONTAINER", "0")  # tests that run in a container restore into its layer, and mean it
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(Turns(config.workerinput["testrunuid"]), "turns")


class Turns:
    """Among the workers of one run: a test marked `alone` runs while no other does. Nothing is lost by that, where the others would
    starve it: a pull that is slower than the storm it looks at looks over and over.

    Which worker has it is not known before it begins, so at its beginning each of them looks whether another one has announced it. Who waits to be alone
    keeps the gate meanwhile: the others end what they do and begin nothing.
    """

    def __init__(self, run: str) -> None:
        self._base = Path(tempfile.gettempdir()) / f"failsafe-tests-{run}"
        self._files = [self._base.with_suffix(end) for end in (".gate", ".lock")]
        self._gate, self._lock = (os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for file in self._files)
        self._announced = self._base.with_suffix(".alone")
        self._looks = False

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._looks = any(map(_is_alone, session.items))

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # outside of the timeout's measure
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        alone = _is_alone(item)
        if alone:
            fcntl.flock(self._gate, fcntl.LOCK_EX)
            self._announced.touch()
        elif self._looks:
            wait_for(self._announced)
        self._looks = False
        if not alone:
            fcntl.flock(self._gate, fcntl.LOCK_SH)
        fcntl.flock(self._lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(self._gate, fcntl.LOCK_UN)
        try:
            return (yield)
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            fcntl.flock(self._gate, fcntl.LOCK_UN)

    def pytest_unconfigure(self) -> None:
        for file in (*self._files, self._announced):
            file.unlink(missing_ok=True)  # whoever still runs has them open; nobody begins any more
        os.close(self._lock)
        os.close(self._gate)


def wait_for(file: Path) -> None:
    """For ANNOUNCED seconds at most: where the tests are shared out in another way it comes later, or never."""
    deadline = time.monotonic() + ANNOUNCED
    while not file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


def _is_first(item: pytest.Item) -> bool:
    return _is_alone(item) or item.get_closest_marker("first") is not None


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None
