"""Notices: one order, one subject line, local time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from failsafe.model import Notice, Severity
from failsafe.render import BODY_LENGTH, SUBJECT_LENGTH, render_notice, spoken_age, spoken_instant

WARSAW = ZoneInfo("Europe/Warsaw")
NOTICE = Notice(
    subject="mail of example.org goes to the secondary",
    losing_mail="No: the secondary takes it.",
    mail_goes="mail.protonmail.ch",
    must_do="nothing",
    since=datetime(2026, 11, 22, 17, 0, tzinfo=UTC),
    thread="example.org/7",
    severity=Severity.FAIL,
)


def test_the_body_answers_the_four_questions_in_order() -> None:
    _subject, body = render_notice(NOTICE, "nas", WARSAW)
    places = [
        body.index(text)
        for text in ("No: the secondary takes it.", "mail.protonmail.ch", "What you must do: nothing", "Since: 2026-11-22 18:00")
    ]
    assert places == sorted(places)


def test_the_time_is_local_with_its_offset() -> None:
    assert spoken_instant(datetime(2026, 7, 1, 17, 0, tzinfo=UTC), WARSAW) == "2026-07-01 19:00 +02:00"


def test_a_subject_is_one_short_line_whatever_a_server_said() -> None:
    hostile = Notice("x\r\nBcc: everyone@example.org " + "y" * 500, "", "", "", None, "t")
    subject, body = render_notice(hostile, "nas", UTC)
    assert "\n" not in subject
    assert "\r" not in subject
    assert len(subject) == SUBJECT_LENGTH
    assert "Since: -" in body


def test_a_long_body_is_cut() -> None:
    long = Notice("s", "", "", "", None, "t", details="z" * 100_000)
    assert len(render_notice(long, "nas", UTC)[1]) == BODY_LENGTH


def test_ages_have_two_parts_at_most() -> None:
    given = [
        timedelta(seconds=5),
        timedelta(minutes=5),
        timedelta(hours=3, minutes=10),
        timedelta(hours=4),
        timedelta(days=1),
        timedelta(days=9),
    ]
    assert [spoken_age(age) for age in given] == ["5 s", "5 min", "3 h 10 min", "4 h", "1 day", "9 days"]


def test_a_notice_that_came_of_an_event_names_its_runbook() -> None:
    assert "--runbook" not in render_notice(NOTICE, "nas", UTC)[1]
    assert "failsafe events --runbook failover.done" in render_notice(replace(NOTICE, event="failover.done"), "nas", UTC)[1]
