"""What people type when they are asked about a restore."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from failsafe.cli.restore_words import match, parse_numbers, parse_since
from failsafe.errors import UsageError

WARSAW = ZoneInfo("Europe/Warsaw")
NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)  # a Sunday
NAMES = ["ann@example.org", "anna@example.org", "bob@example.org", "info@example.com"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ann@example.org", ["ann@example.org"]),
        ("ANN@example.org", ["ann@example.org"]),
        ("bob", ["bob@example.org"]),
        ("ann", ["ann@example.org", "anna@example.org"]),
        (".com", ["info@example.com"]),
    ],
)
def test_a_name_is_found_by_itself_or_by_a_part(text: str, names: list[str]) -> None:
    found = match(text, NAMES)
    assert ([NAMES[place] for place in found.places], found.guessed) == (names, False)


@pytest.mark.parametrize(("text", "first"), [("bbo@example.org", 2), ("inof", 3), ("ana@exmaple.org", 1), ("bob@example.ogr", 2)])
def test_a_typo_is_a_guess_and_says_so(text: str, first: int) -> None:
    found = match(text, NAMES)
    assert found.guessed
    assert first in found.places[:2]


def test_what_is_like_nothing_is_no_guess() -> None:
    assert match("zzzzzz", NAMES).places == ()


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("a week", 7),
        ("week", None),
        ("last week", 7),
        ("3 days", 3),
        ("3 days ago", 3),
        ("since 2 weeks", 14),
        ("a month", 31),
        ("2h", 1 / 12),
    ],
)
def test_spans_go_back_from_now(text: str, days: float | None) -> None:
    if days is None:
        with pytest.raises(UsageError, match="no time"):
            parse_since(text, NOW, WARSAW)
    else:
        assert parse_since(text, NOW, WARSAW) == NOW - timedelta(days=days)


def test_weekdays_and_dates_are_days_of_the_place(*_: object) -> None:
    assert parse_since("Monday", NOW, WARSAW) == datetime(2026, 11, 22, 23, 0, tzinfo=UTC)
    assert parse_since("sunday", NOW, WARSAW) == datetime(2026, 11, 21, 23, 0, tzinfo=UTC)  # today is one: the last one is meant
    assert parse_since("2026-11-20", NOW, WARSAW) == datetime(2026, 11, 19, 23, 0, tzinfo=UTC)
    assert parse_since("ever", NOW, WARSAW) is None


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "2027-01-01"])
def test_no_time_and_times_to_come_are_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_since(text, NOW, WARSAW)
    assert "yesterday" in refused.value.mend


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1,3-7", (1, 3, 4, 5, 6, 7)), ("2", (2,)), ("3 1", (3, 1)), ("1 - 3, 2", (1, 2, 3)), ("4;4", (4,)), ("1…2", (1, 2))],
)
def test_numbers_and_ranges_are_read_as_people_write_them(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_numbers(text, 9) == numbers


@pytest.mark.parametrize("text", ["0", "10", "7-3", "1-999999999", "x", "1,-2", "²"])
def test_what_is_no_number_of_the_list_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_numbers(text, 9)
