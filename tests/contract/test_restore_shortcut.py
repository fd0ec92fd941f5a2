"""Messages of the present come from one run of restic where this machine knows in which segment they lie; that knowledge may be wrong."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.test_restore import ANN, Home, delete, fill
from tests.contract.test_restore import home as home  # noqa: PLC0414 - a fixture
from tests.contract.test_restore import server as server  # noqa: PLC0414 - a fixture

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """restic on PATH writes down with which command it was started."""
    real, folder = shutil.which("restic"), tmp_path / "bin"
    folder.mkdir()
    program = folder / "restic"
    program.write_text(f'#!/bin/sh\necho "$1" >> {folder}/asked\nexec {real} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "asked"


def restored(home: Home, asked: Path, *words: str) -> tuple[dict[str, object], list[str]]:
    """The report, and what restic was asked for."""
    asked.unlink(missing_ok=True)
    shutil.rmtree(home.folder / "state" / "staging", ignore_errors=True)
    out, _ = home.run("restore", *words, "--to", f"maildir:{home.folder}/out", "--yes", "--json")
    return json.loads(out), [line for line in asked.read_text().split() if line != "version"]


def test_a_mailbox_of_today_comes_back_with_restic_asked_once(home: Home, asked: Path) -> None:
    fill(home.server, ANN, 12)
    home.backup()
    report, commands = restored(home, asked, "--mailbox", ANN)
    assert (report["added"], report["verified"], report["sources"]) == (12, True, {"a-near": 12})
    assert commands == ["restore"]


def test_a_hint_that_leads_to_no_segment_costs_no_message(home: Home, asked: Path) -> None:
    fill(home.server, ANN, 12)
    home.backup()
    with sqlite3.connect(home.folder / "state/inventory/vps.sqlite") as inventory:
        inventory.execute("UPDATE segment SET name = ?", ("0" * 64,))
    report, commands = restored(home, asked, "--mailbox", ANN)
    assert (report["added"], report["missing"]) == (12, [])
    assert commands[0] == "restore"
    assert "snapshots" in commands


def test_without_an_inventory_the_manifests_say_where_messages_are(home: Home, asked: Path) -> None:
    fill(home.server, ANN, 12)
    home.backup()
    shutil.rmtree(home.folder / "state/inventory")
    report, commands = restored(home, asked, "--mailbox", ANN)
    assert (report["added"], report["missing"]) == (12, [])
    assert commands.count("ls") == 1  # a snapshot never changes, and the database remembers who was erased


def test_what_vanished_comes_back_without_staging(home: Home, asked: Path) -> None:
    fill(home.server, ANN, 8)
    home.backup()
    delete(home.server, ANN, "Archive/2026", "<2@fill>")
    home.backup()
    report, _ = restored(home, asked, "--mailbox", ANN, "--gone")
    assert (report["added"], report["missing"]) == (1, [])
