"""Small segments are merged while mail keeps coming: nothing is lost, fetched again or doubled, whatever is killed when."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from failsafe.backup import merging
from failsafe.backup.archive.segment import Sealed, SegmentWriter
from failsafe.backup.inventory import Inventory
from failsafe.backup.pull import PullReport
from tests.contract.mailstore import LONG_AGO, Store

ANNA, BERT = "anna@example.org", "bert@example.org"
SIZE = 3_000  # bytes of a message, 4,608 of its segment


class Killed(BaseException):
    """As SIGKILL: nothing is written any more. What was not committed is rolled back when the connection is closed."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes at which a few messages are enough."""
    monkeypatch.setattr(merging, "SMALL", 10_000)
    monkeypatch.setattr(merging, "LARGE", 30_000)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.folder(ANNA)
    store.folder(BERT)
    return store


def deliver(store: Store, number: int) -> bytes:
    content = f"Subject: {number}\n\n".encode() + os.urandom(SIZE)
    store.put(ANNA, "", f"m{number}.host:2,S", content)
    return content


def pull(store: Store) -> PullReport:
    report = store.pull()
    with store.open_staging() as staging:
        staging.collect(set())
    return report


def segments(store: Store) -> int:
    with store.open_staging() as staging:
        return len(staging.segments())


def test_a_message_a_run_leaves_few_segments(store: Store) -> None:
    reports = []
    for number in range(14):
        deliver(store, number)
        reports.append(pull(store))

    assert all(report.new == 1 and report.bytes_pulled < 3 * SIZE for report in reports)
    assert segments(store) <= 3 + 3 + 14 * 4_608 // 30_000
    assert any("merged" in note for report in reports for note in report.notes)
    assert store.archived() == store.on_server()
    assert set(store.stored_ids().values()) == {1}


def test_a_run_after_a_merge_finds_nothing_to_do(store: Store) -> None:
    for number in range(4):
        deliver(store, number)
        pull(store)

    assert pull(store).unchanged
    assert pull(store).unchanged


def test_a_mailbox_that_holds_the_same_message_names_the_merged_segment_too(store: Store) -> None:
    store.put(BERT, "", "m0.host:2,", deliver(store, 0), date=LONG_AGO)
    for number in range(1, 5):
        pull(store)
        deliver(store, number)
    pull(store)

    assert segments(store) < 5
    assert store.archived() == store.on_server()


def in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(SegmentWriter, "close", die)


def before_it_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    note = Inventory.sealed

    def die(inventory: Inventory, segment: Sealed, mailbox: str) -> None:
        if segment.size > 10_000:
            raise Killed
        note(inventory, segment, mailbox)

    monkeypatch.setattr(Inventory, "sealed", die)


def after_it_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(merging.Merger, "rewrite_manifests", die)


@pytest.mark.parametrize("moment", [in_the_middle, before_it_is_noted, after_it_is_noted])
def test_a_merge_that_was_killed_is_finished_by_the_next_run(
    store: Store, monkeypatch: pytest.MonkeyPatch, moment: Callable[[pytest.MonkeyPatch], None]
) -> None:
    for number in range(2):
        deliver(store, number)
        pull(store)
    with monkeypatch.context() as patched:
        deliver(store, 2)
        moment(patched)
        with pytest.raises(Killed):
            store.pull()

    deliver(store, 3)
    pull(store)

    assert pull(store).unchanged
    assert store.archived() == store.on_server()
    assert set(store.stored_ids().values()) == {1}


def test_a_lost_inventory_knows_merged_segments(store: Store) -> None:
    for number in range(4):
        deliver(store, number)
        pull(store)
    (store.base / "inventory.sqlite").unlink()

    assert pull(store).new == 0
    deliver(store, 4)
    assert pull(store).new == 1
    assert store.archived() == store.on_server()
