"""What checks have read: a date that is a number, honest about parts that failed, were damaged, or came later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from failsafe.backup.coverage import Coverage, Size, estimate_cost, estimate_size, render_reading

AT = datetime(2026, 9, 1, 6, 0, tzinfo=UTC)
WEEK = timedelta(days=7)


def rounds(parts: int, count: int, *, bad: tuple[int, ...] = ()) -> tuple[Coverage, int]:
    """After so many weekly checks, of which some found damage; and the next part."""
    coverage, part = Coverage(parts), 1
    for number in range(count):
        coverage = coverage.note(part, AT + WEEK * number, number * 1000, ok=number not in bad, packs=24)
        part = part % parts + 1
    return coverage, part


def test_everything_is_read_when_every_part_is_and_the_oldest_of_them_is_the_date() -> None:
    assert rounds(4, 3)[0].read_since is None
    assert rounds(4, 4)[0].read_since == AT
    assert rounds(4, 6)[0].read_since == AT + WEEK * 2


def test_the_end_of_the_round_is_told_before_and_after_the_first_one() -> None:
    coverage, part = rounds(4, 3)
    assert coverage.round_ends_at(part, AT + WEEK * 2, WEEK) == AT + WEEK * 3
    coverage, part = rounds(4, 4)
    assert coverage.round_ends_at(part, AT + WEEK * 3, WEEK) == AT + WEEK * 7
    assert Coverage(4).round_ends_at(1, None, WEEK) is None


def test_a_part_with_damage_does_not_count_and_the_damage_stands_until_it_reads_well() -> None:
    coverage, part = rounds(4, 6, bad=(1,))
    assert coverage.read_since == AT + WEEK * 2, "part 2 was read again, and well"
    assert coverage.damaged_at is None
    coverage, part = rounds(4, 5, bad=(1,))
    assert coverage.read_since is None
    assert coverage.damaged_at == AT + WEEK
    assert coverage.round_ends_at(part, AT + WEEK * 4, WEEK) == AT + WEEK * 5
    assert coverage.note(None, AT + WEEK * 5, 0, ok=True, packs=24).damaged_at is None


def test_damage_keeps_its_first_date() -> None:
    assert rounds(2, 5, bad=(0, 2, 4))[0].damaged_at == AT


def test_another_share_begins_anew_and_does_not_make_damage_good() -> None:
    kept = {"check": rounds(4, 4, bad=(2,))[0].to_details()}
    anew = Coverage.of(kept, 6)

    assert (anew.parts, dict(anew.read), anew.damaged_at, anew.packs) == (6, {}, AT + WEEK * 2, 24)


@given(st.integers(1, 12), st.integers(0, 40), st.sets(st.integers(0, 40), max_size=5))
def test_what_is_kept_in_the_database_is_read_back(parts: int, count: int, bad: set[int]) -> None:
    coverage, _ = rounds(parts, count, bad=tuple(bad))

    assert Coverage.of({"check": coverage.to_details()}, parts) == coverage
    assert (coverage.read_since is not None) == (len(coverage.read) == parts)


def test_what_came_after_a_part_s_turn_is_not_called_read() -> None:
    coverage, _ = rounds(2, 2)  # part 1 when nothing had been added, part 2 after 1,000 bytes

    assert coverage.unread_bytes(1000, 50_000) == 500
    assert coverage.unread_bytes(3000, 50_000) == 2500
    assert rounds(2, 1)[0].unread_bytes(0, 50_000) == 25_000
    assert Coverage(2).unread_bytes(0, None) is None


def test_the_size_is_the_best_that_is_known_and_says_where_from() -> None:
    added = {"bytes": 5_000, "since": "2026-01-02T00:00:00+00:00"}
    pruned = {"bytes": 3_000, "at": "2026-09-01T00:00:00+00:00", "added": 4_000}
    bucket = {"at": "2026-10-01T00:00:00", "contents": {"data": {"bytes": 9_000, "files": 3}, "keys": {"bytes": 500, "files": 1}}}

    assert estimate_size({}) is None
    assert estimate_size({"added": added}) == Size(5_000, "what our own snapshots added since 2026-01-02")
    found = estimate_size({"added": added, "size": pruned})
    assert found == Size(4_000, "left by prune on 2026-09-01, and what snapshots added since")
    assert estimate_size({"added": added, "size": pruned, "bucket": bucket}) == Size(9_500, "listed in the bucket on 2026-10-01")


def test_what_a_check_costs_is_told_by_check_and_by_month() -> None:
    cost = estimate_cost(12, WEEK, Size(200_000_000_000, "x"), None)

    assert cost.round_days == 84
    assert cost.bytes_a_check == 16_666_666_667
    assert cost.requests_a_check == 981
    assert cost.bytes_a_month is not None
    assert 72e9 < cost.bytes_a_month < 73e9
    assert estimate_cost(12, WEEK, Size(1000, "x"), 24).requests_a_check == 2
    assert estimate_cost(12, WEEK, None, 24).bytes_a_check is None


def test_one_line_says_it_all() -> None:
    coverage, part = rounds(4, 4)
    size = Size(2_000_000, "x")
    line = render_reading(
        coverage,
        coverage.round_ends_at(part, AT + WEEK * 3, WEEK),
        coverage.unread_bytes(300_000, size.bytes),
        estimate_cost(4, WEEK, size, coverage.packs),
        size,
    )

    assert line.startswith("all data read since 2026-09-01; the round of 28 days ends on 2026-10-20; about 298.5 kB came later")
    assert "a check reads about 500.0 kB in 6 requests, 2.2 MB in 26 a month (from 2.0 MB, x)" in line
