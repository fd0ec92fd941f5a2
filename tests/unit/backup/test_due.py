"""What is due: a restart neither skips nor repeats, one heavy duty at a time, nobody starves."""

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from failsafe.backup.due import FIRST_RETRY, Duty, LastRun, Window, next_due_at, plan_due, wake_at

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
BACKUP = Duty("backup:vps", QUARTER)


def ran(ago: timedelta, *, took: timedelta = timedelta(minutes=1), ok: bool = True, failures: int = 0) -> LastRun:
    started = NOW - ago
    return LastRun(started, started + took, started + took if ok else None, failures)


def test_a_duty_that_never_ran_is_due() -> None:
    assert plan_due([BACKUP], {}, NOW, UTC) == (BACKUP,)


def test_a_duty_is_not_repeated_before_its_interval() -> None:
    assert plan_due([BACKUP], {"backup:vps": ran(timedelta(minutes=14))}, NOW, UTC) == ()


def test_a_duty_is_due_one_interval_after_it_began() -> None:
    assert plan_due([BACKUP], {"backup:vps": ran(QUARTER)}, NOW, UTC) == (BACKUP,)


def test_many_missed_runs_collapse_into_one() -> None:
    last = {"backup:vps": ran(timedelta(days=9))}
    assert plan_due([BACKUP], last, NOW, UTC) == (BACKUP,)
    assert plan_due([BACKUP], {"backup:vps": ran(timedelta(0))}, NOW + timedelta(minutes=1), UTC) == ()


def test_a_run_that_was_killed_is_repeated_soon_but_not_in_a_tight_loop() -> None:
    killed = LastRun(started_at=NOW, ended_at=NOW - QUARTER, ok_at=NOW - QUARTER)
    assert next_due_at(BACKUP, killed, NOW, UTC) == NOW + FIRST_RETRY


def test_failures_are_repeated_at_growing_intervals_up_to_the_duty_s_own() -> None:
    waits = [
        next_due_at(BACKUP, ran(timedelta(0), took=timedelta(0), ok=False, failures=n), NOW, UTC) - NOW
        for n in (1, 2, 3, 4, 6, 9)
    ]
    assert waits == [FIRST_RETRY, FIRST_RETRY * 2, FIRST_RETRY * 4, FIRST_RETRY * 8, QUARTER, QUARTER]


def test_a_run_that_was_stopped_on_purpose_is_repeated_at_once() -> None:
    assert plan_due([BACKUP], {"backup:vps": ran(timedelta(minutes=1), ok=False, failures=0)}, NOW, UTC) == (BACKUP,)


def test_a_last_run_in_the_future_does_not_stop_the_duty() -> None:
    assert plan_due([BACKUP], {"backup:vps": ran(-timedelta(days=400))}, NOW, UTC) == (BACKUP,)


def test_only_one_heavy_duty_begins_and_it_is_the_one_that_waited_longest() -> None:
    other = Duty("backup:other", QUARTER)
    last = {"backup:vps": ran(timedelta(minutes=20)), "backup:other": ran(timedelta(minutes=40))}
    assert plan_due([BACKUP, other], last, NOW, UTC) == (other,)


def test_nothing_heavy_begins_while_something_heavy_runs_but_light_duties_do() -> None:
    doctor = Duty("doctor", timedelta(days=1), heavy=False)
    check = Duty("check:nas", timedelta(days=7), rank=1)
    assert plan_due([BACKUP, check, doctor], {}, NOW, UTC, running={"backup:vps"}) == (doctor,)


def test_a_backup_goes_before_a_check() -> None:
    check = Duty("check:nas", timedelta(days=7), rank=1)
    assert plan_due([check, BACKUP], {}, NOW, UTC) == (BACKUP,)


def test_a_window_is_local_time_and_may_pass_midnight() -> None:
    warsaw = ZoneInfo("Europe/Warsaw")
    night = Duty("check:offsite", timedelta(days=1), window=Window(time(23, 0), time(6, 0)))
    assert plan_due([night], {}, NOW, warsaw) == ()
    assert next_due_at(night, LastRun(), NOW, warsaw) == datetime(2026, 11, 22, 22, 0, tzinfo=UTC)  # 23:00 in Warsaw
    assert plan_due([night], {}, datetime(2026, 11, 22, 22, 30, tzinfo=UTC), warsaw) == (night,)


def test_the_daemon_can_sleep_until_the_next_duty() -> None:
    last = {"backup:vps": ran(timedelta(minutes=5)), "doctor": ran(timedelta(hours=1))}
    assert wake_at([BACKUP, Duty("doctor", timedelta(days=1))], last, NOW, UTC) == NOW + timedelta(minutes=10)
    assert wake_at([], {}, NOW, UTC) is None


@given(st.lists(st.integers(min_value=1, max_value=120), min_size=1, max_size=60))
def test_however_often_it_is_asked_and_restarted_a_duty_runs_once_an_interval(steps: list[int]) -> None:
    """Each step is minutes until somebody asks again, as after a restart: only the stored rows are known."""
    last: dict[str, LastRun] = {}
    now, starts = NOW, []
    for minutes in steps:
        if plan_due([BACKUP], last, now, UTC):
            starts.append(now)
            last["backup:vps"] = LastRun(now, now, now)
        now += timedelta(minutes=minutes)
    assert all(later - earlier >= QUARTER for earlier, later in pairwise(starts))
    assert next_due_at(BACKUP, last["backup:vps"], now, UTC) <= max(now, starts[-1] + QUARTER)
