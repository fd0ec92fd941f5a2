"""What is forgotten and what is not. The rules themselves are compared with restic's in tests/contract/test_retention_rules.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from failsafe.backup.retention import RULES, Decision, Keep, Pin, plan_retention
from failsafe.model import Guard, SnapshotInfo

NOW = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)
WARSAW = ZoneInfo("Europe/Warsaw")
USUAL = Keep(within="7d", daily=30, weekly=12, monthly=24)


def snapshot(number: int, at: datetime, result: str = "ok", state: str | None = None) -> SnapshotInfo:
    tags = (f"generation:{number}", f"state:{number if state is None else state}", f"result:{result}", "messages:1")
    return SnapshotInfo(f"{number:064x}", "failsafe-vps", at, tags)


def back(number: int, *, result: str = "ok", **parts: float) -> SnapshotInfo:
    return snapshot(number, NOW - timedelta(**parts), result)


def told(decisions: tuple[Decision, ...]) -> dict[int, tuple[bool, tuple[str, ...]]]:
    return {int(each.snapshot.id, 16): (each.kept, each.reasons) for each in decisions}


def kept(decisions: tuple[Decision, ...]) -> set[int]:
    return {int(each.snapshot.id, 16) for each in decisions if each.kept}


# -- a table that a person can read --------------------------------------------------------------------------------------


def test_every_snapshot_has_its_reasons() -> None:
    snapshots = [
        back(1, days=9, hours=2),
        back(2, days=9, hours=1),
        back(3, days=8, result="incomplete"),
        back(4, days=8, hours=1),
        back(5, days=3, result="incomplete"),
        back(6, days=1),
        SnapshotInfo("7" * 64, "failsafe-vps", NOW - timedelta(days=900), ("weekly",)),
        back(8, days=-4),
        back(9, hours=1, result="incomplete"),
    ]

    assert told(plan_retention(snapshots, Keep(within="2d", daily=3), NOW, WARSAW)) == {
        int("7" * 64, 16): (True, ("not one of failsafe's",)),
        1: (False, ("not within 2d", "daily 2026-11-11 is 00000000, which is newer")),
        2: (True, ("daily 2026-11-11 (3 of 3)",)),
        4: (True, ("daily 2026-11-12 (2 of 3)",)),
        3: (False, ("not within 2d", "daily 2026-11-12 is 00000000, which is complete")),
        5: (True, ("daily 2026-11-17 (3 of 3), incomplete, and no complete one is there",)),
        6: (True, ("newest complete one", "within 2d", "daily 2026-11-19 (1 of 3)")),
        9: (True, ("newest", "within 2d", "daily 2026-11-20 (1 of 3), incomplete, and no complete one is there")),
        8: (True, ("dated in the future: a clock was wrong, so it is not counted",)),
    }


def test_days_are_those_of_the_controller() -> None:
    """23:30 and 00:30 in Warsaw are one day in UTC."""
    late, early = datetime(2026, 11, 18, 22, 30, tzinfo=UTC), datetime(2026, 11, 18, 23, 30, tzinfo=UTC)
    snapshots = [snapshot(1, late), snapshot(2, early)]

    assert kept(plan_retention(snapshots, Keep(daily=2), NOW, WARSAW)) == {1, 2}
    assert told(plan_retention([*snapshots, back(3, hours=1)], Keep(daily=2), NOW, UTC))[1] == (
        False,
        ("daily 2026-11-18 is 00000000, which is newer",),
    )


def test_without_keep_nothing_is_ever_forgotten() -> None:
    decisions = plan_retention([back(1, days=4000), back(2, days=1)], Keep(), NOW, UTC)

    assert kept(decisions) == {1, 2}
    assert "keep is not set" in decisions[0].reasons[0]


def test_a_year_back_from_a_leap_day_is_the_first_of_march() -> None:
    leap = datetime(2024, 2, 29, 12, tzinfo=UTC)
    snapshots = [
        snapshot(1, datetime(2023, 3, 1, 11, tzinfo=UTC)),
        snapshot(2, datetime(2023, 3, 1, 13, tzinfo=UTC)),
        snapshot(3, leap),
    ]

    assert kept(plan_retention(snapshots, Keep(within="1y"), NOW, UTC)) == {2, 3}
    assert kept(plan_retention(snapshots, Keep(within="9999y"), NOW, UTC)) == {1, 2, 3}


# -- what is never forgotten ---------------------------------------------------------------------------------------------


def test_the_newest_complete_one_stays_behind_any_number_of_incomplete_ones() -> None:
    snapshots = [back(1, days=400), *(back(n, days=100 - n, result="incomplete") for n in range(2, 99))]

    assert {1, 98} <= kept(plan_retention(snapshots, Keep(last=1), NOW, UTC))


def test_the_last_complete_one_from_before_a_guard_is_pinned() -> None:
    snapshots = [back(1, days=50), back(2, days=40), back(3, days=39, result="incomplete"), back(4, days=20), back(5, hours=1)]
    guard = Pin(NOW - timedelta(days=30), "mass-loss of anna@example.org, raised 2026-10-21")

    decisions = {int(each.snapshot.id, 16): each for each in plan_retention(snapshots, Keep(last=1), NOW, UTC, pins=(guard,))}

    assert decisions[2].pinned == guard.text
    assert decisions[2].reasons == (f"pinned: {guard.text}",)
    assert [number for number, each in decisions.items() if each.pinned] == [2]
    assert not decisions[1].kept


def test_a_snapshot_of_the_second_in_which_the_guard_was_raised_is_not_from_before_it() -> None:
    """restic keeps whole seconds: the guarded pull itself would look older than its guard."""
    raised = NOW - timedelta(days=1) + timedelta(microseconds=700_000)
    decisions = plan_retention([back(1, days=2), back(2, days=1), back(3)], Keep(last=1), NOW, UTC, pins=(Pin(raised, "x"),))

    assert [int(each.snapshot.id, 16) for each in decisions if each.pinned] == [1]


def test_while_frozen_nothing_goes_and_every_line_says_why() -> None:
    freeze = Guard("domain-state", "example.org is failed-over", "failsafe failback example.org")
    snapshots = [back(n, days=n * 40) for n in range(20)]

    decisions = plan_retention(snapshots, Keep(last=1), NOW, UTC, freezes=(freeze,))

    assert all(each.kept and each.reasons[0] == "frozen: example.org is failed-over" for each in decisions)


def test_a_snapshot_from_the_future_takes_nobody_s_place() -> None:
    """Ten of them would otherwise push out every good one."""
    good = [back(n, days=n) for n in range(1, 4)]
    ahead = [back(n, days=-n) for n in range(10, 20)]

    decisions = plan_retention([*good, *ahead], Keep(within="2d", daily=3), NOW, UTC)

    assert kept(decisions) == {*range(1, 4), *range(10, 20)}


def test_two_snapshots_of_one_state_stay_or_go_together() -> None:
    """One of them may have been found wanting, and made again: the tags do not tell which."""
    first, again = snapshot(1, NOW - timedelta(days=3), state="a"), snapshot(1, NOW - timedelta(days=3), state="a")
    again = replace(again, id="f" * 64)
    old = [replace(first, id="a" * 64, at=NOW - timedelta(days=90)), replace(first, id="b" * 64, at=NOW - timedelta(days=90))]
    old = [replace(each, tags=("generation:9", "state:b", "result:ok")) for each in old]

    decisions = {each.snapshot.id: each for each in plan_retention([first, again, *old], Keep(last=1), NOW, UTC)}

    assert decisions[first.id].kept
    assert decisions[again.id].kept
    assert "of the same state as ffffffff" in decisions[first.id].reasons
    assert not decisions["a" * 64].kept
    assert not decisions["b" * 64].kept


# -- for any snapshots and any rules -------------------------------------------------------------------------------------

counts = st.integers(0, 6)
keeps = st.builds(
    Keep,
    within=st.sampled_from(["", "5h", "3d", "1y"]),
    last=counts,
    hourly=counts,
    daily=counts,
    weekly=counts,
    monthly=counts,
    yearly=counts,
)
made = st.lists(
    st.tuples(st.integers(-3_000, 20_000), st.sampled_from(["ok", "ok", "incomplete", "", "strange"]), st.integers(0, 30)),
    max_size=40,
).map(
    lambda rows: [
        snapshot(number, NOW - timedelta(hours=hours / 3), result, str(state))
        for number, (hours, result, state) in enumerate(rows)
    ]
)


@given(made, keeps)
@settings(max_examples=150, deadline=None)
def test_something_always_stays_and_the_newest_complete_one_among_it(snapshots: list[SnapshotInfo], keep: Keep) -> None:
    decisions = plan_retention(snapshots, keep, NOW, WARSAW)

    assert sorted(each.snapshot.id for each in decisions) == sorted(info.id for info in snapshots)
    assert all(each.reasons for each in decisions)
    going = {each.snapshot.id for each in decisions if not each.kept}
    past = [info for info in snapshots if info.at <= NOW]
    complete = [info for info in past if "result:ok" in info.tags]
    known = [info for info in past if "result:ok" in info.tags or "result:incomplete" in info.tags]
    assert going <= {info.id for info in known}
    for group in (complete, known):
        newest = [info for info in group if info.at == max(each.at for each in group)]
        assert not newest or any(info.id not in going for info in newest)
    assert not any(info.at > NOW and info.id in going for info in snapshots)


@given(made, keeps, st.sampled_from(RULES), st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_more_keep_never_forgets_more(snapshots: list[SnapshotInfo], keep: Keep, rule: str, more: int) -> None:
    if keep.is_empty:
        keep = Keep(last=1)
    wider = replace(keep, **{rule: getattr(keep, rule) + more}, within="1y" if keep.within else "")

    assert kept(plan_retention(snapshots, keep, NOW, WARSAW)) <= kept(plan_retention(snapshots, wider, NOW, WARSAW))


@given(made, keeps)
@settings(max_examples=60, deadline=None)
def test_what_was_kept_is_kept_when_asked_again(snapshots: list[SnapshotInfo], keep: Keep) -> None:
    """A second run right after the first forgets nothing more: a plan is not a slope."""
    first = [each.snapshot for each in plan_retention(snapshots, keep, NOW, WARSAW) if each.kept]

    assert all(each.kept for each in plan_retention(first, keep, NOW, WARSAW))
