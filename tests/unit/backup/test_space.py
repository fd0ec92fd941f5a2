"""The day on which a disk will be full."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from failsafe.backup.space import KEPT, LONGEST, NOTED_EVERY, Sample, expect_full_at, note_free

NOW = datetime(2026, 11, 25, tzinfo=UTC)
DAY = timedelta(days=1)
GIGA = 10**9


def falling(days: int, daily: int, free: int) -> list[Sample]:
    return [(NOW - (days - day) * DAY, free + (days - day) * daily) for day in range(days + 1)]


def test_a_disk_that_loses_as_much_every_day_is_full_when_nothing_is_left() -> None:
    assert expect_full_at(falling(10, 2 * GIGA, 60 * GIGA)) == NOW + 30 * DAY


def test_too_few_days_say_nothing() -> None:
    assert expect_full_at(falling(2, 2 * GIGA, 60 * GIGA)) is None
    assert expect_full_at([]) is None


def test_a_disk_that_gains_room_or_loses_next_to_none_is_not_called_full() -> None:
    assert expect_full_at(falling(10, -GIGA, 60 * GIGA)) is None
    assert expect_full_at(falling(10, 1, 60 * GIGA)) is None


@given(st.lists(st.integers(0, 10**13), min_size=4, max_size=30))
def test_whatever_was_measured_the_day_lies_ahead_and_within_a_year(frees: list[int]) -> None:
    last = NOW + (len(frees) - 1) * DAY

    full_at = expect_full_at([(NOW + place * DAY, free) for place, free in enumerate(frees)])

    assert full_at is None or last <= full_at <= last + LONGEST


def test_samples_are_hours_apart_and_few() -> None:
    samples: tuple[Sample, ...] = ()
    for minute in range(0, 60 * 24 * 60, 15):
        samples = note_free(samples, NOW + timedelta(minutes=minute), GIGA) or samples

    assert len(samples) == KEPT
    assert min(after[0] - before[0] for before, after in itertools.pairwise(samples)) == NOTED_EVERY


def test_after_the_clock_went_back_samples_of_the_future_are_forgotten() -> None:
    assert note_free([(NOW + DAY, GIGA)], NOW, 2 * GIGA) == ((NOW, 2 * GIGA),)
