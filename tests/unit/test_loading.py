"""Libraries that are loaded while this program waits for others."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from failsafe.loading import load_meanwhile
from tests.support import wait_until


def test_one_that_cannot_be_loaded_holds_up_none_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_for_this_test.py").write_text("raise RuntimeError")
    (tmp_path / "loaded_for_this_test.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    load_meanwhile("not_there_for_this_test", "broken_for_this_test", "loaded_for_this_test")

    assert wait_until(lambda: sys.modules.get("loaded_for_this_test"), 10, "it is loaded")
