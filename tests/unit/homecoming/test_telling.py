"""One notice for an outage whose mail came home, and for what waits: not one for each run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from failsafe.events import NAMES
from failsafe.homecoming.ledger import Counts
from failsafe.homecoming.plan import Waits
from failsafe.homecoming.telling import Run, Told, tell
from failsafe.model import Severity

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
DRAINS = NOW + timedelta(days=3)
FULL = Waits("ann@example.org", "INBOX", "1@x", "Quota exceeded")


def run(home: int = 0, waiting: int = 0, *, already: int = 0, at: datetime = NOW, drains: datetime | None = DRAINS) -> Run:
    return Run("example.org", at, home, Counts(home, already, waiting), [FULL] * waiting, NOW - timedelta(hours=5), drains)


def test_mail_that_came_home_after_an_outage_is_told_once() -> None:
    told, (event,) = tell(run(home=12, already=3), Told())

    assert event.notice is not None
    assert event.text == "12 message(s) came home, 3 were already there, 0 wait"
    assert (event.notice.must_do, event.notice.severity) == ("nothing", Severity.OK)
    _, (later,) = tell(run(home=2), told)
    assert (later.name, later.notice) == ("homecoming.done", None)


def test_a_run_that_brings_nothing_is_no_event() -> None:
    assert tell(run(drains=None), Told())[1] == ()


def test_mail_of_another_outage_is_told_again() -> None:
    told, _ = tell(run(home=12), Told())

    _, (event,) = tell(run(home=1, drains=DRAINS + timedelta(days=9)), told)

    assert event.notice is not None


def test_what_waits_is_told_with_its_reason_and_then_once_a_day() -> None:
    told, (event,) = tell(run(waiting=4), Told())

    assert event.notice is not None
    assert "4: Quota exceeded" in event.notice.details
    assert event.notice.must_do == "see why they wait: failsafe homecoming example.org"
    told, events = tell(run(waiting=4, at=NOW + timedelta(hours=23)), told)
    assert events == ()
    told, (event,) = tell(run(waiting=4, at=NOW + timedelta(hours=24)), told)
    assert event.name == "homecoming.waiting"
    assert event.notice is not None


def test_more_that_waits_is_told_after_some_hours() -> None:
    told, _ = tell(run(waiting=4), Told())

    assert tell(run(waiting=5, at=NOW + timedelta(hours=1)), told)[1] == ()
    assert tell(run(waiting=5, at=NOW + timedelta(hours=6)), told)[1] != ()


def test_that_nothing_waits_any_more_is_told_once() -> None:
    told, _ = tell(run(waiting=4), Told())

    told, (event,) = tell(run(home=4), told)

    assert event.notice is not None
    assert event.notice.severity is Severity.OK
    assert tell(run(), told)[1] == ()


def test_what_was_told_is_remembered_as_it_was() -> None:
    told, _ = tell(run(home=2, waiting=4, already=1), Told())

    assert Told.of(told.to_json()) == told
    assert Told.of({}) == Told()


def test_every_event_has_a_name_that_is_documented() -> None:
    assert {"homecoming.done", "homecoming.waiting"} <= set(NAMES)
