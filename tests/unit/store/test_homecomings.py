"""The ledger of homecomings in the database: written before and after each delivery, quick with many rows, carried to another machine."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.homecoming.ledger import Counts, Entry, State
from failsafe.store.duties import DutyStore
from failsafe.store.engine import Store
from failsafe.store.homecomings import HomecomingStore
from failsafe.store.portable import read_holdings, write_holdings
from failsafe.store.schema import INSTANT_FORMAT

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
DOMAIN, ANN, BOB = "example.org", "ann@example.org", "bob@example.org"


def entry(name: str, state: State = State.INTENDED, **changes: object) -> Entry:
    first = Entry(
        DOMAIN, ANN, "INBOX", name, NOW - timedelta(hours=1), state, NOW, f"{name}@sender.example", f"c-{name}", ANN, "INBOX"
    )
    return replace(first, **changes)  # type: ignore[arg-type]


@pytest.fixture
def ledger(store: Store) -> HomecomingStore:
    return HomecomingStore(store)


def test_an_intent_gets_a_number_of_its_own_and_keeps_it_when_the_message_is_home(ledger: HomecomingStore) -> None:
    (intended,) = ledger.write([entry("a", intended_at=NOW)])
    later = NOW + timedelta(seconds=3)

    (home,) = ledger.write([replace(intended.now(State.HOME, later), uid_validity=2**32 - 1, uid=7)])

    assert intended.number > 0
    assert ledger.known(DOMAIN, ANN, ["a"]) == (home,)
    assert home == replace(intended, state=State.HOME, at=later, uid_validity=2**32 - 1, uid=7)


def test_one_message_for_two_mailboxes_has_two_rows(ledger: HomecomingStore) -> None:
    ledger.write([entry("a"), entry("a", to_mailbox=BOB)])

    assert {found.to_mailbox for found in ledger.known(DOMAIN, ANN, ["a"])} == {ANN, BOB}


def test_a_message_that_was_moved_at_the_secondary_is_the_one_that_is_known(ledger: HomecomingStore) -> None:
    ledger.write([entry("a", State.HOME)])

    ledger.write([entry("a", State.ALREADY_THERE, folder="Archive", to_folder="Archive")])

    (known,) = ledger.known(DOMAIN, ANN, ["a"])
    assert (known.folder, known.state) == ("Archive", State.ALREADY_THERE)


def test_the_same_row_twice_in_one_write_is_one_row(ledger: HomecomingStore) -> None:
    first, second = ledger.write([entry("a"), entry("a")])

    assert first.number == second.number
    assert ledger.counts(DOMAIN).waiting == 1


def test_a_message_is_known_by_its_content_wherever_it_was_found(ledger: HomecomingStore) -> None:
    ledger.write([entry("a", State.HOME), entry("b", State.HOME), entry("a", to_mailbox=BOB)])

    assert [found.message for found in ledger.alike(DOMAIN, ANN, ["c-a"])] == ["a"]
    assert ledger.alike("example.net", ANN, ["c-a"]) == ()


def test_counts_are_of_what_was_settled_since_and_of_all_that_waits(ledger: HomecomingStore) -> None:
    old = NOW - timedelta(days=9)
    ledger.write(
        [entry("a", State.HOME), entry("b", State.HOME, at=old), entry("c", State.ALREADY_THERE), entry("d", State.LEFT)]
    )
    ledger.write([entry("e", State.WAITING, at=old, why="the mailbox is full"), entry("f", State.INTENDED, at=old)])

    assert ledger.counts(DOMAIN, NOW) == Counts(home=1, already_there=1, waiting=2, left=1)
    assert ledger.counts(DOMAIN).home == 2
    assert [(found.message, found.why) for found in ledger.waiting(DOMAIN, 10)] == [("e", "the mailbox is full"), ("f", "")]


def test_an_erased_mailbox_leaves_no_row(ledger: HomecomingStore) -> None:
    ledger.write([entry("a"), entry("b", mailbox="catch-all", to_mailbox=BOB), entry("c", mailbox="catch-all")])

    assert ledger.forget(DOMAIN, lambda name: name == ANN) == 2

    assert [found.to_mailbox for found in ledger.waiting(DOMAIN, 10)] == [BOB]


def test_the_ledger_goes_to_another_machine_whole(ledger: HomecomingStore, store: Store, tmp_path: Path) -> None:
    kept = ledger.write([entry("a", State.HOME, uid=5), entry("b", State.WAITING, why="full", message_id=None)])
    other = Store.sqlite(tmp_path / "other.sqlite")
    other.upgrade(NOW)

    write_holdings(other, read_holdings(store).homecomings)

    assert HomecomingStore(other).known(DOMAIN, ANN, ["a", "b"]) == kept
    other.close()


def test_since_when_mail_counts_goes_to_another_machine_too(store: Store) -> None:
    DutyStore(store).ended("homecoming-seen:example.org", NOW, ok=True)

    (row,) = [row for row in read_holdings(store).present if row.get("name") == "homecoming-seen:example.org"]

    assert row["ended_at"] == f"{NOW:{INSTANT_FORMAT}}"


def test_a_hundred_thousand_rows_are_asked_quickly(ledger: HomecomingStore, store: Store) -> None:
    with store.begin() as connection:
        connection.exec_driver_sql(
            "with recursive n(i) as (select 0 union all select i + 1 from n where i < 99999)"
            " insert into homecoming (domain, mailbox, folder, message, content, internal_at, to_mailbox, to_folder, sent, state, why, settled_at)"
            " select ?, ?, 'INBOX', printf('%064x', i), printf('c%063x', i), ?, ?, 'INBOX', 0, 'home', '', ? from n",
            (DOMAIN, ANN, f"{NOW:{INSTANT_FORMAT}}", ANN, f"{NOW:{INSTANT_FORMAT}}"),
        )

    begun = time.process_time()
    known = ledger.known(DOMAIN, ANN, [f"{number:064x}" for number in range(0, 100_000, 100)])
    alike = ledger.alike(DOMAIN, ANN, [f"c{number:063x}" for number in range(500)])
    counts = ledger.counts(DOMAIN, NOW)
    ledger.write([replace(one, state=State.ALREADY_THERE) for one in known[:500]])
    took = time.process_time() - begun

    assert (len(known), len(alike), counts.home) == (1000, 500, 100_000)
    assert took < 2.0, f"{took:.2f} s of a processor for some questions; a table that is read whole takes ten times that"
