"""How much of a folder is read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failsafe.backup.imap_plan import Known, Way, may_hold_news, plan_reading
from failsafe.ports import FolderState

STATE = FolderState(uid_validity=5, uid_next=100, messages=40, modseq=900)
KNOWN = Known(1, "INBOX", 5, STATE)


def test_an_equal_state_is_an_unchanged_folder() -> None:
    assert plan_reading(KNOWN, STATE, full=False) is Way.UNCHANGED


@pytest.mark.parametrize("change", [{"modseq": 901}, {"uid_next": 101}, {"messages": 39}])
def test_any_difference_is_looked_at(change: dict[str, int]) -> None:
    assert plan_reading(KNOWN, replace(STATE, **change), full=False) is Way.CHANGES


def test_a_message_that_could_not_be_had_is_asked_for_again() -> None:
    assert plan_reading(replace(KNOWN, lacking=(7,)), STATE, full=False) is Way.CHANGES


@pytest.mark.parametrize("missing", ["modseq", "uid_next"])
def test_where_the_server_does_not_tell_whether_something_changed_all_of_it_is_compared(missing: str) -> None:
    now = replace(STATE, **{missing: None})
    assert plan_reading(replace(KNOWN, state=now), now, full=False) is Way.ALL


def test_once_a_day_everything_is_compared() -> None:
    assert plan_reading(KNOWN, STATE, full=True) is Way.CHECK


def test_a_folder_that_was_not_read_to_its_end_is_compared() -> None:
    assert plan_reading(replace(KNOWN, state=None), STATE, full=False) is Way.CHECK


def test_a_modseq_that_went_back_is_a_sign_of_another_store() -> None:
    assert plan_reading(KNOWN, replace(STATE, modseq=3), full=False) is Way.CHECK


def test_another_uidvalidity_makes_every_uid_new() -> None:
    assert plan_reading(KNOWN, replace(STATE, uid_validity=6), full=False) is Way.ANEW
    assert plan_reading(replace(KNOWN, state=None), replace(STATE, uid_validity=6), full=False) is Way.ANEW


def test_a_uidnext_that_went_back_makes_every_uid_doubtful() -> None:
    """A store that was put back from an old copy gives UIDs out a second time, under the same UIDVALIDITY."""
    assert plan_reading(KNOWN, replace(STATE, uid_next=90), full=False) is Way.ANEW


def test_messages_may_have_come_where_uidnext_moved_and_nowhere_else() -> None:
    assert may_hold_news(None, STATE)
    assert may_hold_news(STATE, replace(STATE, uid_next=101))
    assert may_hold_news(STATE, replace(STATE, uid_validity=6))
    assert not may_hold_news(STATE, replace(STATE, modseq=950, messages=3))
    assert may_hold_news(replace(STATE, uid_next=None), replace(STATE, uid_next=None, messages=41))
