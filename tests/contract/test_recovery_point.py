"""The recovery point of every mailbox, from the command line to what a person sees."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.contract.mailstore import Store
from tests.contract.processes import run
from tests.contract.restics import put_empty_repository

ANNA, BOB = "anna@example.org", "bob@example.org"


class Home:
    def __init__(self, base: Path) -> None:
        self.base, self.store = base, Store(base)
        secret = base / "repository.password"
        secret.touch(mode=0o600)
        secret.write_text("secret\n")
        (base / "failsafe.toml").write_text(
            f'[controller]\nid = "nas"\nstate_dir = "{base}/state"\ntime_zone = "UTC"\n'
            f'[mail_server.vps]\nlayout = "maildir"\npath = "{self.store.root}"\n'
            f'[repository.near]\nurl = "{base}/near"\npassword_file = "{secret}"\n'
        )
        put_empty_repository(base / "near", "secret")

    def run(self, *words: str) -> str:
        self.store.calm()
        return run(self.base / "failsafe.toml", *words, status=(0, 1))[0]

    def mailboxes(self) -> dict[str, Any]:
        (server,) = json.loads(self.run("status", "--json"))["servers"]
        return {each["mailbox"]: each for each in server["mailboxes"]}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    made.store.fill(ANNA, "", 3)
    made.store.fill(BOB, "", 3)
    return made


def test_every_mailbox_says_up_to_when_it_is_safe_also_where_nothing_changed(home: Home) -> None:
    home.run("backup")
    first = home.mailboxes()
    assert set(first) == {ANNA, BOB}
    assert all(each["safe_at"] == each["proved_at"] for each in first.values())
    home.run("backup")

    again = home.mailboxes()

    assert all(again[mailbox]["safe_at"] >= first[mailbox]["safe_at"] for mailbox in first)
    assert "proven safe up to" in home.run("status")
    assert BOB in home.run("status", "--mailboxes")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take a folder from its owner")
def test_one_broken_mailbox_is_behind_while_the_others_are_fresh(home: Home) -> None:
    home.run("backup")
    before = home.mailboxes()
    bob = home.store.folder(BOB)
    os.chown(bob, 65534, 65534)  # the program on the server acts as the owner of a mailbox
    os.chown(bob / "cur", 0, 0)
    (bob / "cur").chmod(0o700)
    home.store.fill(ANNA, "", 1, prefix="later")
    home.run("backup")

    after = home.mailboxes()

    assert after[BOB]["safe_at"] == before[BOB]["safe_at"]
    assert after[ANNA]["safe_at"] > before[ANNA]["safe_at"]
    assert home.run("status").count(f"{BOB} proven safe up to") == 1


def test_what_no_repository_took_is_complete_and_not_safe(home: Home) -> None:
    (home.base / "near").rename(home.base / "elsewhere")
    (home.base / "near").write_text("no repository")
    home.store.calm()
    run(home.base / "failsafe.toml", "backup", status=4)

    told = home.mailboxes()

    assert told[ANNA]["proved_at"] is not None
    assert told[ANNA]["safe_at"] is None
