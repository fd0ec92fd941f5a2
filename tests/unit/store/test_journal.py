"""The journal keeps what it is given, and lets only one writer change it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from failsafe.errors import LeaseLost, Refused
from failsafe.events import Event
from failsafe.model import DomainRecord, DomainState, FlipKind, MxSet, NewIntent, Outcome, Side
from failsafe.ports import FlipJournal
from failsafe.store.engine import Store
from failsafe.store.events import EventStore
from failsafe.store.journal import Journal
from failsafe.store.lease import LIFETIME, LeaseStore
from tests.fakes.journal import LeasedStore, MemoryLeases, leased_journal

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
DOMAIN = "example.org"
PEACE, OUTAGE = MxSet.of((10, "mail.example.org"), ttl_seconds=60), MxSet.of((5, "mx.away.example"), (10, "mail.example.org"))
PLAN = NewIntent(DOMAIN, FlipKind.FAILOVER, "nas", "down", NOW, NOW + timedelta(minutes=5), PEACE, OUTAGE, "digest")
EVENT = Event("failover.planned", DOMAIN, "begun", NOW)


@dataclass
class Kept:
    """Where a journal is kept: an SQLite file, or the memory that drills, replays and simulations use."""

    journal: Callable[..., FlipJournal]
    leases: LeaseStore | MemoryLeases
    events: Callable[[], list[Event]]


@pytest.fixture(params=["sqlite", "memory"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    if request.param == "memory":
        memory = LeasedStore()
        yield Kept(partial(leased_journal, memory), MemoryLeases(memory), lambda: memory.events)
        return
    store = Store.sqlite(tmp_path / "failsafe.db")
    store.upgrade(NOW)
    with closing(store):
        yield Kept(partial(Journal, store), LeaseStore(store), lambda: [event for _, event in EventStore(store).since()])


@pytest.fixture
def journal(kept: Kept) -> FlipJournal:
    return kept.journal(kept.leases.acquire("nas", NOW))


def test_a_domain_never_seen_is_normal_and_not_written(journal: FlipJournal) -> None:
    assert journal.load(DOMAIN, NOW) == DomainRecord(DOMAIN, DomainState.NORMAL, NOW, Side.PRIMARY)


def test_a_record_comes_back_as_it_was_written(journal: FlipJournal) -> None:
    full = DomainRecord(
        DOMAIN, DomainState.FAILED_OVER, NOW, Side.SECONDARY, 0, PEACE, NOW + timedelta(hours=2), "upgrade", NOW + timedelta(days=3), "because",
        OUTAGE, PEACE, NOW - timedelta(minutes=20), 3, NOW + timedelta(minutes=4), 17, "abc def", bouncing=True, store_lost=True,
    )  # fmt: skip
    kept = journal.change(journal.load(DOMAIN, NOW), full, [])
    assert kept == replace(full, epoch=1)
    assert journal.load(DOMAIN, NOW) == kept


def test_a_plan_comes_back_as_it_was_begun_and_ended(journal: FlipJournal) -> None:
    record, intent = journal.begin(
        journal.load(DOMAIN, NOW), replace(journal.load(DOMAIN, NOW), state=DomainState.FAILING_OVER), PLAN, [EVENT]
    )
    assert journal.unfinished(DOMAIN) == intent
    assert (intent.before, intent.desired, intent.deadline_at, intent.epoch) == (PEACE, OUTAGE, PLAN.deadline_at, 1)
    done = Event("failover.done", DOMAIN, "done", NOW + timedelta(minutes=1))
    journal.finish(record, replace(record, state=DomainState.FAILED_OVER), intent, Outcome.DONE, "verified", [done])
    assert journal.unfinished(DOMAIN) is None
    (flip,) = journal.flips(DOMAIN, NOW)
    assert (flip.outcome, flip.outcome_at, flip.outcome_text) == (Outcome.DONE, done.at, "verified")


def test_only_flips_that_were_done_count(journal: FlipJournal) -> None:
    record = journal.load(DOMAIN, NOW)
    for outcome in (Outcome.FAILED, Outcome.VOID):
        record, intent = journal.begin(record, record, PLAN, [])
        record = journal.finish(record, record, intent, outcome, "no", [])
    record, intent = journal.begin(record, record, replace(PLAN, kind=FlipKind.ADOPT_MX), [])
    journal.finish(record, record, intent, Outcome.DONE, "adopted", [])
    assert journal.flips(DOMAIN, NOW - timedelta(days=1)) == ()


def test_a_change_and_its_event_are_one(journal: FlipJournal, kept: Kept) -> None:
    stale = journal.load(DOMAIN, NOW)
    journal.change(stale, stale, [])
    with pytest.raises(LeaseLost):
        journal.begin(stale, stale, PLAN, [EVENT])
    assert kept.events() == []
    assert journal.unfinished(DOMAIN) is None


def test_of_many_that_begin_at_once_one_wins(kept: Kept) -> None:
    lease = kept.leases.acquire("nas", NOW)
    record = kept.journal(lease).load(DOMAIN, NOW)

    def begin(_: int) -> bool:
        try:
            kept.journal(lease).begin(record, record, PLAN, [EVENT])
        except LeaseLost:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(begin, range(16))) == 1
    assert len(kept.events()) == 1


def test_a_second_plan_is_refused_while_one_runs(journal: FlipJournal) -> None:
    record, _ = journal.begin(journal.load(DOMAIN, NOW), journal.load(DOMAIN, NOW), PLAN, [])
    with pytest.raises(Refused, match="unfinished-intent"):
        journal.begin(record, record, PLAN, [])


def test_a_plan_is_ended_once(journal: FlipJournal) -> None:
    record, intent = journal.begin(journal.load(DOMAIN, NOW), journal.load(DOMAIN, NOW), PLAN, [])
    record = journal.finish(record, record, intent, Outcome.DONE, "", [])
    with pytest.raises(LeaseLost, match="already ended"):
        journal.finish(record, record, intent, Outcome.FAILED, "", [])


def test_who_does_not_lead_changes_nothing(journal: FlipJournal, kept: Kept) -> None:
    record = journal.load(DOMAIN, NOW)
    assert kept.leases.acquire("other", NOW + timedelta(hours=1)) is not None
    for stale in (journal, kept.journal(None)):
        with pytest.raises(LeaseLost):
            stale.change(record, record, [])
    assert journal.load(DOMAIN, NOW).epoch == 0


def test_events_are_heard_after_their_commit(kept: Kept) -> None:
    heard: list[int] = []
    journal = kept.journal(kept.leases.acquire("nas", NOW), lambda _event: heard.append(len(kept.events())))
    record = journal.load(DOMAIN, NOW)
    journal.change(record, record, [EVENT])
    assert heard == [1]


def test_a_lease_is_kept_renewed_given_back_and_passes_on_when_it_expired(kept: Kept) -> None:
    first = kept.leases.acquire("nas", NOW)
    assert first is not None
    assert kept.leases.acquire("nas", NOW + LIFETIME / 2) == first
    assert kept.leases.acquire("other", NOW + LIFETIME) is None
    second = kept.leases.acquire("other", NOW + LIFETIME * 2)
    assert second is not None
    assert (second.holder, second.epoch) == ("other", first.epoch + 1)
    kept.leases.release(first, NOW + LIFETIME * 2)
    assert kept.leases.acquire("nas", NOW + LIFETIME * 2) is None
    kept.leases.release(second, NOW + LIFETIME * 2)
    third = kept.leases.acquire("nas", NOW + LIFETIME * 2)
    assert third is not None
    assert third.epoch == second.epoch + 1
