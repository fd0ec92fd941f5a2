from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from failsafe.store.engine import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.sqlite(tmp_path / "failsafe.sqlite")
    store.upgrade(datetime(2026, 11, 22, 12, 0, tzinfo=UTC))
    yield store
    store.close()
