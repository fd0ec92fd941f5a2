"""What a restore adds, given what is wanted and what is there."""

from __future__ import annotations

import dataclasses

from failsafe.backup.restore_plan import Wanted, plan_restore

ANN = "ann@example.org"


def wanted(number: int, folder: str = "INBOX") -> Wanted:
    return Wanted(
        server="vps", mailbox=ANN, id=f"{number:064x}", canonical=f"{number + 1000:064x}", size=10, flags="S", keywords=(),
        internal_date=0, first_generation=1, last_generation=1, target_mailbox=ANN, target_folder=folder, directory="",
    )  # fmt: skip


def held(folder: str, *items: Wanted) -> dict[str, dict[str, frozenset[str]]]:
    return {ANN: {folder: frozenset(item.canonical for item in items)}}


def test_only_what_is_missing_is_added() -> None:
    one, two = wanted(1), wanted(2)
    plan = plan_restore([one, two], held("INBOX", one), identity="canonical")
    assert (plan.to_add, plan.already_there) == ((two,), (one,))


def test_files_are_compared_by_their_bytes() -> None:
    one = wanted(1)
    there = {ANN: {"INBOX": frozenset({one.id})}}
    assert plan_restore([one], there, identity="id").to_add == ()
    assert plan_restore([one], there, identity="canonical").to_add == (one,)


def test_a_message_that_was_moved_at_the_destination_is_there() -> None:
    one = wanted(1)
    held_in = {(ANN, one.canonical): frozenset({"INBOX"})}
    assert plan_restore([one], held("Archive", one), identity="canonical", held_in=held_in).to_add == ()


def test_where_moved_messages_are_is_told() -> None:
    """They may lie in Trash, and go with it."""
    one, two, three = wanted(1), wanted(2), wanted(3)
    held_in = {(ANN, each.canonical): frozenset({"INBOX"}) for each in (one, two, three)}
    there = {ANN: {"Trash": frozenset({one.canonical, two.canonical}), "INBOX": frozenset({three.canonical})}}
    plan = plan_restore([one, two, three], there, identity="canonical", held_in=held_in)
    (note,) = plan.notes
    assert note.startswith("2 message(s) were moved to Trash")
    assert "--into" in note


def test_a_copy_elsewhere_is_no_move_where_it_always_was() -> None:
    one = wanted(1)
    held_in = {(ANN, one.canonical): frozenset({"INBOX", "Archive"})}
    assert plan_restore([one], held("Archive", one), identity="canonical", held_in=held_in).to_add == (one,)


def test_one_move_stands_for_one_message() -> None:
    inbox, sent = wanted(1), wanted(1, "Sent")
    held_in = {(ANN, inbox.canonical): frozenset({"INBOX", "Sent"})}
    plan = plan_restore([inbox, sent], held("Archive", inbox), identity="canonical", held_in=held_in)
    assert (len(plan.to_add), len(plan.already_there)) == (1, 1)


def test_without_following_moves_another_folder_counts_for_nothing() -> None:
    one = wanted(1)
    assert plan_restore([one], held("Archive", one), identity="canonical").to_add == (one,)


def test_another_mailbox_counts_for_nothing() -> None:
    one = dataclasses.replace(wanted(1), target_mailbox="bob@example.org")
    assert plan_restore([one], held("INBOX", one), identity="canonical", held_in={}).to_add == (one,)
