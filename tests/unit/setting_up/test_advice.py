"""Which strategy each secondary calls for, and what is warned of."""

from __future__ import annotations

import pytest

from failsafe.model import Strategy
from failsafe.secondaries.known import known_providers
from failsafe.secondaries.provider import Fact, SecondaryProvider
from failsafe.setting_up.advice import advise

KNOWN = {provider.key: provider for provider in known_providers()}
NAMES = ("mx.away.example",)


@pytest.mark.parametrize("key", KNOWN)
def test_every_known_provider_that_is_not_listed_is_added_on_demand_with_a_reason(key: str) -> None:
    advice = advise(KNOWN[key], NAMES, ())
    assert advice.strategy is Strategy.ON_DEMAND
    assert KNOWN[key].name in advice.why


def test_one_that_takes_mail_only_while_it_is_listed_must_always_be() -> None:
    assert advise(SecondaryProvider("x", "X", accepts_without_mx=Fact(value=False)), NAMES, ()).strategy is Strategy.SWAP


def test_one_that_is_listed_and_of_which_nothing_is_known_stays_listed() -> None:
    assert advise(KNOWN["proton"], NAMES, (*NAMES, "mail.example.org")).strategy is Strategy.SWAP


def test_one_that_need_not_be_listed_is_taken_out_where_it_is() -> None:
    advice = advise(KNOWN["fastmail"], NAMES, NAMES)
    assert advice.strategy is Strategy.ON_DEMAND
    assert "adopt-mx" in advice.why


def test_a_forwarder_a_bridge_and_mail_of_its_own_customers_are_warned_of() -> None:
    assert "keeps no mail" in advise(KNOWN["cloudflare-email-routing"], NAMES, ()).warnings[0]
    assert "bridge" in advise(KNOWN["proton"], NAMES, ()).warnings[0]
    assert "other customers" in advise(KNOWN["purelymail"], NAMES, ()).warnings[0]
    assert advise(KNOWN["fastmail"], NAMES, ()).warnings == ()
