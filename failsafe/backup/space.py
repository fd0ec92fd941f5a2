"""On which day a disk will be full, from how much was free on days before. Pure; with too little to go by it says nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

SPACE = "space"  # the duty under whose name samples are kept

Sample = tuple[datetime, int]  # when, bytes free

NOTED_EVERY = timedelta(hours=6)
KEPT = 120  # samples: a month
LEAST_SAMPLES = 4
LEAST_SPAN = timedelta(days=3)  # a first pull fills a disk faster than anything after it
LONGEST = timedelta(days=365)  # beyond, a straight line is a guess


def read_samples(details: Mapping[str, Any]) -> Iterator[Sample]:
    for at, free in details.get("samples", ()):
        yield datetime.fromisoformat(at), int(free)


def note_free(samples: Sequence[Sample], now: datetime, free: int) -> tuple[Sample, ...] | None:
    """The samples with this one; None where the last is too young to add another. A clock that went back begins anew."""
    known = [sample for sample in samples if sample[0] <= now]
    if known and now - known[-1][0] < NOTED_EVERY and len(known) == len(samples):
        return None
    return (*known[-(KEPT - 1) :], (now, free))


def expect_full_at(samples: Sequence[Sample]) -> datetime | None:
    """Where the straight line through the samples (least squares) meets zero; None where it does not fall, or not within a year."""
    if len(samples) < LEAST_SAMPLES or samples[-1][0] - samples[0][0] < LEAST_SPAN:
        return None
    begin = samples[0][0]
    times = [(at - begin).total_seconds() for at, _free in samples]
    frees = [float(free) for _at, free in samples]
    middle_time, middle_free = sum(times) / len(times), sum(frees) / len(frees)
    spread = sum((time - middle_time) ** 2 for time in times)
    slope = sum((time - middle_time) * (free - middle_free) for time, free in zip(times, frees, strict=True)) / spread
    if slope >= 0:
        return None
    left = timedelta(seconds=min(frees[-1] / -slope, 2 * LONGEST.total_seconds()))
    return samples[-1][0] + left if left <= LONGEST else None
