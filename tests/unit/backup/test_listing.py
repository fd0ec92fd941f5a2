"""When a listing counts as complete."""

from __future__ import annotations

from failsafe.backup.listing import PASSES, QUIET_NS, Passes, Step, is_exact, is_unchanged, next_step
from failsafe.backup.protocol import FolderFacts, FolderPass

NOW = 1_700_000_000 * 10**9


def ended(before: tuple[int, int], after: tuple[int, int]) -> FolderPass:
    return FolderPass(before, after, NOW)


def run(additions: list[int], *, exact_at: int | None = None) -> Passes:
    passes = Passes()
    for number, added in enumerate(additions):
        passes = passes.after(added, exact=number == exact_at)
    return passes


def test_a_folder_that_held_still_long_enough_is_exact() -> None:
    old = NOW - QUIET_NS
    assert is_exact(ended((old, old), (old, old)))


def test_a_younger_mtime_may_hide_a_second_change() -> None:
    young = NOW - QUIET_NS + 1
    assert not is_exact(ended((0, young), (0, young)))


def test_an_mtime_in_the_future_is_never_exact() -> None:
    assert not is_exact(ended((NOW + 1, 0), (NOW + 1, 0)))


def test_a_folder_that_changed_during_the_pass_is_not_exact() -> None:
    assert not is_exact(ended((5, 5), (5, 6)))


def test_a_folder_that_could_not_be_read_is_not_exact() -> None:
    assert not is_exact(FolderPass((-1, -1), (-1, -1), 0, error="Permission denied"))


def test_a_folder_is_unchanged_only_with_both_stamps_of_an_exact_listing() -> None:
    facts = FolderFacts("", (1, 2), None, None)
    assert is_unchanged(facts, (1, 2))
    assert not is_unchanged(facts, (1, 3))
    assert not is_unchanged(facts, None)


def test_one_exact_pass_proves() -> None:
    assert next_step(run([5], exact_at=0)) is Step.PROVED


def test_three_passes_that_add_nothing_are_no_proof_yet() -> None:
    assert next_step(run([5, 0, 0])) is Step.AGAIN
    assert next_step(run([5, 0, 0, 0])) is Step.COMPARE


def test_an_addition_begins_the_count_anew() -> None:
    assert next_step(run([5, 0, 0, 1])) is Step.AGAIN


def test_no_unseen_name_proves_and_an_unseen_one_asks_for_more_passes() -> None:
    assert next_step(run([5, 0, 0, 0]).compared(0)) is Step.PROVED
    assert next_step(run([5, 0, 0, 0]).compared(2)) is Step.AGAIN


def test_a_name_that_no_pass_of_twenty_shows_is_gone() -> None:
    passes = run([5, 0, 0, 0]).compared(2)
    while next_step(passes) is Step.AGAIN:
        passes = passes.after(0, exact=False, unseen=2)
    assert (passes.count, next_step(passes)) == (PASSES, Step.PROVED)


def test_without_a_uidlist_only_an_exact_pass_proves() -> None:
    passes = run([5, 0, 0, 0]).compared(None)
    while next_step(passes) is Step.AGAIN:
        passes = passes.after(0, exact=False)
    assert (passes.count, next_step(passes)) == (PASSES, Step.UNPROVED)
    assert next_step(passes.after(0, exact=True)) is Step.PROVED


def test_additions_without_end_are_never_called_complete() -> None:
    assert next_step(run([5] * PASSES)) is Step.UNPROVED
