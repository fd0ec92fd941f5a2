"""When a loss that goes on is worth telling again."""

from __future__ import annotations

import pytest

from failsafe.backup.growth import has_grown


@pytest.mark.parametrize(("told", "more"), [(0, 21), (21, 43), (500, 1001)])
def test_a_loss_that_more_than_doubled_is_told(told: int, more: int) -> None:
    assert has_grown(told, more)


@pytest.mark.parametrize(("told", "more"), [(0, 0), (0, 20), (21, 42), (500, 1000), (500, 0)])
def test_a_few_more_are_not(told: int, more: int) -> None:
    assert not has_grown(told, more)
