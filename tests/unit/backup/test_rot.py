"""Whose turn it is to be read back."""

from __future__ import annotations

from failsafe.backup.rot import LEAST, MOST, ROUND, plan_look

MB = 1 << 20


def test_a_small_staging_is_read_at_once() -> None:
    files = [(f"segments/{n:02}", 16 * MB) for n in range(10)]
    assert sorted(plan_look(files, "segments/04")) == [path for path, _ in files]


def test_a_large_staging_is_read_in_a_month_each_file_once_and_the_longest_unread_first() -> None:
    files = [(f"segments/{n:04}", 16 * MB) for n in range(1500)]
    last, seen = "", list[str]()
    for _ in range(ROUND):
        chosen = plan_look(files, last)
        assert LEAST <= sum(size for path, size in files if path in chosen) <= MOST
        seen += chosen
        last = chosen[-1]
    assert seen == [path for path, _ in files]


def test_a_day_has_a_limit_whatever_the_size() -> None:
    files = [(f"segments/{n:06}", 16 * MB) for n in range(50_000)]
    assert len(plan_look(files, "")) * 16 * MB <= MOST


def test_one_file_larger_than_a_day_is_read_all_the_same() -> None:
    assert plan_look([("a", 2 * MOST), ("b", 1)], "") == ("a",)
    assert plan_look([("a", 2 * MOST), ("b", 1)], "a") == ("b",)


def test_files_that_came_or_went_meanwhile_do_not_stop_the_round() -> None:
    assert plan_look([("a", MOST), ("c", MOST)], "b") == ("c",)
    assert plan_look([("a", MOST), ("c", MOST)], "c") == ("a",)
    assert plan_look([], "x") == ()
