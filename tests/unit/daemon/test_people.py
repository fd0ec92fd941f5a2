"""What people are told again, and when the heartbeat may say that all is looked after."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from failsafe.daemon.people import lasts, reminder
from failsafe.model import DomainState, Notice
from failsafe.status.build import build_status
from failsafe.status.values import DomainStatus
from failsafe.status.watched import watches_all
from failsafe.store.glance import Glance
from tests.unit.status.world import NOW, ROSTER, ago, duty, healthy, watch

SINCE = NOW - timedelta(hours=6)


def domain(state: DomainState, inbound: str = "down") -> DomainStatus:
    [found] = build_status(ROSTER, healthy(), NOW).domains
    return replace(found, state=state, health={**found.health, "inbound": inbound})


def told(state: DomainState, inbound: str = "down") -> Notice:
    notice = reminder(domain(state, inbound), SINCE, "thread", NOW).notice
    assert notice is not None
    return notice


def test_an_outage_that_nothing_was_done_about_is_told_again() -> None:
    assert lasts(domain(DomainState.SUSPECT))
    notice = told(DomainState.SUSPECT)
    assert (notice.losing_mail[:3], notice.must_do) == ("no:", "failsafe failover example.org")
    assert told(DomainState.SUSPECT, "lying").losing_mail.startswith("yes:")


@pytest.mark.parametrize("inbound", ["up", "unknown"])
def test_a_suspicion_without_evidence_is_not(inbound: str) -> None:
    assert not lasts(domain(DomainState.SUSPECT, inbound))


def test_a_failback_that_waits_for_a_person_is_told_again() -> None:
    assert lasts(domain(DomainState.RECOVERING, "up"))
    assert told(DomainState.RECOVERING, "up").must_do == "failsafe failback example.org"


def test_peace_is_not() -> None:
    assert not lasts(domain(DomainState.NORMAL, "up"))


def test_a_halted_domain_asks_for_a_word() -> None:
    assert told(DomainState.HALTED).must_do.startswith("failsafe acknowledge example.org")


def test_a_watch_that_stands_still_is_not_looked_after() -> None:
    assert watches_all(ROSTER, healthy(), NOW)
    assert not watches_all(ROSTER, healthy(duty=(watch(at=ago(hours=1)), duty("backup:vps", ago(minutes=5)))), NOW)
    assert not watches_all(ROSTER, Glance(), NOW)
