"""What stops forgetting: every guard, every domain that is not at peace, and everything that is not known."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from failsafe.backup.freeze import RepositoryView, ServerView, judge_repository, judge_server, pins_of
from failsafe.backup.guards import CODES, Standing
from failsafe.model import DomainState

AT = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)


@pytest.mark.parametrize("code", CODES)
def test_every_guard_of_a_backup_stops_it_and_names_the_command_that_ends_it(code: str) -> None:
    (guard,) = judge_server(ServerView("vps", (Standing("anna@example.org", code, "said so", AT),)))

    assert (guard.code, guard.text) == (code, f"{code} of anna@example.org, raised 2026-11-20")
    assert "failsafe accept vps" in guard.mend


def test_many_guards_are_not_told_one_by_one() -> None:
    found = judge_server(ServerView("vps", tuple(Standing(f"u{n}@example.org", "mass-loss", "", AT) for n in range(9))))

    assert [each.text for each in found][3:] == ["6 more guards stand for vps"]


@pytest.mark.parametrize("state", list(DomainState))
def test_every_state_but_normal_stops_it(state: DomainState) -> None:
    found = judge_server(ServerView("vps", domains={"example.org": state}))

    assert [each.code for each in found] == ([] if state is DomainState.NORMAL else ["domain-state"])
    assert all(str(state) in each.text and each.mend for each in found)


def test_what_cannot_be_read_stops_it() -> None:
    found = judge_server(ServerView("vps", None, "the disk is gone", {"example.org": None}))

    assert [each.code for each in found] == ["unknown", "unknown"]
    assert "the disk is gone" in found[0].text
    assert all(each.mend for each in found)


def test_a_repository_that_is_damaged_unknown_or_somebody_else_s_to_keep_is_left_alone() -> None:
    assert judge_repository(RepositoryView("nas", is_known=True)) == ()
    assert [each.code for each in judge_repository(RepositoryView("nas", is_known=False))] == ["repository-unknown"]
    (damaged,) = judge_repository(RepositoryView("nas", is_known=True, damaged_at=AT))
    assert "verify --repository nas --whole" in damaged.mend
    (elsewhere,) = judge_repository(RepositoryView("nas", is_known=True, maintenance_here=False))
    assert elsewhere.code == "maintenance-elsewhere"


def test_each_guard_pins_what_was_there_before_it() -> None:
    (pin,) = pins_of((Standing("", "store-rebuilt", "empty", AT),), "vps")

    assert (pin.before_at, pin.text) == (AT, "store-rebuilt of vps, raised 2026-11-20")
