"""The doctor on a good world, and on the same world with one fault planted at a time: the right code and severity for it, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from failsafe.doctor_codes import CODES
from tests.contract.published_world import SERVERS, WORLD
from tests.lab.clinic import Clinic
from tests.lab.doctor_faults import FAIL, FAULTS, NOT_PLANTED, WARN, WELL, Fault
from tests.lab.lab import Lab
from tests.lab.severities import sayable

# Making the good world takes half a minute, and ten times that on a starved machine.
pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

NOT_THERE = {"sources", "overdue", "bucket-lock", "bucket-delete", "bucket-contents"}  # only where there is a fault, or a bucket
NOT_LOOKED_AT = {
    *("dnsbl", "dnssec", "domain-expiry", "mta-sts-host", "ns-delegation", "ptr"),  # of public names and addresses
    *("provider-cas", "provider-token-scope", "provider-write"),  # nothing was written so far, and Knot tells little of a key
    *("fail2ban-ignore", "secondary-verified"),  # in the worlds with more in them
}


@pytest.fixture(scope="module")
def clinic(lab: Lab) -> Iterator[Clinic]:
    made = Clinic(lab)
    try:
        made.open()
        yield made
    finally:
        made.close()


def bad(clinic: Clinic) -> dict[tuple[str, str], str]:
    """What the doctor calls bad: (code, severity) -> text and mend."""
    found = {}
    for each in clinic.examine():
        if each["severity"] in (FAIL, WARN):
            assert each["text"], each
            assert each["mend"], each
            found[each["code"], each["severity"]] = f"{each['text']} | {each['mend']}"
    return found


def test_in_a_good_world_the_doctor_finds_nothing(clinic: Clinic) -> None:
    assert bad(clinic) == {}


def test_in_a_good_world_everything_is_looked_at_but_for_what_is_named(
    clinic: Clinic,
) -> None:
    seen = [(each["code"], each["severity"]) for each in clinic.examine()]
    assert set(CODES) - {code for code, _ in seen} == NOT_THERE
    skipped = {code for code, severity in seen if severity == "skipped"}
    assert skipped == NOT_LOOKED_AT, " ".join(sorted(skipped))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what)
def test_a_planted_fault_is_found_and_nothing_else(clinic: Clinic, fault: Fault) -> None:
    with fault.plant(clinic):
        found = bad(clinic)
    assert set(found) == fault.found, found


@pytest.mark.parametrize("world", WELL, ids=lambda world: world.what)
def test_in_a_good_world_with_more_in_it_the_doctor_finds_nothing(clinic: Clinic, world: Fault) -> None:
    with world.plant(clinic):
        found = bad(clinic)
    assert set(found) == world.found, found


def test_when_every_fault_is_taken_away_the_doctor_finds_nothing(clinic: Clinic) -> None:
    assert bad(clinic) == {}


def test_every_severity_of_every_code_has_a_planted_fault_or_a_reason_why_not() -> None:
    here = {pair for fault in FAULTS for pair in fault.found}
    there = {pair for planted in (*WORLD.values(), *SERVERS.values()) for pair in planted.found.items()}  # test_published.py
    can_be_said = sayable()
    assert {code for code, _ in can_be_said} == set(CODES), "the source was read whole"
    assert (here | there) & set(NOT_PLANTED) == set()
    assert here | there | set(NOT_PLANTED) == can_be_said
