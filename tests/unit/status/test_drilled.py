"""Restore drills in `status`: shown with their evidence; a late or failed one is red."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from failsafe.backup.due import Duty
from failsafe.model import Severity
from failsafe.status.as_json import to_json
from failsafe.status.build import build_status
from failsafe.status.values import Status
from failsafe.status.words import render_plain
from failsafe.web.metrics import render_metrics
from tests.unit.status.world import NOW, ROSTER, ago, duty, healthy, repository, watch

DRILL = Duty("drill:nas", timedelta(days=7))
EVIDENCE: dict[str, Any] = {
    "at": f"{ago(days=1):%Y-%m-%dT%H:%M:%SZ}",
    "result": "passed",
    "seconds": 12.34,
    "seconds_by_step": {"restic": 9.0, "rebuild": 3.0, "open": 0.34, "compare": 2.0},
    "mailboxes": 3,
    "messages": 1234,
    "bytes": 56_000_000,
    "opened_with": "Dovecot 2.3.19",
    "finding": None,
    "findings": 0,
    "tried": True,
}
FAILED = {**EVIDENCE, "result": "failed", "finding": "a / INBOX / m1: did not come back", "findings": 7}
UNTRIED = {**FAILED, "finding": "connection refused", "findings": 0, "tried": False}


def status(drill: dict[str, Any] | None = EVIDENCE, *, since_days: int = 100, passed_days: int | None = 1) -> Status:
    details: dict[str, Any] = {"added": {"bytes": 1, "since": ago(days=since_days).isoformat()}}
    if drill is not None:
        details["drill"] = drill
    rows = [watch(), duty("backup:vps", ago(minutes=5)), duty("doctor", ago(hours=5))]
    if passed_days is not None:
        rows.append(duty("drill:nas", ago(days=passed_days)))
    state = ({**repository("nas"), "last_drill_at": ago(days=1), "details": details}, repository("offsite"))
    roster = replace(ROSTER, duties=(*ROSTER.duties, DRILL))
    return build_status(roster, healthy(duty=tuple(rows), repository_state=state), NOW)


def codes(found: Status) -> list[tuple[str, str, Severity]]:
    return [(each.code, each.subject, each.severity) for each in found.findings]


def test_a_passed_drill_is_green_and_shows_its_recovery_time() -> None:
    found = status()

    assert codes(found) == []
    told = to_json(found)["repositories"][0]
    assert (told["status"], told["last_drill_at"], told["last_drill"]["seconds"]) == ("ok", EVIDENCE["at"], 12.34)
    assert told["last_drill"] == {key: value for key, value in EVIDENCE.items() if key != "tried"}
    zone = NOW.tzinfo
    assert zone is not None
    assert any(
        "passed; 1,234 message(s) of 3 mailbox(es)" in line and "back in 12.3 s" in line for line in render_plain(found, zone)
    )
    assert 'failsafe_repository_drill_recovery_seconds{repository="nas"} 12.34' in render_metrics(found)


@pytest.mark.parametrize(("drill", "state"), [(FAILED, "failed"), (UNTRIED, "ok")])
def test_a_failed_drill_is_red_and_the_repository_too_only_where_its_mail_was_tried(drill: dict[str, Any], state: str) -> None:
    found = status(drill)

    assert codes(found) == [("drill-restore", "nas", Severity.FAIL)]
    assert found.repositories[0].status == state
    assert found.findings[0].mend == "failsafe drill restore --repository nas"
    assert 'failsafe_repository_drill_ok{repository="nas"} 0.0' in render_metrics(found)


def test_a_late_drill_is_red() -> None:
    found = status(passed_days=15)

    assert codes(found) == [("overdue", "nas", Severity.FAIL)]
    assert found.repositories[0].status == "overdue"
    assert found.findings[0].mend == "failsafe drill restore --repository nas"


def test_a_new_repository_is_not_red_before_its_first_drill_is_late() -> None:
    assert codes(status(None, since_days=13, passed_days=None)) == []
    assert codes(status(None, since_days=15, passed_days=None)) == [("overdue", "nas", Severity.FAIL)]
