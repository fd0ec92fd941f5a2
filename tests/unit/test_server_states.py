"""Which state of a lost server comes back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.backup.guardbook import GuardBook
from failsafe.backup.inventory import Inventory
from failsafe.backups import back_up, restore_lock
from failsafe.cli.common import NoProgress
from failsafe.config.load import load_config
from failsafe.errors import Refused
from failsafe.server_states import _lost_at
from tests.contract.configs import MAIL_HERE

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def app(tmp_path: Path) -> App:
    file = tmp_path / "failsafe.toml"
    file.write_text(MAIL_HERE.format(folder=tmp_path))
    made = App(load_config(file), file)
    made.inventory_file("vps").parent.mkdir(parents=True)
    Inventory.open(made.inventory_file("vps")).close()
    return made


def stand(app: App, code: str, place: str) -> None:
    GuardBook(app.inventory_file("vps"), "vps").stand(code, "words", AT, place)


def test_without_a_guard_the_newest_state_is_meant(app: App) -> None:
    assert _lost_at(app, "vps", 3) is None


def test_a_rebuilt_store_means_the_state_before_it(app: App) -> None:
    stand(app, "store-rebuilt", "")

    assert _lost_at(app, "vps", 3) == AT


def test_one_mailbox_that_was_emptied_is_no_lost_server(app: App) -> None:
    stand(app, "mass-loss", "ann@example.org")

    assert _lost_at(app, "vps", 3) is None


def test_half_of_the_mailboxes_are(app: App) -> None:
    stand(app, "mailbox-vanished", "ann@example.org")
    stand(app, "mass-loss", "bob@example.org")

    assert _lost_at(app, "vps", 4) == AT


def test_a_guard_about_a_clock_or_a_host_key_says_nothing_of_the_mail(app: App) -> None:
    stand(app, "host-key-changed", "")

    assert _lost_at(app, "vps", 3) is None


def test_a_server_that_is_being_restored_is_not_backed_up_meanwhile(app: App) -> None:
    """A pull of half a server would raise guards."""
    with restore_lock(app, "vps").hold(), pytest.raises(Refused, match="vps is being restored by a restore of vps"):
        back_up(app, "vps", NoProgress(), print, by_hand=True)
