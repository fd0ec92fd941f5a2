"""The simulator notices every guard that is broken: otherwise its silence would prove nothing."""

from __future__ import annotations

import pytest

from tests.simulate.mutations import MUTATIONS, caught_by


@pytest.mark.parametrize("number", range(len(MUTATIONS)), ids=[mutation.name for mutation in MUTATIONS])
def test_a_broken_guard_is_noticed(number: int) -> None:
    assert caught_by(number)


def test_at_least_fifteen_guards_are_broken() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) >= 15
