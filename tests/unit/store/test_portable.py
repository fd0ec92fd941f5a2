"""What a controller's database hands to another one, and what of it presses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from failsafe.errors import StoreError
from failsafe.events import Event
from failsafe.model import (
    Axis,
    DomainState,
    Evidence,
    FlipKind,
    Intent,
    MxSet,
    NewIntent,
    Outcome,
    OwnLine,
    ProbeClass,
    Side,
)
from failsafe.store.duties import BackupRun, DutyStore
from failsafe.store.engine import Store
from failsafe.store.events import EventStore
from failsafe.store.history import HistoryStore
from failsafe.store.journal import Journal
from failsafe.store.lease import LeaseStore
from failsafe.store.portable import Row, is_empty, read_holdings, read_pulse, write_holdings

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
DOMAIN = "example.org"
PEACE = MxSet.of((10, "mail.example.org"), ttl_seconds=60)
OUTAGE = MxSet.of((5, "mx.example.net"), (10, "mail.example.org"), ttl_seconds=60)
PLAN = NewIntent(DOMAIN, FlipKind.FAILOVER, "nas", "down", NOW, NOW + timedelta(minutes=5), PEACE, OUTAGE, "d" * 64)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[str], Store]]:
    made: list[Store] = []

    def one(name: str) -> Store:
        made.append(Store.sqlite(tmp_path / name))
        made[-1].upgrade(NOW)
        return made[-1]

    yield one
    for store in made:
        store.close()


@pytest.fixture
def store(make: Callable[[str], Store]) -> Store:
    return make("old.sqlite")


def journal(store: Store) -> Journal:
    return Journal(store, LeaseStore(store).acquire("nas", NOW))


def fail_over(store: Store) -> Intent:
    book = journal(store)
    record, plan = book.begin(book.load(DOMAIN, NOW), replace(book.load(DOMAIN, NOW), state=DomainState.FAILING_OVER), PLAN, [])
    away = replace(record, state=DomainState.FAILED_OVER, serving=Side.SECONDARY, previous=PEACE, written=OUTAGE)
    book.finish(record, away, plan, Outcome.DONE, "verified", [Event("failover.done", DOMAIN, "done", NOW)])
    return plan


def note(store: Store, name: str, text: str = "x", **details: object) -> None:
    EventStore(store).record(Event(name, "vps", text, NOW, details))


def everything(store: Store) -> list[Row]:
    held = read_holdings(store)
    return [*held.present, *held.intents, *held.drills, *held.events, *held.evidence, *held.lines]


def test_another_database_knows_all_that_this_one_knew(store: Store, make: Callable[[str], Store]) -> None:
    fail_over(store)
    duties = DutyStore(store)
    duties.change_repository("nas", restic_id="a" * 64, next_check_part=3, details={"holds": {"vps": "2026-11-22"}})
    duties.ended("check:nas", NOW, ok=True)
    duties.add_backup_run(BackupRun("vps", NOW, NOW, "ok", {"messages": {"total": 7}, "missing": ["long"]}))
    duties.add_drill("nas", NOW, NOW, "passed", {"messages": 3})
    history = HistoryStore(store)
    for number, seen in enumerate((ProbeClass.UP, ProbeClass.DOWN, ProbeClass.UP)):
        at = NOW + timedelta(minutes=number)
        history.record(Evidence("vps", "here", Axis.INBOUND, seen, at, "words", transcript="220 hello"), timedelta(minutes=1))
        history.record_line(OwnLine(at, number % 2 * 3, 3))
    history.flush(NOW)
    other = make("new.sqlite")

    write_holdings(other, everything(store))

    assert journal(other).load(DOMAIN, NOW) == journal(store).load(DOMAIN, NOW)
    assert journal(other).flips(DOMAIN, NOW) == journal(store).flips(DOMAIN, NOW)
    assert EventStore(other).since() == EventStore(store).since()
    assert DutyStore(other).repositories() == duties.repositories()
    assert DutyStore(other).all()["check:nas"].ok_at == NOW
    assert DutyStore(other).drills("nas") == ({"messages": 3},)
    last = DutyStore(other).last_backup("vps")
    assert last is not None
    assert last.report == {"messages": {"total": 7}}
    runs = HistoryStore(other).runs("vps")
    assert [run.evidence.seen for run in runs] == [ProbeClass.UP, ProbeClass.DOWN, ProbeClass.UP]
    assert {run.evidence.transcript for run in runs} == {""}
    assert HistoryStore(other).last_line() == history.last_line()


def test_what_comes_after_is_numbered_on(store: Store, make: Callable[[str], Store]) -> None:
    for _ in range(3):
        note(store, "backup.done")
    other = make("new.sqlite")
    write_holdings(other, everything(store))

    note(other, "backup.done")

    assert [number for number, _ in EventStore(other).since()] == [1, 2, 3, 4]


def test_a_database_is_empty_until_something_of_weight_is_written(store: Store) -> None:
    note(store, "controller.started")
    assert is_empty(store)

    DutyStore(store).change_repository("nas", restic_id="a" * 64)

    assert not is_empty(store)


def test_the_newest_events_go_along_by_whole_thousands_and_without_long_details(store: Store) -> None:
    rows = [
        {"table": "event", "id": number, "at": "2026-11-22T17:00:00.000000Z", "name": "backup.done", "subject": "vps", "text": str(number),
         "details": {"report": "x" * (1000 if number % 2 else 1)}}
        for number in range(1, 5_501)
    ]  # fmt: skip
    write_holdings(store, rows)

    events = read_holdings(store).events

    assert (events[0]["id"], events[-1]["id"]) == (2000, 5500)
    assert events[0]["details"] == {"report": "x"}
    assert "left_out" in events[1]["details"]
    assert events[1]["text"] == "2001"


def test_a_duty_that_is_under_way_is_not_on_another_machine(store: Store) -> None:
    duties = DutyStore(store)
    duties.ended("backup:vps", NOW, ok=True)
    duties.started("backup:vps", NOW + timedelta(minutes=15))
    duties.ended("watch:example.org", NOW, ok=True, details={"health": {}})

    present = read_holdings(store).present
    held = [row for row in present if row["table"] == "duty"]

    assert [row["began_at"] for row in present if row["table"] == "pull"] == ["2026-11-22T17:15:00.000000Z"]
    assert [row["name"] for row in held] == ["backup:vps"]
    assert "started_at" not in held[0]


def test_a_row_that_makes_no_sense_is_refused_and_nothing_is_written(store: Store) -> None:
    rows = [
        {"table": "duty", "name": "backup:vps"},
        {"table": "event", "id": 1, "at": "yesterday", "name": "x", "subject": "x", "text": "x", "details": {}},
    ]
    with pytest.raises(StoreError, match="yesterday"):
        write_holdings(store, rows)
    assert DutyStore(store).all() == {}


def test_tables_and_columns_of_a_later_version_are_passed_over(store: Store) -> None:
    rows = [{"table": "duty", "name": "backup:vps", "colour": "red"}, {"table": "canary", "id": 1}]

    assert write_holdings(store, rows) == 1


# -- what presses


def held_for(store: Store, until: datetime | None) -> None:
    book = journal(store)
    record = book.load(DOMAIN, NOW)
    book.change(record, replace(record, held_until=until), [])


def test_a_flip_a_hold_and_a_halt_press(store: Store) -> None:
    seen = [read_pulse(store).pressing]
    fail_over(store)
    seen.append(read_pulse(store).pressing)
    held_for(store, NOW + timedelta(hours=2))
    seen.append(read_pulse(store).pressing)
    book = journal(store)
    record = book.load(DOMAIN, NOW)
    book.change(record, replace(record, state=DomainState.HALTED), [])
    seen.append(read_pulse(store).pressing)

    assert all(before != after for before, after in pairwise(seen))


def test_a_blip_and_the_events_of_every_day_do_not(store: Store) -> None:
    before = read_pulse(store)
    book = journal(store)
    record = book.load(DOMAIN, NOW)
    record = book.change(record, replace(record, state=DomainState.SUSPECT, suspected_at=NOW, previous=PEACE), [])
    book.change(record, replace(record, state=DomainState.NORMAL, suspected_at=None), [])
    note(store, "backup.done")
    DutyStore(store).ended("backup:vps", NOW, ok=True)

    assert read_pulse(store) == before


def test_what_is_out_of_the_ordinary_is_news(store: Store) -> None:
    before = read_pulse(store)
    note(store, "guard.accepted")
    after = read_pulse(store)
    DutyStore(store).change_repository("nas", restic_id="a" * 64)

    assert before.news != after.news != read_pulse(store).news
    assert read_pulse(store).pressing == before.pressing


def test_reading_leaves_the_database_as_it_was(store: Store, tmp_path: Path) -> None:
    fail_over(store)
    file = tmp_path / "old.sqlite-wal"
    before = file.stat().st_size

    with closing(store):
        read_pulse(store)
        everything(store)
        assert file.stat().st_size == before
