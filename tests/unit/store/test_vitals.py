"""Vitals on disk: written together and seldom, the newest always at hand, days and not years of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from failsafe.store.engine import Store
from failsafe.store.history import FLUSH_EVERY
from failsafe.store.schema import vital
from failsafe.store.vitals import KEPT, VitalRow, VitalsStore

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def row(minutes: float, *, server: str = "vps", source: str = "inside") -> VitalRow:
    return VitalRow(server, source, START + minutes * MINUTE, {"load": [minutes, 0, 0]})


def count(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(vital)).scalar_one()


def test_readings_are_written_together_and_at_most_every_ten_minutes(store: Store) -> None:
    vitals = VitalsStore(store)
    written = []
    for number in range(25):
        vitals.record(row(number))
        written.append(count(store))
    assert sorted(set(written)) == [1, 11, 21]
    assert timedelta(minutes=10) == FLUSH_EVERY


def test_what_is_not_written_yet_is_read_all_the_same(store: Store) -> None:
    vitals = VitalsStore(store)
    for number in range(3):
        vitals.record(row(number))
    vitals.record(row(3, source="canary"))

    assert vitals.newest("vps", "inside") == row(2)
    assert vitals.since("vps", "inside", START + MINUTE) == (row(1), row(2))
    vitals.flush(START + 4 * MINUTE)
    assert VitalsStore(store).since("vps", "inside", START + MINUTE) == (row(1), row(2))
    assert VitalsStore(store).newest("other", "inside") is None


def test_old_ones_go_and_the_newest_of_each_stays(store: Store) -> None:
    vitals = VitalsStore(store)
    for each in (row(0), row(1), row(0, source="canary"), row(5, server="other")):
        vitals.record(each)
    vitals.flush(START)
    vitals.record(row(6))
    vitals.flush(START + KEPT)
    vitals.tidy(START + KEPT + 3 * MINUTE)

    assert VitalsStore(store).since("vps", "inside", START) == (row(6),)
    assert VitalsStore(store).newest("vps", "canary") == row(0, source="canary")
    assert VitalsStore(store).newest("other", "inside") == row(5, server="other")
