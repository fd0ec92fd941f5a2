"""When a loss is believed, and when it raises a guard."""

from __future__ import annotations

import pytest

from failsafe.backup.losses import Loss, Rebuilt, habit_of, judge_losses

QUIET = Rebuilt(folders=10, changed=0, mailboxes_before=2, mailboxes_now=2)


def codes(*losses: Loss, rebuilt: Rebuilt = QUIET) -> list[tuple[str, str]]:
    return [(mailbox, guard.code) for mailbox, guard in judge_losses(losses, rebuilt, "vps")]


def test_twenty_messages_may_go_from_a_mailbox_that_keeps_some() -> None:
    assert codes(Loss("a@x", 26, 20)) == []
    assert codes(Loss("a@x", 26, 21)) == [("a@x", "mass-loss")]


def test_a_small_mailbox_that_is_emptied_at_once_is_asked_about() -> None:
    assert codes(Loss("a@x", 15, 15)) == [("a@x", "mass-loss")]
    assert codes(Loss("a@x", 20, 18)) == [("a@x", "mass-loss")]
    assert codes(Loss("a@x", 20, 17)) == []


def test_a_handful_of_messages_may_go_altogether() -> None:
    assert codes(Loss("a@x", 9, 9)) == []


def test_a_mailbox_whose_emptying_was_accepted_is_not_asked_about_again() -> None:
    """Such as one that is fetched by POP3; many times as much is another matter."""
    assert codes(Loss("a@x", 30, 30, emptied=15)) == []
    assert codes(Loss("a@x", 31, 31, emptied=15)) == [("a@x", "mass-loss")]


def test_a_loss_in_small_steps_is_counted_over_a_day() -> None:
    """A backup every minute sees but little of it at a time."""
    assert codes(Loss("a@x", 8_100, 100, day_before=10_000, day_lost=2_000)) == []
    assert codes(Loss("a@x", 8_000, 100, day_before=10_000, day_lost=2_001)) == [("a@x", "mass-loss")]
    small = [Loss(f"{number}@x", 90, 5, day_before=100, day_lost=20) for number in range(10)]
    assert codes(*small) == []
    assert codes(*small, Loss("big@x", 50, 1, day_before=100, day_lost=1)) == []
    assert codes(*(Loss(f"{number}@x", 60, 5, day_before=70, day_lost=20) for number in range(10))) == [("", "mass-loss")]


def test_a_fifth_of_a_mailbox_may_go() -> None:
    assert codes(Loss("a@x", 500, 100)) == []
    assert codes(Loss("a@x", 500, 101)) == [("a@x", "mass-loss")]


def test_a_loss_spread_over_many_mailboxes_is_one_of_the_server() -> None:
    assert codes(*(Loss(f"{number}@x", 30, 15) for number in range(10))) == [("", "mass-loss")]


def test_a_vanished_mailbox_is_named_unless_it_was_empty() -> None:
    assert codes(Loss("a@x", 3, 3, present=False), Loss("b@x", 0, 0, present=False)) == [("a@x", "mailbox-vanished")]


def test_an_empty_store_is_one_guard() -> None:
    gone = Rebuilt(folders=10, changed=0, mailboxes_before=2, mailboxes_now=0)
    assert codes(Loss("a@x", 9, 9, present=False), Loss("b@x", 90, 90, present=False), rebuilt=gone) == [("", "store-rebuilt")]


def test_new_uidvalidities_of_most_folders_mean_a_new_store() -> None:
    assert codes(rebuilt=Rebuilt(10, 6, 2, 2)) == [("", "store-rebuilt")]
    assert codes(rebuilt=Rebuilt(10, 5, 2, 2)) == []
    assert codes(rebuilt=Rebuilt(1, 1, 1, 1)) == []


def test_every_guard_says_how_to_end_it() -> None:
    guards = judge_losses((Loss("a@x", 500, 400, changed=1),), QUIET, "vps")
    assert [guard.code for _, guard in guards] == ["mass-loss", "tampered"]
    for _, guard in guards:
        assert "failsafe accept vps" in guard.mend


def test_one_changed_content_is_tampering() -> None:
    assert codes(Loss("a@x", 500, 0, changed=1), Loss("b@x", 500, 3)) == [("a@x", "tampered")]


@pytest.mark.parametrize(
    ("went", "left", "habit"), [(12, 0, 12), (95, 5, 95), (9_000, 0, 500), (50, 50, 0), (0, 0, 0), (5, 0, 0)]
)
def test_only_a_mailbox_that_was_emptied_may_be_emptied_again_unasked(went: int, left: int, habit: int) -> None:
    assert habit_of(went, left) == habit
