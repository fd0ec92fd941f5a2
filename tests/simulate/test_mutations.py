"""The simulator notices every guard that is broken: otherwise its silence would prove nothing."""

from __future__ import annotations

import pytest

from tests.simulate.mutations import MUTATIONS, noticing_run
from tests.simulate.run import simulate_scenario


@pytest.mark.parametrize("number", range(len(MUTATIONS)), ids=[mutation.name for mutation in MUTATIONS])
def test_a_broken_guard_is_noticed_and_a_whole_one_is_not_blamed(number: int) -> None:
    found = noticing_run(number)
    assert found is not None, "nothing notices it"
    assert not simulate_scenario(found[0]).violation, "the same run is complained of with nothing broken"
