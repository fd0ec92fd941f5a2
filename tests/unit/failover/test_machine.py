"""The state table and the documentation that is printed from it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from failsafe.failover.machine import (
    PROMISES,
    ROWS,
    TABLE,
    Trigger,
    UndefinedTransitionError,
    render_promises,
    render_table,
    step,
)
from failsafe.model import DomainState
from tests.tools.draw_states import FILE, draw

PAGE = Path(__file__).parents[3] / "docs" / "failover.md"


def test_a_pair_is_in_the_table_once() -> None:
    assert len(TABLE) == len(ROWS)


def test_every_pair_that_is_not_in_the_table_raises() -> None:
    for pair in set(product(DomainState, Trigger)) - set(TABLE):
        with pytest.raises(UndefinedTransitionError, match=pair[1]):
            step(*pair)


def test_every_state_can_be_reached_and_left_towards_normal() -> None:
    assert reachable({DomainState.NORMAL}, forward=True) == set(DomainState)
    assert reachable({DomainState.NORMAL}, forward=False) == set(DomainState)


def reachable(start: set[DomainState], *, forward: bool) -> set[DomainState]:
    seen = set(start)
    for _ in DomainState:
        seen |= {row.to if forward else row.state for row in ROWS if (row.state if forward else row.to) in seen}
    return seen


def test_only_a_running_plan_ends_in_a_flipped_state_by_itself() -> None:
    into = {row.state for row in ROWS if row.to is DomainState.FAILED_OVER and row.trigger is Trigger.PLAN_VERIFIED}
    assert into == {DomainState.FAILING_OVER}


def test_every_state_has_its_promise() -> None:
    assert set(PROMISES) == set(DomainState)


@pytest.mark.parametrize("part", [render_promises(), render_table()], ids=["states", "table"])
def test_the_documentation_is_printed_from_the_table(part: str) -> None:
    assert part in PAGE.read_text(encoding="utf-8")


def test_the_drawing_is_drawn_from_the_table() -> None:
    assert FILE.read_text(encoding="utf-8") == draw(), "draw it anew: python -m tests.tools.draw_states"
