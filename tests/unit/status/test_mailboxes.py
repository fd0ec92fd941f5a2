"""Up to when each mailbox is proven safe: shown one by one, so that a single broken one hides behind no other."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from failsafe.status.as_json import to_json
from failsafe.status.build import build_status
from failsafe.status.words import render_plain
from failsafe.store.glance import Glance
from tests.unit.status.world import NOW, ROSTER, ago, duty, healthy, watch

ANNA, INFO, NEW = "anna@example.org", "info@example.org", "new@example.org"


def glance(**mailboxes: list[datetime | None]) -> Glance:
    rows: dict[str, Any] = {f"{name}@example.org": [at and at.isoformat() for at in pair] for name, pair in mailboxes.items()}
    kept = {**duty("mailboxes:vps", ago(minutes=5)), "details": {"generation": 7, "mailboxes": rows}}
    return healthy(duty=(watch(), duty("backup:vps", ago(minutes=5)), duty("doctor", ago(hours=5)), kept))


def lines(*, every: bool, **mailboxes: list[datetime | None]) -> list[str]:
    shown = render_plain(build_status(ROSTER, glance(**mailboxes), NOW), UTC, mailboxes=every)
    return [line.strip() for line in shown if "proven safe" in line]


def test_the_mailbox_that_is_behind_most_is_shown_and_how_many_there_are() -> None:
    fresh, old = ago(minutes=5), ago(minutes=43)

    assert lines(every=False, anna=[fresh, fresh], info=[old, old]) == [
        f"{INFO} proven safe up to 43 min ago (the oldest of 2 mailboxes)"
    ]


def test_one_that_was_never_proven_safe_comes_first() -> None:
    fresh = ago(minutes=5)

    assert [line.split()[:3] for line in lines(every=True, anna=[fresh, fresh], new=[None, None])] == [
        [NEW, "never", "proven"],
        [ANNA, "proven", "safe"],
    ]


def test_what_is_complete_and_not_in_a_repository_yet_is_not_called_safe() -> None:
    (line,) = lines(every=True, anna=[ago(minutes=1), ago(hours=2)])

    assert line == f"{ANNA} proven safe up to 2 h ago; complete up to 1 min ago, not in a repository yet"


def test_json_tells_of_every_mailbox() -> None:
    told = to_json(build_status(ROSTER, glance(anna=[ago(minutes=5), None]), NOW))

    assert told["servers"][0]["mailboxes"] == [{"mailbox": ANNA, "proved_at": "2026-11-22T16:55:00Z", "safe_at": None}]
