"""Fetching one portion ahead: order, faults, and what happens to the fetch under way when nobody wants it any more."""

import threading

import pytest

from failsafe.backup.one_ahead import one_ahead
from failsafe.errors import ResticError

PATIENCE = 10.0  # seconds


def no_stop() -> None:
    raise AssertionError("nothing was left early")


def test_every_portion_comes_in_order_with_what_was_fetched_for_it() -> None:
    assert list(one_ahead([1, 2, 3], lambda number: number * 10, no_stop)) == [(1, 10), (2, 20), (3, 30)]


def test_nothing_to_fetch_is_no_fetch() -> None:
    assert list(one_ahead([], lambda number: number, no_stop)) == []


def test_the_next_portion_is_fetched_while_the_present_one_is_worked_on() -> None:
    begun, asked = threading.Event(), list[int]()

    def fetch(number: int) -> int:
        if number == 2:
            begun.set()
        return number

    class Portions(list[int]):
        def __getitem__(self, place: slice) -> list[int]:  # type: ignore[override]
            asked.append(place.start or 0)
            return super().__getitem__(place)

    coming = one_ahead(Portions([1, 2, 3]), fetch, no_stop)
    next(coming)
    assert begun.wait(PATIENCE)
    assert max(asked) == 1, "one ahead, not two: the disk has room for so much"
    list(coming)


def test_a_fetch_that_begins_while_it_is_stopped_is_stopped_too() -> None:
    under_way, stops, ended = threading.Event(), threading.Semaphore(0), threading.Event()

    def fetch(number: int) -> int:
        if number == 2:
            under_way.set()
            assert stops.acquire(timeout=PATIENCE)  # the first stop comes too early
            assert stops.acquire(timeout=PATIENCE)
            ended.set()
        return number

    coming = one_ahead([1, 2], fetch, stops.release)
    next(coming)
    assert under_way.wait(PATIENCE)
    coming.close()
    assert ended.is_set()


def test_a_fetch_that_fails_is_told_after_what_came_before_it() -> None:
    def fetch(number: int) -> int:
        if number == 2:
            raise ResticError("gone", kind="unreachable")
        return number

    coming = one_ahead([1, 2, 3], fetch, lambda: None)
    assert next(coming) == (1, 1)
    with pytest.raises(ResticError, match="gone"):
        next(coming)


def test_left_early_it_stops_the_fetch_under_way_and_waits_for_its_end() -> None:
    under_way, stopped, ended = threading.Event(), threading.Event(), threading.Event()

    def fetch(number: int) -> int:
        if number == 2:
            under_way.set()
            assert stopped.wait(PATIENCE)
            ended.set()
        return number

    coming = one_ahead([1, 2], fetch, stopped.set)
    next(coming)
    assert under_way.wait(PATIENCE)
    coming.close()
    assert ended.is_set()
