"""The lease in memory, and a journal that demands it, for simulations of many days. Both pass the same tests as the real ones (tests/unit/store/test_journal.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from failsafe.events import Event
from failsafe.failover.memory_journal import MemoryJournal, MemoryStore
from failsafe.store.lease import LIFETIME, Lease


@dataclass
class LeasedStore(MemoryStore):
    """With who leads, and what was told."""

    events: list[Event] = field(default_factory=list)
    lease: Lease | None = None
    expires_at: datetime | None = None


class MemoryLeases:
    """failsafe.store.lease.LeaseStore, in memory."""

    def __init__(self, store: LeasedStore) -> None:
        self._store = store

    def acquire(self, holder: str, now: datetime) -> Lease | None:
        store, held = self._store, self._store.lease
        if held is None:
            store.lease = Lease(holder, 1)
        elif held.holder != holder:
            if store.expires_at is not None and store.expires_at > now:
                return None
            store.lease = Lease(holder, held.epoch + 1)
        store.expires_at = now + LIFETIME
        return store.lease

    def release(self, held: Lease, now: datetime) -> None:
        if held == self._store.lease:
            self._store.expires_at = now


def leased_journal(store: LeasedStore, lease: Lease | None, heard: Callable[[Event], None] | None = None) -> MemoryJournal:
    """As failsafe.store.journal.Journal: who does not hold the lease changes nothing. `heard` is told of each event after its commit."""

    def why_not() -> str:
        if lease is None:
            return "this program only looks; another one leads"
        return "" if lease == store.lease else "another controller has taken over; this one does nothing more"

    def tell(event: Event) -> None:
        store.events.append(event)
        if heard is not None:
            heard(event)

    return MemoryJournal(store, why_not, tell)
