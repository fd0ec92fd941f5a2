"""How often a secondary is gathered from."""

from __future__ import annotations

import pytest

from failsafe.homecoming.cadence import IN_OUTAGE, IN_PEACE, gather_every
from failsafe.model import DomainState


@pytest.mark.parametrize("state", [each for each in DomainState if each is not DomainState.NORMAL])
def test_from_the_first_doubt_on_it_is_every_few_minutes(state: DomainState) -> None:
    assert gather_every(state, draining=False) == IN_OUTAGE


def test_a_domain_that_came_home_is_gathered_from_as_often_until_it_has_drained() -> None:
    assert gather_every(DomainState.NORMAL, draining=True) == IN_OUTAGE
    assert gather_every(DomainState.NORMAL, draining=False) == IN_PEACE
