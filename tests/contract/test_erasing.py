"""Erased mailboxes leave staging and inventory to the last byte, what others hold stays, and no kill leaves half of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.backup import erasing, sweeping
from failsafe.backup.archive.clearing import is_clearing
from failsafe.backup.erased import Erased, Tombstone, erased_in
from failsafe.backup.erasing import Cleared, Eraser, settle_erasures
from failsafe.backup.inventory import Inventory
from failsafe.backup.pull import PullReport
from failsafe.clock import SystemClock
from tests.contract.mailstore import Store

ANNA, BERT, CARL = "anna@example.org", "bert@example.org", "carl@example.com"
MARKER = b"only-anna-had-this"
AT = datetime(2026, 11, 20, 8, tzinfo=UTC)


class Killed(BaseException):
    """As SIGKILL: what was not committed is rolled back when the connection is closed."""


def erased(name: str = ANNA) -> Erased:
    return Erased.of([Tombstone(name, AT)])


def secret(number: int) -> bytes:
    return b"Subject: %b nr%d.\n\n%b %b\n" % (MARKER, number, MARKER, os.urandom(2_000).hex().encode())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Bert and Anna both hold one message, which lies among Anna's own; a fourth message of hers is deleted before the erasure."""
    store = Store(tmp_path)
    shared = b"Subject: to all\n\n" + os.urandom(2_000).hex().encode()
    for number in range(3):
        store.put(ANNA, "", f"{MARKER.decode()}-{number}.host:2,S", secret(number))
    deleted = store.put(ANNA, f".{MARKER.decode()}", "deleted.host:2,S", secret(3))
    store.put(ANNA, "", "shared.host:2,", shared)
    (store.folder(ANNA) / "subscriptions").write_bytes(MARKER + b"\n")
    store.pull()
    store.put(BERT, "", "shared.host:2,S", shared)
    store.fill(BERT, ".Archive", 3, prefix="b")
    store.fill(CARL, "", 2, prefix="c")
    deleted.unlink()
    store.pull()
    return store


def erase(store: Store, which: Erased | None = None) -> Cleared:
    """As the verb does."""
    with store.open_staging() as staging, store.open_inventory() as inventory:
        inventory.begin(staging)
        return Eraser(staging, inventory, which or erased()).run()


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def holds_marker(store: Store) -> list[str]:
    files = [*(store.base / "staging").rglob("*"), *store.base.glob("inventory.sqlite*")]
    return [str(path.relative_to(store.base)) for path in files if path.is_file() and MARKER in path.read_bytes()]


def pull(store: Store, which: Erased | None = None) -> PullReport:
    return store.pull(erased=which or erased())


def on_server_without(store: Store, *mailboxes: str) -> dict[tuple[str, str, str], int]:
    return {key: count for key, count in store.on_server().items() if key[0] not in mailboxes}


def test_no_byte_of_it_is_left_and_what_another_mailbox_holds_stays(store: Store) -> None:
    assert holds_marker(store)

    cleared = erase(store)

    assert (cleared.mailboxes, cleared.whole) == ((ANNA,), True)
    assert cleared.rewritten == 1, "the segment with the message that both hold"
    assert holds_marker(store) == []
    assert store.archived() == on_server_without(store, ANNA)
    with store.open_staging() as staging:
        assert not is_clearing(staging)
        assert erased_in(staging.newest()).covers(ANNA)


def test_the_next_pull_does_not_take_it_again_and_raises_no_guard(store: Store) -> None:
    erase(store)

    report = pull(store)

    assert (report.unchanged, report.guards, report.missing, report.new) == (True, (), (), 0)
    store.put(ANNA, "", "later.host:2,", secret(9))
    store.fill(BERT, "", 1, prefix="later")
    assert pull(store).new == 1
    assert holds_marker(store) == []
    assert store.archived() == on_server_without(store, ANNA)


def test_a_domain_takes_all_of_its_mailboxes_along_and_no_other(store: Store) -> None:
    cleared = erase(store, erased("Example.ORG"))

    assert cleared.mailboxes == (ANNA, BERT)
    assert store.archived() == on_server_without(store, ANNA, BERT)
    assert pull(store, erased("Example.ORG")).unchanged


def test_running_it_again_changes_nothing(store: Store) -> None:
    erase(store)
    before = bytes_of(store.base / "staging")

    again = erase(store)

    assert (again.mailboxes, again.generation, again.rewritten, again.whole) == ((), None, 0, True)
    assert bytes_of(store.base / "staging") == before


def test_a_mailbox_that_is_let_in_again_is_pulled_anew(store: Store) -> None:
    erase(store)
    readmitted = erased().joined(Erased.of([Tombstone(ANNA, AT + timedelta(days=1), stands=False)]))

    report = pull(store, readmitted)

    assert report.new == 4
    assert store.archived() == store.on_server()
    with store.open_staging() as staging:
        assert not erased_in(staging.newest()).covers(ANNA)


def after_the_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Eraser, "_commit", die)


def after_the_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Eraser, "_forget", die)


def within_the_inventory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Eraser, "_lift", die)


def before_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "clear_away", die)


def before_the_wipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Eraser, "_wipe", die)


def die(*_: object) -> None:
    raise Killed


MOMENTS = [after_the_copies, after_the_generation, within_the_inventory, before_the_files, before_the_wipe]


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_anywhere_and_run_again_the_end_is_the_same(
    store: Store, monkeypatch: pytest.MonkeyPatch, moment: Callable[[pytest.MonkeyPatch], None]
) -> None:
    with monkeypatch.context() as patched:
        moment(patched)
        with pytest.raises(Killed):
            erase(store)

    cleared = erase(store)

    assert cleared.whole
    assert holds_marker(store) == []
    assert store.archived() == on_server_without(store, ANNA)
    assert pull(store).unchanged or pull(store).unchanged


@pytest.mark.parametrize("moment", MOMENTS[:3])
def test_a_backup_finishes_what_a_kill_left(
    store: Store, monkeypatch: pytest.MonkeyPatch, moment: Callable[[pytest.MonkeyPatch], None]
) -> None:
    with monkeypatch.context() as patched:
        moment(patched)
        with pytest.raises(Killed):
            erase(store)

    with store.open_staging() as staging, store.open_inventory() as inventory:
        known, cleared = settle_erasures(staging, inventory, erased())

    assert cleared is not None
    assert (known.covers(ANNA), cleared.whole) == (True, True)
    assert holds_marker(store) == []
    assert pull(store).missing == ()
    assert store.archived() == on_server_without(store, ANNA)


def test_while_somebody_reads_staging_files_stay_and_snapshots_leave_them_out(store: Store) -> None:
    from failsafe.backup.archive.clearing import clear_away, snapshot_excludes

    with store.open_staging() as reader:
        cleared = erase(store)

        assert not cleared.whole
        assert is_clearing(reader)
        left = {path for path in holds_marker(store) if path.startswith("staging/")}
        newest = store.newest(reader)
        assert left <= {f"staging/{path}" for path in snapshot_excludes(reader, newest.number)}

    with store.open_staging() as staging:
        assert clear_away(staging)
    assert holds_marker(store) == []


def test_what_a_pull_that_was_cut_off_brought_for_others_stays(store: Store) -> None:
    with store.open_staging() as staging, store.open_inventory() as inventory:
        with staging.segment_writer(BERT) as writer:
            writer.add([b"Subject: half way\n\n"])
        (sealed,) = writer.sealed
        inventory.sealed(sealed, BERT)

    erase(store)

    with store.open_staging() as staging:
        assert sealed.name in staging.segments()


def test_a_lost_inventory_learns_from_the_generation_who_is_erased(store: Store) -> None:
    erase(store)
    for path in store.base.glob("inventory*"):
        path.unlink()

    with store.open_staging() as staging, store.open_inventory() as inventory:
        known, _ = settle_erasures(staging, inventory, Erased())

    assert known.covers(ANNA)


def test_a_database_that_is_lost_forgets_nothing_that_the_inventory_knows(store: Store) -> None:
    with store.open_staging() as staging, store.open_inventory() as inventory:
        settle_erasures(staging, inventory, erased())
    with store.open_staging() as staging, store.open_inventory() as inventory:
        assert settle_erasures(staging, inventory, Erased())[0].covers(ANNA)


class Later(SystemClock):
    def __init__(self, step: timedelta) -> None:
        self.step = step

    def now(self) -> datetime:
        return super().now() + self.step


def pull_later(store: Store, monkeypatch: pytest.MonkeyPatch, days: int) -> PullReport:
    monkeypatch.setattr("tests.contract.mailstore.SystemClock", lambda: Later(timedelta(days=days)))
    report = store.pull(erase_after=timedelta(days=30))
    with store.open_staging() as staging:
        staging.collect(())
    return report


def test_a_deleted_message_leaves_its_segment_within_erase_after(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def there() -> bool:
        return b"%b nr3." % MARKER in bytes_of(store.base / "staging" / "segments")

    found = []
    for days in (1, 2, 15, 27, 29):
        report = pull_later(store, monkeypatch, days)
        found.append(there())

    assert found == [True, True, True, True, False]
    assert any("held deleted messages" in note for note in report.notes)
    assert store.archived() == store.on_server()
    assert set(store.stored_ids().values()) == {1}
    assert pull_later(store, monkeypatch, 30).unchanged


@pytest.mark.parametrize("function", ["rewrite_manifests", "sealed"])
def test_a_sweep_that_was_killed_is_finished_by_the_next(store: Store, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    pull_later(store, monkeypatch, 1)
    with monkeypatch.context() as patched:
        patched.setattr(sweeping.Merger if function == "rewrite_manifests" else Inventory, function, die)
        with pytest.raises(Killed):
            pull_later(store, patched, 32)

    pull_later(store, monkeypatch, 33)

    assert b"%b nr3." % MARKER not in bytes_of(store.base / "staging" / "segments")
    assert store.archived() == store.on_server()
    assert set(store.stored_ids().values()) == {1}
