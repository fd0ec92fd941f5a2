"""What is marked at the secondary: what is home and lies there unmarked, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from failsafe.homecoming.found import Found
from failsafe.homecoming.ledger import Entry, State
from failsafe.homecoming.marking import to_mark
from failsafe.store.engine import Store
from failsafe.store.homecomings import HomecomingStore

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
DOMAIN, ANN, BOB = "example.org", "ann@example.org", "bob@example.org"
HERE = Found(ANN, "INBOX", "a", "a", 1, frozenset(), (), NOW, False, uid_validity=7, uid=3)
HOME = Entry(DOMAIN, ANN, "INBOX", "a", NOW, State.HOME, NOW, "a@x", "c", ANN, "INBOX")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[HomecomingStore]:
    store = Store.sqlite(tmp_path / "failsafe.sqlite")
    store.upgrade(NOW)
    yield HomecomingStore(store)
    store.close()


@pytest.mark.parametrize("mark", ["keyword", "folder:Brought"])
def test_what_is_home_is_marked_where_it_lies(ledger: HomecomingStore, mark: str) -> None:
    ledger.write([HOME])

    assert to_mark(DOMAIN, [HERE], ledger, mark) == {(ANN, "INBOX", 7): [3]}


@pytest.mark.parametrize("state", [State.INTENDED, State.WAITING, State.LEFT])
def test_what_is_not_home_is_not_marked(ledger: HomecomingStore, state: State) -> None:
    ledger.write([replace(HOME, state=state)])

    assert to_mark(DOMAIN, [HERE], ledger, "keyword") == {}


def test_what_is_home_for_one_and_waits_for_another_is_not_marked(ledger: HomecomingStore) -> None:
    ledger.write([HOME, replace(HOME, to_mailbox=BOB, state=State.WAITING)])

    assert to_mark(DOMAIN, [HERE], ledger, "keyword") == {}


def test_what_no_ledger_knows_is_not_marked(ledger: HomecomingStore) -> None:
    assert to_mark(DOMAIN, [HERE], ledger, "keyword") == {}


def test_what_is_marked_or_gone_is_left_alone(ledger: HomecomingStore) -> None:
    ledger.write([HOME])

    assert to_mark(DOMAIN, [replace(HERE, keywords=("$failsafe",)), replace(HERE, uid=None)], ledger, "keyword") == {}
    assert to_mark(DOMAIN, [replace(HERE, folder="Brought")], ledger, "folder:Brought") == {}
