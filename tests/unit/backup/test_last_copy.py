"""When the last copy of erased mail goes: the day on which `keep` lets the last snapshot go that has it, and why no day can be told."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from failsafe.backup.last_copy import Holding, foresee
from failsafe.backup.retention import Keep, plan_retention
from failsafe.model import Guard, SnapshotInfo

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def snapshot(generation: int, at: datetime, *, result: str = "ok") -> SnapshotInfo:
    tags = (f"generation:{generation}", f"state:{generation:016x}", f"result:{result}", "messages:3")
    return SnapshotInfo(f"{generation:064x}", "failsafe-vps", at, tags)


def view(*snapshots: SnapshotInfo, **more: Any) -> Holding:
    return Holding("nas", "vps", NOW, snapshots or (snapshot(1, NOW),), generation=5, **more)


@pytest.mark.parametrize(
    ("keep", "on"),
    [
        (Keep(daily=3), date(2026, 11, 23)),
        (Keep(within="7d"), date(2026, 11, 27)),
        (Keep(last=5), date(2026, 11, 25)),
        (Keep(daily=1, yearly=1), date(2026, 11, 21)),
        (Keep(monthly=2), date(2026, 12, 1)),  # until then it is the oldest, while the count is not used up
        (Keep(daily=2, yearly=3), date(2028, 1, 1)),
    ],
    ids=str,
)
def test_the_day_is_that_on_which_keep_lets_it_go(keep: Keep, on: date) -> None:
    told = foresee(view(keep=keep), NOW, UTC)

    assert told.forgotten_at is not None
    assert (told.holding, told.forgotten_at.date()) == (1, on)
    assert told.gone_at == told.forgotten_at + 8 * DAY, "forget is daily, prune weekly"


@pytest.mark.parametrize("seed", range(25))
def test_it_is_what_forget_does_day_by_day(seed: int) -> None:
    chance = random.Random(seed)
    counts = {rule: chance.choice((0, 0, 1, 2, 4)) for rule in ("last", "hourly", "daily", "weekly", "monthly", "yearly")}
    keep = Keep(
        within=chance.choice(("", "", "3d", "2d")), **{**counts, "yearly": min(counts["yearly"], 1), "last": counts["last"] or 1}
    )
    old = [
        snapshot(number, NOW - chance.randrange(60 * 24) * timedelta(hours=1), result=chance.choice(("ok", "ok", "incomplete")))
        for number in range(1, 40)
    ]
    told = foresee(replace(view(*old, keep=keep), generation=61), NOW, UTC)

    mine, at, listed = {info.id for info in old}, NOW - DAY, list(old)
    while mine & {info.id for info in listed}:
        at += DAY
        if at > NOW:
            listed.append(snapshot(1000 + (at - NOW).days, at))
        listed = [each.snapshot for each in plan_retention(listed, keep, at, UTC) if each.kept]
    assert told.forgotten_at == at, keep


def test_snapshots_made_without_it_are_not_counted() -> None:
    told = foresee(view(snapshot(4, NOW), snapshot(5, NOW + timedelta(seconds=1)), keep=Keep(last=1)), NOW + DAY, UTC)

    assert (told.holding, told.newest_at) == (1, NOW)


def test_a_repository_that_has_none_says_so() -> None:
    told = foresee(view(snapshot(5, NOW), keep=Keep(last=1)), NOW, UTC)

    assert (told.holding, told.gone_at, told.why) == (0, NOW, ("no snapshot there has it",))


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({}, "keep"),
        ({"keep": Keep(last=1), "maintenance_here": False}, "elsewhere"),
        ({"keep": Keep(yearly=75)}, "more than 40 years"),
    ],
)
def test_where_nothing_is_forgotten_by_itself_no_day_is_told(more: dict[str, Any], word: str) -> None:
    told = foresee(view(**more), NOW, UTC)

    assert (told.forgotten_at, told.gone_at, told.holding) == (None, None, 1)
    assert word in " ".join(told.why)


def test_a_snapshot_from_the_future_or_of_others_is_named() -> None:
    strange = SnapshotInfo("f" * 64, "failsafe-vps", NOW - DAY, ("by hand",))

    for odd in (strange, snapshot(2, NOW + DAY)):
        told = foresee(view(snapshot(1, NOW), odd, keep=Keep(last=1)), NOW, UTC)
        assert told.forgotten_at is None
        assert "1 of them are not failsafe's, or dated in the future" in told.why[-1]


def test_what_stops_forgetting_is_told_and_the_day_is_without_it() -> None:
    guard = Guard("mass-loss", "mass-loss of anna, raised 2026-11-20", "failsafe accept vps --reason TEXT")

    told = foresee(view(keep=Keep(last=2), frozen=(guard,)), NOW, UTC)

    assert told.forgotten_at is not None
    assert "failsafe accept vps" in " ".join(told.why)


def test_a_bucket_that_keeps_old_versions_is_named_and_a_lock_moves_the_day() -> None:
    told = foresee(view(keep=Keep(last=2), lock_days=30, versioned=True), NOW, UTC)

    assert told.gone_at == NOW + (2 + 8 + 30) * DAY
    assert "locked for 30 days" in " ".join(told.why)


def test_where_this_machine_may_not_delete_no_day_is_told() -> None:
    told = foresee(view(keep=Keep(last=2), deletes=False), NOW, UTC)

    assert (told.forgotten_at, told.gone_at) == (NOW + 2 * DAY, None)


def test_a_repository_that_does_not_answer_is_not_called_empty() -> None:
    told = foresee(view(error="no route"), NOW, UTC)

    assert (told.holding, told.to_json()["snapshots"]) == (None, None)
    assert "no route" in told.why[0]
