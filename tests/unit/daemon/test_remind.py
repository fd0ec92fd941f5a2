"""Reminders: at each step once, missed ones collapse, then once a day."""

from datetime import UTC, datetime, timedelta

from failsafe.daemon.remind import reminder_due

BEGAN = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)


def reminders(minutes: int, *, asleep: range = range(0)) -> list[float]:
    """Asked every minute, except while asleep; gives the hours at which a person was reminded."""
    last, told = None, []
    for minute in range(minutes):
        now = BEGAN + timedelta(minutes=minute)
        if minute not in asleep and reminder_due(BEGAN, last, now):
            last = now
            told.append(minute / 60)
    return told


def test_a_person_is_reminded_before_senders_give_up_and_then_daily() -> None:
    assert reminders(70 * 60) == [1, 6, 12, 20, 44, 68]


def test_reminders_missed_while_switched_off_are_one() -> None:
    assert reminders(30 * 60, asleep=range(30, 13 * 60)) == [13, 20]


def test_a_reminder_of_an_older_incident_does_not_count() -> None:
    assert reminder_due(BEGAN, BEGAN - timedelta(minutes=5), BEGAN + timedelta(hours=1))


def test_a_reminder_by_a_clock_a_year_ahead_silences_no_incident_after_it() -> None:
    ahead = BEGAN + timedelta(days=365)
    assert reminder_due(BEGAN, ahead, BEGAN + timedelta(hours=1))
    assert not reminder_due(BEGAN, ahead, BEGAN + timedelta(minutes=59))
