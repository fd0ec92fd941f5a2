"""What a pull that finds nothing new writes to this machine's disk: a NAS's disks should sleep, and its SSD should last.

Counted in SQLite's own log: a reader that stays keeps it from being taken in, and each frame of it is a page, some the end of a transaction.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.backup.own_files import OwnFiles
from failsafe.backup.pull import PullOptions, pull
from failsafe.backups import back_up
from failsafe.clock import SystemClock
from failsafe.config.load import load_config
from failsafe.errors import ServerSideError
from tests.contract.dovecot import running
from tests.contract.imapstore import DATE, ImapStore, message
from tests.contract.mailstore import Silent, Store
from tests.contract.restics import put_empty_repository

OWN = partial(OwnFiles.fixed, {"failsafe.toml": b"[controller]\n"})
PAGE, FRAME, HEAD = 4096, 24, 32
MAILBOX = "anna@example.org"


@dataclass
class Written:
    pages: int = 0
    transactions: int = 0


@contextmanager
def watched(file: Path) -> Iterator[Written]:
    """What is written to this database in the block."""
    written = Written()
    with closing(sqlite3.connect(file)) as reader:
        reader.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        reader.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield written
        log = file.with_name(file.name + "-wal").read_bytes()
    for start in range(HEAD, len(log), FRAME + PAGE):
        written.pages += 1
        written.transactions += struct.unpack(">I", log[start + 4 : start + 8])[0] != 0


def stamps(folder: Path) -> dict[Path, int]:
    """When each file and folder changed; a file that came and went shows in its folder's date."""
    return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def of_files(base: Path) -> Callable[[], bool]:
    store = Store(base)
    for folder in ("", ".Archive", ".Sent"):
        store.fill(MAILBOX, folder, 5)
    store.calm()
    options = PullOptions("vps", str(store.root), controller=OWN)

    def run() -> bool:
        with store.open_staging() as opened, store.open_inventory() as inventory:
            return pull(store.host, opened, inventory, options, SystemClock(), Silent()).unchanged

    return run


@pytest.fixture(params=["files", "imap"])
def again(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], bool]]:
    """Runs one pull of a mailbox in which nothing happens. True where it found nothing new."""
    if request.param == "files":
        yield of_files(tmp_path)
        return
    with running([MAILBOX], store="mdbox") as server:
        box = server.open(MAILBOX)
        for number in range(5):
            box.append("INBOX", message(str(number)), frozenset(), DATE)
        box.close()
        store = ImapStore(tmp_path, server, (MAILBOX,))
        yield lambda: store.pull(controller=OWN).unchanged


def test_an_unchanged_pull_writes_its_inventory_once_and_staging_not_at_all(again: Callable[[], bool], tmp_path: Path) -> None:
    assert not again()
    again()  # a folder that was just listed is listed once more
    before = stamps(tmp_path / "staging")
    with watched(tmp_path / "inventory.sqlite") as written:
        assert again()
    assert written.transactions == 1
    assert written.pages <= 3
    assert stamps(tmp_path / "staging") == before


CONFIG = """
[controller]
id = "nas"
state_dir = "{folder}/state"
[mail_server.vps]
layout = "maildir"
path = "{folder}/mail"
[repository.nas]
url = "{folder}/nas"
password_file = "{folder}/password"
"""


def test_an_unchanged_backup_writes_to_the_database_when_it_begins_and_when_it_ends(tmp_path: Path) -> None:
    put_empty_repository(tmp_path / "nas", "correct horse")
    (tmp_path / "password").touch(mode=0o600)
    (tmp_path / "password").write_text("correct horse")
    (tmp_path / "failsafe.toml").write_text(CONFIG.format(folder=tmp_path))
    store = Store(tmp_path)
    store.fill(MAILBOX, "", 5)
    store.calm()
    app = App(load_config(tmp_path / "failsafe.toml"), tmp_path / "failsafe.toml")
    for _ in range(2):
        back_up(app, "vps", Silent(), lambda _text: None, by_hand=False)
    with watched(tmp_path / "state" / "failsafe.sqlite") as written:
        report = back_up(app, "vps", Silent(), lambda _text: None, by_hand=False)
    assert report.unchanged
    assert written.transactions == 2
    assert written.pages <= 7
    assert app.duties.all()["backup:vps"].ok_at is not None
    app.store.close()


def test_a_pull_that_fails_before_anything_came_leaves_its_inventory_as_it_was(tmp_path: Path) -> None:
    """Else the next one would write every manifest anew."""
    run = of_files(tmp_path)
    run(), run()
    store = Store(tmp_path)
    missing = PullOptions("vps", str(tmp_path / "nowhere"))
    file = tmp_path / "inventory.sqlite"
    with (
        watched(file) as written,
        store.open_staging() as opened,
        store.open_inventory() as inventory,
        pytest.raises(ServerSideError),
    ):
        pull(store.host, opened, inventory, missing, SystemClock(), Silent())
    assert written.transactions == 0
