"""A copy of the NAS that wakes up, with a journal of its own: it never moves what the other one has moved, and says why it stands still."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from failsafe.failover.decide import decide
from failsafe.failover.drift import drift_seen
from failsafe.model import DomainState, Verdict
from failsafe.store.engine import Store
from failsafe.store.journal import Journal
from failsafe.store.lease import LeaseStore
from tests.fakes.zone import FakeAuthorities, FakeClock, FakeZone
from tests.unit.failover.test_runner import World
from tests.unit.failover.world import DOMAIN, NOW, OUTAGE, PEACE, minutes

HOURS = timedelta(hours=1)


class Copies:
    """One machine, and a copy of its disk made at some moment; both see the same zone, the same primary, the same time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        store = Store.sqlite(folder / "one.db")
        store.upgrade(NOW)
        clock, zone = FakeClock(NOW), FakeZone({DOMAIN: PEACE})
        self.one = World(store, zone, FakeAuthorities(zone), clock, self._journal(store, clock))

    def copy(self) -> World:
        with sqlite3.connect(self.folder / "one.db") as source, sqlite3.connect(self.folder / "copy.db") as target:
            source.backup(target)
        store = Store.sqlite(self.folder / "copy.db")
        one = self.one
        return World(store, one.zone, one.authorities, one.clock, self._journal(store, one.clock), one.verdict, one.lasts)

    @staticmethod
    def _journal(store: Store, clock: FakeClock) -> Journal:
        lease = LeaseStore(store).acquire("nas", clock.now())
        assert lease is not None
        return Journal(store, lease)

    def sees(self, verdict: Verdict, lasts: float, *worlds: World) -> None:
        for world in (self.one, *worlds):
            world.verdict, world.lasts = verdict, lasts


@pytest.fixture
def copies(tmp_path: Path) -> Iterator[Copies]:
    made = Copies(tmp_path)
    yield made
    made.one.store.close()


def works_for_hours(world: World) -> None:
    for _ in range(60):
        world.turn()
        world.clock.pass_time(minutes(5))


def test_a_copy_of_peace_that_wakes_up_after_a_failover_writes_nothing_and_says_drift(copies: Copies) -> None:
    copies.sees(Verdict.UP, 600)
    stale = copies.copy()
    copies.sees(Verdict.DOWN, 30)
    copies.one.until(DomainState.FAILED_OVER)
    for verdict in (Verdict.UP, Verdict.DOWN):
        copies.sees(verdict, 30, stale)
        works_for_hours(stale)
        assert (stale.zone.sets[DOMAIN], stale.zone.attempts) == (OUTAGE, 1)
        assert "drift" in {guard.code for guard in decide(stale.facts(), stale.clock.now()).guards}


def test_a_copy_of_an_outage_that_wakes_up_in_peace_writes_nothing_and_says_drift(copies: Copies) -> None:
    copies.one.until(DomainState.FAILED_OVER)
    stale = copies.copy()
    copies.one.clock.pass_time(2 * HOURS)
    copies.sees(Verdict.UP, 120, stale)
    copies.one.until(DomainState.NORMAL, turns=60)
    works_for_hours(stale)
    assert (stale.zone.sets[DOMAIN], stale.zone.attempts) == (PEACE, 2)
    facts = stale.facts()
    assert drift_seen(facts, decide(facts, stale.clock.now()).guards)


def test_a_copy_made_in_the_middle_of_a_plan_gives_it_up_when_it_wakes_up_later(copies: Copies) -> None:
    one = copies.one
    one.turn()
    one.zone.faults.append("late")
    one.turn(patience=timedelta(0))
    stale = copies.copy()
    one.zone.land()
    one.until(DomainState.FAILED_OVER)
    one.clock.pass_time(2 * HOURS)
    copies.sees(Verdict.UP, 120, stale)
    one.until(DomainState.NORMAL, turns=60)
    works_for_hours(stale)
    assert (stale.record().state, stale.journal.unfinished(DOMAIN)) == (DomainState.NORMAL, None)
    assert (stale.zone.sets[DOMAIN], stale.zone.attempts) == (PEACE, 2)


def test_both_awake_through_an_outage_write_no_more_than_one(copies: Copies) -> None:
    stale = copies.copy()
    for verdict, lasts, turns in ((Verdict.DOWN, 30, 90), (Verdict.UP, 600, 200)):
        copies.sees(verdict, lasts, stale)
        for _ in range(turns):
            copies.one.turn()
            stale.turn()
            stale.clock.pass_time(minutes(1))
    assert stale.zone.history == [PEACE, OUTAGE, PEACE]
    assert {copies.one.record().state, stale.record().state} == {DomainState.NORMAL}


def test_of_two_that_decide_at_the_same_moment_the_provider_lets_one_write(copies: Copies) -> None:
    stale = copies.copy()
    for world in (copies.one, stale):
        world.turn()
    (first, then), (second, later) = ((world.facts(), world.clock.now()) for world in (copies.one, stale))
    for world, facts, now in ((copies.one, first, then), (stale, second, later)):
        world.runner.act(facts, decide(facts, now), by="nas")
    assert stale.zone.history == [PEACE, OUTAGE]
    assert {copies.one.record().state, stale.record().state} == {DomainState.FAILED_OVER}
