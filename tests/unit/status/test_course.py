"""A pull that is under way: how far it is, when it ends, and that a dead one is not shown as alive."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from failsafe.model import Severity
from failsafe.status.as_json import to_json
from failsafe.status.build import build_status
from failsafe.status.course import STALLED, describe_work, read_pull, read_work
from failsafe.status.values import Status
from failsafe.status.words import answer_all, render_plain
from failsafe.store.glance import Glance
from tests.unit.status.world import NOW, ROSTER, ago, duty, healthy, run, watch

GIGA = 10**9
WARSAW = ZoneInfo("Europe/Warsaw")


def pulling(moved_at: datetime | None = None, started_at: datetime | None = None, **details: Any) -> dict[str, Any]:
    shown = {
        "done": 86 * GIGA,
        "total": 200 * GIGA,
        "rate": 1.0e6,
        "moved_at": (moved_at or ago(seconds=20)).isoformat(),
        **details,
    }
    row = duty("backup:vps", ago(days=1))
    return {**row, "started_at": started_at or ago(hours=20), "ended_at": None, "ok_at": None, "result": "", "details": shown}


def first_pull(row: dict[str, Any], **changed: Any) -> Status:
    rows = (watch(), row, duty("doctor", ago(hours=5)))
    values: dict[str, Any] = {"duty": rows, "backup_run": (), "good_run": (), **changed}
    return build_status(ROSTER, healthy(**values), NOW)


def faults(status: Status) -> set[str]:
    return {finding.code for finding in status.findings if finding.severity is Severity.FAIL}


def test_percent_rate_and_end_are_in_the_json() -> None:
    (server,) = to_json(first_pull(pulling()))["servers"]
    assert server["status"] == "pulling"
    assert {key: server["pull"][key] for key in ("percent", "bytes_done", "bytes_total", "rate_bytes_per_second")} == {
        "percent": 43.0,
        "bytes_done": 86 * GIGA,
        "bytes_total": 200 * GIGA,
        "rate_bytes_per_second": 1.0e6,
    }
    assert server["pull"]["expected_end_at"] == f"{ago(seconds=20) + timedelta(seconds=114_000):%Y-%m-%dT%H:%M:%SZ}"


def test_a_first_pull_on_course_is_not_red() -> None:
    status = first_pull(pulling())
    assert faults(status) == set()
    answers = answer_all(status, WARSAW)
    assert answers.mail_safe_mood == "look"
    assert "43 % of 200.0 GB is here, 1.0 MB/s; it ends about 2026-11-24 01:39 +01:00" in answers.mail_safe
    assert "  pull: 43 %" in "\n".join(render_plain(status, WARSAW))


def test_a_first_pull_on_course_asks_for_nothing_although_repositories_are_empty() -> None:
    assert answer_all(first_pull(pulling(), repository_state=()), WARSAW).must_do == ("nothing",)


def test_a_part_that_was_stored_as_incomplete_keeps_it_on_course() -> None:
    assert faults(first_pull(pulling(), backup_run=(run("incomplete"),))) == set()


def test_a_pull_that_stalls_is_red_and_says_for_how_long() -> None:
    status = first_pull(pulling(moved_at=NOW - STALLED - timedelta(seconds=1)))
    assert "recovery-point" in faults(status)
    assert any("nothing has come for 10 min" in finding.text for finding in status.findings)
    assert to_json(status)["servers"][0]["pull"]["expected_end_at"] is None


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(pulling(moved_at=ago(hours=21)), id="a note of the run before"),
        pytest.param({**pulling(), "ended_at": ago(seconds=1)}, id="it has ended"),
        pytest.param({**pulling(), "details": {}}, id="it has left no note"),
    ],
)
def test_what_is_not_under_way_is_not_shown(row: dict[str, Any]) -> None:
    assert read_pull(row, NOW) is None


def test_a_long_pull_after_good_backups_is_shown_and_hides_nothing() -> None:
    glance = healthy(
        duty=(watch(), pulling(), duty("doctor", ago(hours=5))), backup_run=(run("failed"),), good_run=(run(at=ago(hours=20)),)
    )
    status = build_status(ROSTER, glance, NOW)
    assert status.servers[0].status == "failed"
    assert status.servers[0].pull is not None
    assert "recovery-point" in faults(status)


def test_nothing_known_is_no_pull() -> None:
    assert build_status(ROSTER, Glance(), NOW).servers[0].pull is None
    assert "pull" not in to_json(build_status(ROSTER, healthy(), NOW))["servers"][0]


def working(**details: Any) -> dict[str, Any]:
    row = duty("prune:nas", ago(days=8))
    return {**row, "started_at": ago(hours=2), "details": details}


def test_a_prune_that_is_under_way_is_told_with_what_it_counts() -> None:
    row = working(done=3, total=5, unit="packs repacked", moved_at=ago(minutes=1).isoformat())

    work = read_work({"prune:nas": row}, "nas", NOW)

    assert work is not None
    assert describe_work(work, NOW, WARSAW).endswith(": 3 of 5 packs repacked")
    assert describe_work(work, NOW, WARSAW).startswith("prune runs since ")


def test_a_prune_that_was_killed_is_not_called_running() -> None:
    work = read_work({"prune:nas": working()}, "nas", NOW)

    assert work is not None
    assert "has not ended; nothing was heard of it for 2 h" in describe_work(work, NOW, WARSAW)


def test_a_prune_that_has_ended_is_not_told_and_notes_of_an_earlier_one_do_not_count() -> None:
    ended = {**working(), "ended_at": ago(minutes=5)}
    fresh = {**working(done=5, total=5, unit="files deleted", moved_at=ago(hours=9).isoformat()), "started_at": ago(minutes=2)}

    assert read_work({"prune:nas": ended}, "nas", NOW) is None
    work = read_work({"prune:nas": fresh}, "nas", NOW)
    assert work is not None
    assert (work.total, work.moving) == (None, True)
