"""How far a restic restore is, told by the files that grow."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from failsafe.adapters.restic import growth
from tests.fakes.progress import Heard


class Counting(Heard):
    """Says when so many bytes were told."""

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self._wanted = wanted
        self.reached = threading.Event()

    def advance(self, amount: int) -> None:
        super().advance(amount)
        if self.amount >= self._wanted:
            self.reached.set()


def test_what_arrives_is_told_while_it_arrives_and_all_of_it_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "EVERY_SECONDS", 0.01)
    heard = Counting(65_536)
    with growth.shown_growth(tmp_path, {"a": 100_000, "b": 50_000}, heard, "fetching"):
        assert heard.stages == [("fetching", 150_000, "B")]
        (tmp_path / "a").write_bytes(b"x" * 100_000)
        assert heard.reached.wait(20)
        assert heard.amount < 150_000
    assert heard.amount == 150_000


def test_a_fetch_that_fails_is_over_too(tmp_path: Path) -> None:
    heard = Heard()
    with pytest.raises(OSError, match="gone"), growth.shown_growth(tmp_path, {"a": 7}, heard, "fetching"):
        raise OSError("gone")
    assert heard.amount == 7
