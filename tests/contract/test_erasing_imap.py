"""Erasing a mailbox that is read over IMAP: its ledger goes too, and the next pull does not ask for it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from failsafe.backup.erased import Erased, Tombstone
from failsafe.backup.erasing import Eraser
from failsafe.model import Result
from tests.contract.dovecot import Dovecot, running
from tests.contract.imapstore import DATE, ImapStore, message

ANN, BOB = "ann@example.org", "bob@example.org"
MARKER = b"only-ann-had-this"
ERASED = Erased.of([Tombstone(ANN, datetime(2026, 11, 20, 8, tzinfo=UTC))])


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    with running([ANN, BOB]) as server:
        yield server


@pytest.fixture
def store(dovecot: Dovecot, tmp_path: Path) -> ImapStore:
    store = ImapStore(tmp_path, dovecot, (ANN, BOB))
    for mailbox in (ANN, BOB):
        box = dovecot.open(mailbox)
        box.append("INBOX", message("for both"), frozenset({"\\Seen"}), DATE)
        if mailbox == ANN:
            box.create_folder(MARKER.decode())
            for number in range(3):
                box.append(MARKER.decode(), message(f"{number}", MARKER), frozenset({MARKER.decode()}), DATE)
        box.close()
    assert store.pull().result is Result.OK
    return store


def marked(base: Path) -> list[str]:
    return [path.name for path in base.rglob("*") if path.is_file() and MARKER in path.read_bytes()]


def test_ledger_and_staging_lose_it_and_the_next_pull_does_not_ask_for_it(store: ImapStore) -> None:
    assert marked(store.base)
    with store.open_staging() as staging, store.open_inventory() as inventory:
        inventory.begin(staging)
        cleared = Eraser(staging, inventory, ERASED).run()
        tables = ("imap_folder", "imap_identity", "mailbox")
        assert [inventory.count(table) for table in tables] == [1, 1, 1]
    assert (cleared.mailboxes, cleared.whole, marked(store.base)) == ((ANN,), True, [])

    report = store.pull(erased=ERASED)

    assert (report.result, report.unchanged, report.guards, report.bytes_pulled < 10_000) == (Result.OK, True, (), True)
    assert store.archived() == {key: count for key, count in store.on_server().items() if key[0] == BOB}
    assert marked(store.base) == []
