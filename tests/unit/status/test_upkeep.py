"""Retention and damage in the status: never silent, never louder than it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from failsafe.backup.coverage import Coverage
from failsafe.backup.due import Duty
from failsafe.config.load import parse_config
from failsafe.model import Severity
from failsafe.status.build import build_status
from failsafe.status.roster import duties_of
from failsafe.status.values import Status
from tests.unit.status.world import NOW, ROSTER, ago, healthy, repository, state

OURS = replace(ROSTER, duties=(*ROSTER.duties, Duty("check:nas", timedelta(days=7)), Duty("forget:nas", timedelta(days=1))))
DUTIES = ({"name": "guards:vps", "started_at": None, "ended_at": NOW, "ok_at": None, "result": "", "details": {"guards": []}},)


def told(details: dict[str, Any], **tables: Any) -> Status:
    rows = {**repository("nas"), "details": details}
    return build_status(OURS, healthy(repository_state=(rows, repository("offsite")), **tables), NOW)


def frozen(days: float, code: str = "domain-state") -> dict[str, Any]:
    guard = {"code": code, "text": "example.org is failed-over, not normal", "mend": "failsafe failback example.org"}
    kept = {"at": ago(hours=3).isoformat(), "forgotten": 0, "kept": 41, "told_at": None}
    return {"retention": {**kept, "frozen": [guard], "frozen_since": ago(days=days).isoformat()}}


@pytest.mark.parametrize(("days", "severity"), [(1, Severity.WARN), (8, Severity.FAIL)])
def test_a_freeze_is_shown_with_the_way_to_lift_it_and_turns_red_after_a_week(days: float, severity: Severity) -> None:
    status = told(frozen(days), domain_state=(state("failed-over", serving="secondary"),))

    (found,) = [each for each in status.findings if each.code == "retention"]
    assert (found.severity, found.subject, found.mend) == (severity, "nas", "failsafe failback example.org")
    assert "frozen" in str(status.repositories[0].retention)


def test_a_freeze_whose_cause_is_gone_is_not_shown_until_the_next_run() -> None:
    status = told(frozen(8))

    assert not [each for each in status.findings if each.code == "retention"]


def test_a_freeze_that_only_the_repository_can_tell_stays_until_it_is_asked_again() -> None:
    assert "retention" in {each.code for each in told(frozen(1, "repository-unknown")).findings}


def test_damage_makes_a_repository_bad_whatever_else_is_well() -> None:
    coverage = Coverage(12).note(1, ago(days=3), 0, ok=False, packs=None)
    status = told({"check": coverage.to_details()})

    found = [(each.code, each.severity, each.subject) for each in status.findings if each.code != "overdue"]
    assert found == [("repository-check", Severity.FAIL, "nas")]
    assert [each.status for each in status.repositories] == ["failed", "ok"]


def config(keep: str) -> set[str]:
    text = f"""
[controller]
id = "nas"
[mail_server.vps]
layout = "maildir"
path = "/mail"
[repository.nas]
url = "/nas"
password_file = "/password"
window = "01:00-06:00"
{keep}
"""
    return {duty.name for duty in duties_of(parse_config(text.encode(), "test")) if duty.name.startswith(("forget", "prune"))}


def test_forget_and_prune_are_duties_only_where_something_may_go_and_it_is_ours_to_do() -> None:
    assert config('keep = { within = "7d" }') == {"forget:nas", "prune:nas"}
    assert config("keep = { }") == set()
    assert config("") == set()
    assert config('keep = { within = "7d" }\nmaintenance = "elsewhere"') == set()
