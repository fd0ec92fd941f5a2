"""The database: set up, refused, copied, shared."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, inspect

from failsafe.errors import LeaseLost, SchemaMismatch, StoreError
from failsafe.events import Event
from failsafe.model import Notice
from failsafe.store.duties import BackupRun, DutyStore
from failsafe.store.engine import HEAD, Store, migrations_folder
from failsafe.store.events import ATTEMPTS, EventStore
from failsafe.store.lease import LIFETIME, Lease, LeaseStore, demand
from failsafe.store.schema import duty, metadata

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)


def test_the_migrations_make_exactly_the_schema(store: Store) -> None:
    with store.read() as connection:
        found = inspect(connection)
        columns = {name: {column["name"] for column in found.get_columns(name)} for name in metadata.tables}

    assert columns == {name: set(table.columns.keys()) for name, table in metadata.tables.items()}


def test_the_newest_migration_is_the_one_the_code_demands() -> None:
    revisions = [
        re.search(r'^revision = "(.+)"', file.read_text(), re.MULTILINE)
        for file in (migrations_folder() / "versions").glob("*.py")
    ]

    assert max(found[1] for found in revisions if found is not None) == HEAD


def test_a_second_upgrade_does_nothing(store: Store) -> None:
    assert store.upgrade(NOW) is False


def test_sqlite_runs_in_wal_mode_with_full_sync(store: Store) -> None:
    with store.read() as connection:
        assert connection.exec_driver_sql("pragma journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("pragma synchronous").scalar() == 2


def test_an_unknown_schema_is_refused_with_the_way_out(store: Store) -> None:
    with store.begin() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")

    with pytest.raises(SchemaMismatch, match="9999") as caught:
        store.require_current()
    assert "newer version" in caught.value.mend


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.begin() as connection:
        connection.execute(insert(duty).values(name="x", result="", details={}))
        raise ZeroDivisionError

    assert DutyStore(store).all() == {}


def test_a_state_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="cannot create"):
        Store.sqlite(tmp_path / "file" / "state" / "failsafe.sqlite")


def test_instants_come_back_as_they_went_in(store: Store) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    duties = DutyStore(store)

    duties.started("backup:vps", at)

    assert duties.all()["backup:vps"].started_at == at


def test_the_last_good_run_of_a_duty_survives_a_bad_one(store: Store) -> None:
    duties = DutyStore(store)
    duties.ended("doctor", NOW, ok=True, result="ok")

    duties.ended("doctor", NOW + timedelta(hours=1), ok=False, result="failed")

    record = duties.all()["doctor"]
    assert (record.ok_at, record.ended_at, record.result) == (NOW, NOW + timedelta(hours=1), "failed")


def test_only_the_newest_backup_runs_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failsafe.store.duties.RUNS_KEPT", 3)
    duties = DutyStore(store)

    for number in range(5):
        duties.add_backup_run(BackupRun("vps", NOW, NOW + timedelta(seconds=number), "ok", {"number": number}))

    with store.read() as connection:
        assert connection.exec_driver_sql("select count(*) from backup_run").scalar() == 3
    last = duties.last_backup("vps")
    assert last is not None
    assert last.report == {"number": 4}


def test_an_event_and_its_notice_are_written_together(store: Store) -> None:
    events = EventStore(store)
    notice = Notice("primary is down", "no", "to the secondary", "nothing", NOW, "example.org")

    events.record(Event("failover.done", "example.org", "mail goes to the secondary", NOW, {"n": 1}, notice))

    assert [event.name for _id, event in events.since()] == ["failover.done"]
    assert [pending.notice for pending in events.pending_notices(NOW)] == [replace(notice, event="failover.done")]


def test_a_notice_that_failed_is_tried_again_later_and_not_before(store: Store) -> None:
    events = EventStore(store)
    events.record(Event("failover.done", "d", "t", NOW, {}, Notice("s", "no", "x", "nothing", None, "d")))
    (pending,) = events.pending_notices(NOW)

    events.notice_failed(pending, "no route", NOW)

    assert events.pending_notices(NOW) == []
    assert len(events.pending_notices(NOW + timedelta(minutes=2))) == 1
    assert events.undelivered() == 1


def test_a_notice_that_was_given_up_is_tried_again_when_another_one_has_arrived(store: Store) -> None:
    events = EventStore(store)
    for thread in ("old", "new"):
        events.record(Event("failover.done", thread, "t", NOW, {}, Notice("s", "no", "x", "nothing", None, thread)))
    later = NOW + timedelta(days=30)
    for _ in range(ATTEMPTS):
        events.notice_failed(next(each for each in events.pending_notices(later) if each.notice.thread == "old"), "no route", NOW)
    (new,) = events.pending_notices(later)

    events.notice_delivered(new.id, later)

    assert [each.notice.thread for each in events.pending_notices(later)] == ["old"]


def test_all_that_waits_is_due_at_once_when_a_person_has_seen_a_message_arrive(store: Store) -> None:
    events = EventStore(store)
    events.record(Event("failover.done", "d", "t", NOW, {}, Notice("s", "no", "x", "nothing", None, "d")))
    events.notice_failed(events.pending_notices(NOW)[0], "no route", NOW)

    events.try_again(NOW)

    assert len(events.pending_notices(NOW)) == 1


def test_events_of_every_day_are_kept_for_a_quarter_and_all_others_for_two_years(store: Store) -> None:
    events = EventStore(store)
    for name in ("backup.failed", "failover.done"):
        for days in (1, 91, 731):
            events.record(Event(name, "vps", f"{days} days ago", NOW - timedelta(days=days)))

    events.tidy(NOW)

    assert [(event.name, event.text) for _, event in events.since()] == [
        ("backup.failed", "1 days ago"),
        ("failover.done", "1 days ago"),
        ("failover.done", "91 days ago"),
    ]


def test_an_undocumented_event_is_a_programmers_error(store: Store) -> None:
    with pytest.raises(AssertionError, match="undocumented"):
        EventStore(store).record(Event("made.up", "x", "y", NOW))


def test_one_controller_holds_the_lease(store: Store) -> None:
    leases = LeaseStore(store)

    assert leases.acquire("nas", NOW) == Lease("nas", 1)
    assert leases.acquire("other", NOW + timedelta(seconds=1)) is None


def test_an_expired_lease_passes_on_with_a_new_epoch(store: Store) -> None:
    leases = LeaseStore(store)
    leases.acquire("nas", NOW)

    assert leases.acquire("other", NOW + LIFETIME + timedelta(seconds=1)) == Lease("other", 2)


def test_a_stale_holder_is_fenced_inside_the_transaction(store: Store) -> None:
    leases = LeaseStore(store)
    stale = leases.acquire("nas", NOW)
    assert stale is not None
    leases.acquire("other", NOW + LIFETIME + timedelta(seconds=1))

    with pytest.raises(LeaseLost), store.begin() as connection:
        demand(connection, stale)


def test_who_takes_over_fences_whoever_held_the_lease_also_one_of_the_same_name(store: Store) -> None:
    leases = LeaseStore(store)
    stale = leases.acquire("nas", NOW)
    assert stale is not None

    taken = leases.take_over("nas", NOW, 1000)

    assert taken == Lease("nas", 1001)
    with store.begin() as connection:
        demand(connection, taken)
        with pytest.raises(LeaseLost):
            demand(connection, stale)
    assert leases.take_over("other", NOW, 5) == Lease("other", 1002)


def test_what_is_written_together_is_seen_there_and_is_all_or_nothing(store: Store) -> None:
    duties = DutyStore(store)
    with store.together():
        duties.started("a", NOW)
        with store.together():
            duties.ended("a", NOW, ok=True)
        assert duties.all()["a"].ok_at == NOW
    with pytest.raises(ValueError, match="no"), store.together():
        duties.started("b", NOW)
        raise ValueError("no")
    assert set(duties.all()) == {"a"}


def test_what_another_thread_writes_is_no_part_of_what_is_written_together(store: Store) -> None:
    duties = DutyStore(store)
    with pytest.raises(ValueError, match="no"), ThreadPoolExecutor(1) as pool, store.together():
        pool.submit(duties.all).result()  # it reads what was there before
        assert pool.submit(lambda: getattr(store._joined, "connection", None)).result() is None
        raise ValueError("no")


def test_a_lease_that_a_clock_years_ahead_took_passes_on_once_nobody_renews_it(store: Store) -> None:
    elapsed = [0.0]
    ahead, ours = LeaseStore(store), LeaseStore(store, lambda: elapsed[0])
    assert ahead.acquire("ahead", NOW + timedelta(days=400)) is not None
    for minute in range(10):  # it lives, and renews
        assert ours.acquire("nas", NOW + timedelta(minutes=minute)) is None
        elapsed[0] += 60
        ahead.acquire("ahead", NOW + timedelta(days=400, minutes=minute))
    for minute in range(10, 14):
        assert ours.acquire("nas", NOW + timedelta(minutes=minute)) is None
        elapsed[0] += 60
    assert ours.acquire("nas", NOW + timedelta(minutes=14)) == Lease("nas", 2)


def test_a_notice_that_was_tried_by_a_clock_days_ahead_is_told_once_it_is_right(store: Store) -> None:
    events, ahead = EventStore(store), NOW + timedelta(days=2)
    notice = Notice("example.org: mail goes to the secondary", "no", "to the secondary", "nothing", NOW, "example.org:1")
    events.record(Event("failover.done", "example.org", "done", NOW, notice=notice))
    (pending,) = events.pending_notices(ahead)
    events.notice_failed(pending, "no route", ahead)
    assert events.pending_notices(ahead) == []
    assert len(events.pending_notices(NOW)) == 1
