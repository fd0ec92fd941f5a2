"""The proof that a provider compares and sets is one that can fail."""

from __future__ import annotations

import pytest

from failsafe.errors import DnsError
from failsafe.failover.prove import prove_cas
from failsafe.model import MxSet
from tests.fakes.zone import FakeScratch, FakeZone

NAME = "failsafe-proof.example.org"


class Forgetful(FakeScratch):
    """Says yes and writes nothing."""

    def write(self, expected: int | None, number: int) -> None:
        pass


class Overwriting(FakeScratch):
    """Refuses a stale change, but overwrites where it should create."""

    def write(self, expected: int | None, number: int) -> None:
        super().write(self.read()[0] if expected is None and self.read() else expected, number)


class Dying(FakeScratch):
    """The line is cut when the change is made."""

    def write(self, expected: int | None, number: int) -> None:
        if expected is not None:
            raise DnsError("the line is cut")
        super().write(expected, number)


def test_a_provider_that_compares_leaves_no_fault_and_no_record() -> None:
    zone = FakeZone({})
    assert prove_cas(FakeScratch(zone, NAME), 0) == ""
    assert zone.sets == {}


def test_a_provider_that_ignores_what_is_expected_is_caught_and_its_record_cleared() -> None:
    zone = FakeZone({})
    assert prove_cas(FakeScratch(zone, NAME, blind=True), 0) == "a change that expected 1 where 2 stood was accepted"
    assert zone.sets == {}


def test_a_provider_that_creates_over_what_stands_there_is_caught() -> None:
    assert "expected nothing where 2 stood" in prove_cas(Overwriting(FakeZone({}), NAME), 0)


def test_a_provider_that_says_yes_and_writes_nothing_is_caught() -> None:
    with pytest.raises(DnsError, match="was written and holds"):
        prove_cas(Forgetful(FakeZone({}), NAME), 0)


def test_a_proof_that_breaks_off_clears_what_it_wrote() -> None:
    zone = FakeZone({NAME: MxSet.of((2, "failsafe-proof.invalid"))})
    with pytest.raises(DnsError, match="cut"):
        prove_cas(Dying(zone, NAME), 0)
    assert zone.sets == {}


def test_a_provider_that_makes_another_ttl_of_the_least_that_it_promises_is_caught() -> None:
    class Slower(FakeScratch):
        def ttl_seconds(self) -> int:
            return 300

    zone = FakeZone({})
    assert prove_cas(Slower(zone, NAME), 0) == "a TTL of 0 s was written and became 300 s"
    assert zone.sets == {}
