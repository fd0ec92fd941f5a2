"""In which order a long pull goes, and whether there is room for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from failsafe.backup.stretch import (
    DAY,
    EVERYTHING,
    HEAD,
    LONG,
    RESERVE,
    Care,
    NoRoom,
    Room,
    Slice,
    Stretch,
    Waiting,
    judge_room,
    list_outstanding,
    plan_slices,
)
from failsafe.clock import SystemClock

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
TODAY = int(NOW.timestamp()) // DAY
DISK = 1000 << 30


def holds(part: Slice, days_ago: int) -> bool:
    return part.since <= NOW.timestamp() - days_ago * DAY < part.until


def test_little_comes_all_at_once_so_that_segments_are_full() -> None:
    assert plan_slices({TODAY: Waiting(5, LONG // 2), TODAY - 400: Waiting(5, LONG // 2 - 1)}, NOW) == (EVERYTHING,)


def test_much_comes_newest_first_and_every_date_comes_once() -> None:
    slices = plan_slices({TODAY - age: Waiting(1, LONG) for age in (0, 100, 4000)}, NOW)
    for days_ago, place in ((-3000, 0), (0, 0), (29, 0), (31, 1), (364, 1), (366, 2), (20_000, 2), (30_000, 2)):
        assert [holds(part, days_ago) for part in slices] == [number == place for number in range(3)], days_ago


def test_ages_of_which_nothing_is_missing_are_left_out() -> None:
    assert len(plan_slices({TODAY - 4000: Waiting(1, LONG)}, NOW)) == 1


def test_all_that_is_missing_must_fit_with_the_reserve() -> None:
    waiting = Waiting(1000, 5 << 30)
    needed = waiting.size + 1000 * HEAD
    assert judge_room(Room(needed + RESERVE, DISK), waiting, "/staging") is None
    fault = judge_room(Room(needed + RESERVE - 10_000_000, DISK), waiting, "/staging")
    assert fault is not None
    assert "5.4 GB of mail are still to come" in str(fault)
    assert "10.0 MB are lacking" in str(fault)
    assert "controller.state_dir" in fault.mend


def test_a_small_disk_has_a_small_reserve() -> None:
    assert Room(0, 3 << 20).reserve < 100_000


def test_the_pull_stops_when_the_reserve_is_touched_and_says_so() -> None:
    rooms = [Room(RESERVE + (1 << 30), DISK), Room(RESERVE + 1, DISK), Room(RESERVE - 1, DISK)]
    stretch = Stretch(Care(room=lambda: rooms.pop(0)), SystemClock(), "/staging")
    stretch.begin(0, Waiting(1, 1000))
    assert not stretch.look()
    with pytest.raises(NoRoom, match="the pull stopped"):
        stretch.look()


def test_a_disk_is_not_asked_where_nothing_is_to_come() -> None:
    def never() -> Room:
        raise AssertionError("asked")

    Stretch(Care(room=never), SystemClock(), "/staging").begin(0, Waiting(0, 0))


def test_a_checkpoint_is_due_when_its_time_has_passed_and_not_again_at_once() -> None:
    class Clock(SystemClock):
        at = 0.0

        def monotonic(self) -> float:
            return self.at

    clock, told = Clock(), []
    stretch = Stretch(Care(every=timedelta(minutes=45), stored=told.append), clock, "/staging")
    clock.at = 44 * 60.0
    assert not stretch.look()
    clock.at = 45 * 60.0
    assert stretch.look()
    stretch.stored("generation")  # type: ignore[arg-type]
    assert not stretch.look()
    assert told == ["generation"]


def test_of_much_parts_are_stored_on_the_way_so_that_little_is_left_to_store_at_the_end() -> None:
    stretch = Stretch(Care(early=1_000), SystemClock(), "/staging")
    stretch.begin(0, Waiting(100, 1_000))
    due = []
    for _ in range(100):
        stretch.advance(10)
        if stretch.look():
            due.append(stretch.done)
            stretch.stored(None)
    assert due == [100, 400, 750]


def test_of_little_no_part_is_stored_on_the_way() -> None:
    stretch = Stretch(Care(early=1_001), SystemClock(), "/staging")
    stretch.begin(0, Waiting(100, 1_000))
    stretch.advance(1_000)
    assert not stretch.look()


def test_a_million_messages_are_one_line_a_mailbox() -> None:
    (one,) = list_outstanding({"anna@example.org": Waiting(1_000_000, 50 * 10**9)})
    assert (one.mailbox, one.folder, one.name, one.why) == (
        "anna@example.org",
        "",
        "",
        "1000000 message(s), 50.0 GB, have not arrived yet",
    )
