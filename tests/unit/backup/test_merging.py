"""Merging by size: a long life of a mailbox, simulated."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from failsafe.backup.archive.layout import SEGMENT_LIMIT
from failsafe.backup.merging import LARGE, SMALL, Small, plan_merges

END = 1024  # bytes that end a tar file
SMALLEST = 2048  # a message of a few bytes: header, one block, end


def merged(parts: list[Small]) -> int:
    return sum(part.size - END for part in parts) + END


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([2_000, 12_000, 90_000, 900_000]))
def test_no_byte_is_rewritten_more_than_twice_and_segments_stay_few(seed: int, largest: int) -> None:
    source, times, segments = random.Random(seed), {}, []  # type: ignore[var-annotated]
    for number in range(1_500):
        size = SMALLEST + 512 * (source.randrange(largest) // 512)
        segments.append(Small(str(number), size))
        times[str(number)] = 0
        for turn, group in enumerate(plan_merges(segments)):
            parts = [segment for segment in segments if segment.name in group]
            name = f"{number}/{turn}"
            times[name] = 1 + max(times[part.name] for part in parts)
            segments = [segment for segment in segments if segment.name not in group]
            segments.append(Small(name, merged(parts)))
            assert segments[-1].size <= SEGMENT_LIMIT
        waiting = [segment for segment in segments if segment.size < LARGE]
        assert sum(segment.size < SMALL for segment in waiting) <= SMALL // (SMALLEST - END)
        assert sum(segment.size >= SMALL for segment in waiting) <= LARGE // (SMALL - END) + 1

    assert max(times.values()) <= 2


def test_segments_that_are_large_enough_are_left_alone() -> None:
    assert plan_merges([Small("a", LARGE), Small("b", SEGMENT_LIMIT), Small("c", SMALL), Small("d", SMALL)]) == ()


def test_what_does_not_reach_the_next_size_waits() -> None:
    assert plan_merges([Small("a", SMALL // 2), Small("b", SMALL // 3)]) == ()


def test_a_group_is_merged_as_soon_as_it_is_no_longer_small() -> None:
    parts = [Small(name, SMALL // 2 + END) for name in "abc"]

    assert plan_merges(parts) == (("a", "b"),) or plan_merges(parts) == (("a", "b", "c"),)
