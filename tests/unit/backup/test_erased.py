"""Tombstones: whom they cover, how three places that know some of them become one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from failsafe.backup.erased import Erased, Tombstone, belongs_to, erased_of_rows
from failsafe.backup.sweeping import Partly, plan_sweep

AT = datetime(2026, 11, 20, 8, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("name", "mailbox", "covered"),
    [
        ("ann@example.org", "ann@example.org", True),
        ("Ann@Example.org", "ann@example.ORG", True),
        ("ann@example.org", "joann@example.org", False),
        ("example.org", "ann@example.org", True),
        ("example.org", "example.org", True),
        ("example.org", "ann@sub.example.org", False),
        ("example.org", "ann@notexample.org", False),
    ],
)
def test_a_tombstone_covers_its_mailbox_or_the_mailboxes_of_its_domain(name: str, mailbox: str, covered: bool) -> None:
    assert Erased.of([Tombstone(name, AT)]).covers(mailbox) is covered
    assert belongs_to(name)(mailbox) is covered


def test_the_later_word_counts_whichever_place_has_it() -> None:
    erased, readmitted = Tombstone("a@b", AT), Tombstone("A@b", AT + HOUR, stands=False)

    for joined in (Erased.of([erased]).joined(Erased.of([readmitted])), Erased.of([readmitted]).joined(Erased.of([erased]))):
        assert not joined.covers("a@b")
        assert joined.note() == {}
    again = Erased.of([erased, readmitted, Tombstone("a@b", AT + 2 * HOUR)])
    assert again.covers("a@b")


def test_rows_of_the_database_come_back_and_strange_ones_are_passed_over() -> None:
    erased = Erased.of([Tombstone("a@b", AT), Tombstone("\udcff@b", AT, stands=False)])

    assert erased_of_rows(json.loads(json.dumps(erased.rows()))) == erased
    assert erased_of_rows([["a@b"], "x", ["a@b", "no date", True]]) == Erased()
    assert erased_of_rows(None) == Erased()


def test_a_sweep_takes_the_oldest_first_and_never_more_than_there_is_room_for() -> None:
    known = [Partly("b", 10, AT + DAY), Partly("a", 10, AT), Partly("c", 10, AT + 9 * DAY)]

    assert plan_sweep(known, AT + 9 * DAY, 10 * DAY, 100) == ("a", "b")
    assert plan_sweep(known, AT + 9 * DAY, 10 * DAY, 15) == ("a",)
    assert plan_sweep(known, AT + 9 * DAY, 10 * DAY, 1) == ("a",), "at least one"
    assert plan_sweep(known, AT + 7 * DAY, 10 * DAY, 100) == ()
    assert plan_sweep(known, AT, HOUR, 100) == ("a",), "a short time means at once"
