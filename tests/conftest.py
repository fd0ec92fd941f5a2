"""For all tests: those that take longest begin first, so that no worker is left with one of them at the end."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--dist worksteal` each worker begins with its share of the list and takes from the ends of others: the long ones head the
    shares, and the longest of all, the storm, comes before the others."""
    workers = int(getattr(config, "workerinput", {}).get("workercount", 1))
    first = sorted((item for item in items if item.get_closest_marker("first")), key=lambda item: "test_storm" not in item.nodeid)
    others = [item for item in items if not item.get_closest_marker("first")]
    share = -(-len(others) // workers)
    items[:] = [
        item for worker in range(workers) for item in (*first[worker::workers], *others[worker * share : (worker + 1) * share])
    ]
