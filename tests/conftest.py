"""For all tests: those that take longest begin first, so that no worker is left with one of them at the end; and one that needs the
machine for itself has it."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest

FIRST_WORKER = "gw0"


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
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(Turns(config.workerinput["workerid"], config.workerinput["testrunuid"]), "turns")


class Turns:
    """Among the workers of one run: a test marked `alone` runs while no other does. Nothing is lost by that, where the others would
    starve it: a pull that is slower than the storm it looks at looks over and over."""

    def __init__(self, worker: str, run: str) -> None:
        self._is_first = worker == FIRST_WORKER
        self._file = Path(tempfile.gettempdir()) / f"failsafe-tests-{run}.lock"
        self._lock = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """No worker begins before all have collected: so the first one has its turn before the others ask for theirs."""
        if self._is_first and session.items and _is_alone(session.items[0]):
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # outside of the timeout's measure
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        fcntl.flock(self._lock, fcntl.LOCK_EX if _is_alone(item) else fcntl.LOCK_SH)
        try:
            return (yield)
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def pytest_unconfigure(self) -> None:
        os.close(self._lock)
        self._file.unlink(missing_ok=True)  # whoever still runs has it open; nobody begins any more


def _is_first(item: pytest.Item) -> bool:
    return _is_alone(item) or item.get_closest_marker("first") is not None


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None
