"""Times as people type them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from failsafe.cli.times import parse_time
from failsafe.errors import UsageError

WARSAW = ZoneInfo("Europe/Warsaw")
NOW = datetime(2026, 11, 22, 23, 30, tzinfo=UTC)  # 0:30 of the 23rd in Warsaw


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20", datetime(2026, 11, 19, 23, tzinfo=UTC)),
        ("2026-07-20", datetime(2026, 7, 19, 22, tzinfo=UTC)),
        ("2026-11-20T18:00", datetime(2026, 11, 20, 17, tzinfo=UTC)),
        ("2026-11-20 18:00:30", datetime(2026, 11, 20, 17, 0, 30, tzinfo=UTC)),
        ("2026-11-20T18:00Z", datetime(2026, 11, 20, 18, tzinfo=UTC)),
        ("2026-11-20T18:00+05:00", datetime(2026, 11, 20, 13, tzinfo=UTC)),
        ("yesterday 18:00", datetime(2026, 11, 22, 17, tzinfo=UTC)),
        ("yesterday", datetime(2026, 11, 21, 23, tzinfo=UTC)),
        ("Today 00:15", datetime(2026, 11, 22, 23, 15, tzinfo=UTC)),
        ("2h", datetime(2026, 11, 22, 21, 30, tzinfo=UTC)),
        ("90 m ago", datetime(2026, 11, 22, 22, 0, tzinfo=UTC)),
        ("1w", datetime(2026, 11, 15, 23, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_in_the_controllers_zone(text: str, expected: datetime) -> None:
    assert parse_time(text, NOW, WARSAW) == expected


def test_until_a_day_means_that_day_too() -> None:
    assert parse_time("2026-11-20", NOW, WARSAW, end_of_day=True) == datetime(2026, 11, 20, 23, tzinfo=UTC)
    assert parse_time("2026-11-20T18:00", NOW, WARSAW, end_of_day=True) == datetime(2026, 11, 20, 17, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "yesterday noon", "2 fortnights", "999999w", "0001-01-01"])
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_time(text, NOW, WARSAW)
    assert "2026-11-20T18:00" in caught.value.mend
