"""Overdue duties are red; the heartbeat stops with the first of them."""

from datetime import UTC, datetime, time, timedelta

from failsafe.backup.due import Duty, LastRun, Window
from failsafe.backup.freshness import ALLOWANCE, Overdue, deadline_at, judge_freshness, may_send_heartbeat

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BACKUP = Duty("backup:vps", timedelta(minutes=15))
CHECK = Duty("check:nas", timedelta(days=7))
LONG_AGO = NOW - timedelta(days=365)


def good(ago: timedelta) -> LastRun:
    return LastRun(NOW - ago, NOW - ago, NOW - ago)


def test_one_missed_interval_is_not_yet_late() -> None:
    assert judge_freshness([BACKUP], {"backup:vps": good(timedelta(minutes=29))}, NOW, LONG_AGO) == ()


def test_two_missed_intervals_and_the_allowance_are_late() -> None:
    ok_at = NOW - timedelta(minutes=61)
    assert judge_freshness([BACKUP], {"backup:vps": LastRun(ok_at, ok_at, ok_at)}, NOW, LONG_AGO) == (
        Overdue("backup:vps", ok_at, ok_at + timedelta(minutes=30) + ALLOWANCE),
    )


def test_runs_that_fail_every_time_do_not_count_as_fresh() -> None:
    failing = LastRun(NOW, NOW, NOW - timedelta(days=2), failures=50)
    assert [late.name for late in judge_freshness([BACKUP], {"backup:vps": failing}, NOW, LONG_AGO)] == ["backup:vps"]


def test_one_late_duty_is_told_however_fresh_the_others_are() -> None:
    last = {"backup:vps": good(timedelta(0)), "check:nas": good(timedelta(days=30))}
    assert [late.name for late in judge_freshness([BACKUP, CHECK], last, NOW, LONG_AGO)] == ["check:nas"]


def test_a_fresh_installation_is_not_red_but_a_backup_that_never_worked_turns_red() -> None:
    assert judge_freshness([BACKUP], {}, NOW, NOW - timedelta(minutes=5)) == ()
    assert judge_freshness([BACKUP], {}, NOW, LONG_AGO)[0].ok_at is None


def test_a_success_in_the_future_is_no_success() -> None:
    assert len(judge_freshness([BACKUP], {"backup:vps": good(-timedelta(days=40))}, NOW, LONG_AGO)) == 1


def test_no_heartbeat_before_every_duty_has_gone_well_once() -> None:
    assert not may_send_heartbeat([BACKUP, CHECK], {"backup:vps": good(timedelta(0))}, NOW, NOW)


def test_the_heartbeat_is_sent_while_all_is_fresh_and_stops_with_the_first_late_duty() -> None:
    last = {"backup:vps": good(timedelta(0)), "check:nas": good(timedelta(days=1))}
    assert may_send_heartbeat([BACKUP, CHECK], last, NOW, LONG_AGO)
    assert not may_send_heartbeat([BACKUP, CHECK], last, NOW + timedelta(hours=2), LONG_AGO)


def test_a_window_gives_a_day_more() -> None:
    windowed = Duty("check:offsite", timedelta(days=7), window=Window(time(1), time(6)))
    assert deadline_at(windowed, NOW) - deadline_at(CHECK, NOW) == timedelta(days=1)


def test_a_long_run_that_gets_on_is_not_late_and_one_that_stands_still_is() -> None:
    began = NOW - timedelta(days=3)
    duty = Duty("snapshot:offsite", timedelta(hours=6))

    def late(moved_at: datetime | None) -> bool:
        run = LastRun(started_at=began, moved_at=moved_at)
        return bool(judge_freshness([duty], {duty.name: run}, NOW, began))

    assert not late(NOW - timedelta(minutes=10))
    assert late(NOW - timedelta(hours=2))
    assert late(NOW + timedelta(hours=2)), "the clock went back"
    assert late(None)


def test_what_could_be_done_only_later_is_late_from_then_on() -> None:
    drill = Duty("drill:nas", timedelta(days=7))

    def late(since: datetime | None) -> bool:
        return bool(judge_freshness([drill], {}, NOW, LONG_AGO, {"drill:nas": since}))

    assert not late(None)
    assert not late(NOW - timedelta(days=14))
    assert late(NOW - timedelta(days=15))


def test_the_heartbeat_does_not_wait_for_a_first_time_that_is_not_late() -> None:
    drill = Duty("drill:nas", timedelta(days=7))
    last = {"backup:vps": good(timedelta(0))}

    assert may_send_heartbeat([BACKUP, drill], last, NOW, LONG_AGO, {"drill:nas": NOW - timedelta(days=1)})
    assert not may_send_heartbeat([BACKUP, drill], last, NOW, LONG_AGO, {"drill:nas": NOW - timedelta(days=15)})
