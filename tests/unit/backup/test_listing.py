"""When a listing counts as complete."""

from __future__ import annotations

from failsafe.backup.listing import CALM, PASSES, QUIET_NS, Passes, Step, is_exact, is_unchanged, next_step
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


def test_a_few_joined_passes_are_compared_with_the_list_of_names() -> None:
    assert next_step(run([5, 0])) is Step.AGAIN
    assert next_step(run([5, 0, 7])) is Step.COMPARE


def test_a_list_that_has_all_that_is_there_proves_although_passes_go_on_adding() -> None:
    assert next_step(run([5, 5, 5]).compared(0)) is Step.PROVED


def test_a_list_that_lacks_files_is_not_the_whole_truth_and_calm_passes_must_do() -> None:
    passes = run([5, 5, 5]).compared(2)
    while next_step(passes) is Step.AGAIN:
        passes = passes.after(0, exact=False).compared(2)
    assert (passes.count, passes.calm, next_step(passes)) == (6, CALM, Step.PROVED)


def test_a_list_counts_only_until_the_next_pass() -> None:
    assert next_step(run([5, 0, 7]).compared(0).after(1, exact=False)) is Step.COMPARE


def test_without_a_list_only_an_exact_pass_proves() -> None:
    passes = run([5, 0, 0, 0]).compared(None)
    assert next_step(passes) is Step.UNPROVED
    assert next_step(passes.after(0, exact=True)) is Step.PROVED


def test_additions_without_end_beside_a_list_that_lacks_files_are_never_called_complete() -> None:
    passes = Passes()
    for _ in range(PASSES):
        passes = passes.after(5, exact=False).compared(2)
    assert next_step(passes) is Step.UNPROVED
