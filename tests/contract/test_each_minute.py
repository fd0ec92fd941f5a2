"""A backup each minute: what the stamps of folders do not tell is found once a day, and not with every pull; what lasts is not told each time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.backup.report import BackupReport
from failsafe.backups import back_up
from failsafe.clock import SystemClock
from failsafe.config.load import load_config
from failsafe.model import Result
from tests.contract.mailstore import Silent, Store

ANNA = "anna@example.org"
CONFIG = """
[controller]
id = "nas"
state_dir = "{folder}/state"
[mail_server.vps]
layout = "maildir"
path = "{folder}/mail"
extra_paths = ["{folder}/extra"]
"""


class Stepping(SystemClock):
    def __init__(self) -> None:
        self.step = timedelta()

    def now(self) -> datetime:
        return super().now() + self.step


@dataclass
class Home:
    app: App
    store: Store
    clock: Stepping = field(default_factory=Stepping)

    def back_up(self) -> BackupReport:
        return back_up(self.app, "vps", Silent(), lambda _text: None, by_hand=True)

    def change_unseen(self) -> None:
        """A message gets other content, of which no stamp of its folder tells."""
        file = next((self.store.folder(ANNA) / "cur").iterdir())
        file.write_bytes(file.read_bytes()[::-1])

    def told(self) -> list[str]:
        return [event.name for _, event in self.app.events.since() if event.name.startswith("backup.")]

    def codes(self) -> list[str]:
        return [guard.code for guard in self.back_up().guards]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    file = tmp_path / "failsafe.toml"
    file.write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "extra").mkdir()
    made = Home(App(load_config(file), file), Store(tmp_path))
    made.app.clock = made.clock
    made.store.fill(ANNA, "", 3)
    made.store.calm()
    assert made.back_up().result is Result.OK
    yield made
    made.app.store.close()


def test_everything_is_listed_once_a_day_and_not_before(home: Home) -> None:
    home.change_unseen()
    home.clock.step = timedelta(hours=23)
    assert home.codes() == []
    home.clock.step = timedelta(hours=25)
    assert home.codes() == ["tampered"]


def test_a_clock_that_was_ahead_puts_off_no_listing(home: Home) -> None:
    home.clock.step = timedelta(days=60)
    assert home.codes() == []
    home.clock.step = timedelta()
    home.change_unseen()
    assert home.codes() == ["clock-jump", "tampered"]


def test_while_something_is_missing_everything_is_listed_each_hour_and_not_with_every_pull(home: Home, tmp_path: Path) -> None:
    (tmp_path / "extra").rmdir()
    home.clock.step = timedelta(hours=25)
    assert home.back_up().result is Result.INCOMPLETE
    home.change_unseen()
    assert home.codes() == []
    home.clock.step += timedelta(hours=1, seconds=1)
    assert home.codes() == ["tampered"]


# ---------------------------------------------------------------- what is told


def test_a_fault_that_lasts_is_told_once_in_hours_and_so_is_its_end(home: Home, tmp_path: Path) -> None:
    (tmp_path / "mail").rename(tmp_path / "away")
    for _ in range(3):
        assert home.back_up().result is Result.FAILED
    assert home.told() == ["backup.done", "backup.failed"]
    home.clock.step = timedelta(hours=7)
    home.back_up()
    assert home.told() == ["backup.done", "backup.failed", "backup.failed"]
    (tmp_path / "away").rename(tmp_path / "mail")
    for _ in range(2):
        assert home.back_up().unchanged
    assert home.told()[3:] == ["backup.recovered"]


def test_another_fault_is_told_at_once(home: Home, tmp_path: Path) -> None:
    (tmp_path / "extra").rmdir()
    home.back_up()
    home.back_up()
    (tmp_path / "mail").rename(tmp_path / "away")
    home.back_up()
    (tmp_path / "away").rename(tmp_path / "mail")
    home.back_up()
    assert home.told()[1:] == ["backup.incomplete", "backup.failed", "backup.incomplete"]


def test_while_a_guard_stands_a_backup_that_brings_nothing_new_is_not_told_again(home: Home) -> None:
    home.change_unseen()
    home.clock.step = timedelta(hours=25)
    assert home.codes() == ["tampered"]
    before = home.told()
    for _ in range(3):
        report = home.back_up()
        assert ([guard.code for guard in report.guards], report.unchanged) == (["tampered"], True)
    assert len(home.told()) <= len(before) + 1
    home.store.fill(ANNA, "", 1, prefix="later")
    home.store.calm()
    assert home.back_up().messages.new == 1
    assert home.told()[-1] == "backup.done"
