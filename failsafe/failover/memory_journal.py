"""The journal in memory (ports.FlipJournal): for flips of a scratch name, on paper and in simulations. They are nobody's history.

It passes the same tests as the one in the database (tests/unit/store/test_journal.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from failsafe.errors import LeaseLost, Refused
from failsafe.events import Event
from failsafe.model import DomainRecord, DomainState, FlipKind, Guard, Intent, NewIntent, Outcome, Side

FLIPS = (FlipKind.FAILOVER, FlipKind.FAILBACK)


@dataclass
class MemoryStore:
    """What a database would hold, of any number of domains. Plans are numbered from 1 in the order in which they were begun."""

    records: dict[str, DomainRecord] = field(default_factory=dict)
    intents: list[Intent] = field(default_factory=list)

    def newest(self, domain: str) -> Intent | None:
        return next((one for one in reversed(self.intents) if one.domain == domain), None)

    def unfinished(self, domain: str) -> Intent | None:
        """The newest or none: `begin` lets no second one begin."""
        newest = self.newest(domain)
        return newest if newest is not None and newest.outcome is None else None


class MemoryJournal:
    """`why_not` says why this writer may not write ("" where it may), before each change; `heard` is told of each event after it."""

    def __init__(
        self, store: MemoryStore, why_not: Callable[[], str] = str, heard: Callable[[Event], None] = lambda _event: None
    ) -> None:
        self._store = store
        self._why_not = why_not
        self._heard = heard

    def load(self, domain: str, now: datetime) -> DomainRecord:
        return self._store.records.get(domain) or DomainRecord(domain, DomainState.NORMAL, now, Side.PRIMARY)

    def unfinished(self, domain: str) -> Intent | None:
        return self._store.unfinished(domain)

    def newest(self, domain: str) -> Intent | None:
        return self._store.newest(domain)

    def flips(self, domain: str, since_at: datetime) -> tuple[Intent, ...]:
        done = (one for one in self._store.intents if one.domain == domain and one.kind in FLIPS and one.outcome is Outcome.DONE)
        return tuple(one for one in done if one.outcome_at is not None and one.outcome_at >= since_at)

    def begin(
        self, record: DomainRecord, changed: DomainRecord, plan: NewIntent, events: Sequence[Event]
    ) -> tuple[DomainRecord, Intent]:
        self._demand(record)
        other = self._store.unfinished(plan.domain)
        if other is not None:
            guard = Guard("unfinished-intent", f"plan {other.id} of {plan.domain} is not finished")
            raise Refused(f"a plan for {plan.domain} is being carried out", [guard])
        intent = Intent(
            len(self._store.intents) + 1, plan.domain, record.epoch + 1, plan.kind, plan.by, plan.reason, plan.planned_at, plan.deadline_at,
            plan.before, plan.desired, plan.digest,
        )  # fmt: skip
        self._store.intents.append(intent)
        return self._commit(record, changed, events), intent

    def finish(
        self, record: DomainRecord, changed: DomainRecord, plan: Intent, outcome: Outcome, text: str, events: Sequence[Event]
    ) -> DomainRecord:
        self._demand(record)
        place = plan.id - 1
        if self._store.intents[place].outcome is not None:
            raise LeaseLost(f"plan {plan.id} of {plan.domain} was already ended by another")
        at = events[0].at if events else changed.since_at
        self._store.intents[place] = replace(self._store.intents[place], outcome=outcome, outcome_at=at, outcome_text=text)
        return self._commit(record, changed, events)

    def change(self, record: DomainRecord, changed: DomainRecord, events: Sequence[Event]) -> DomainRecord:
        self._demand(record)
        return self._commit(record, changed, events)

    def _demand(self, record: DomainRecord) -> None:
        """Nothing is written before all of this holds, as in a transaction that would be rolled back."""
        why_not = self._why_not()
        if why_not:
            raise LeaseLost(why_not)
        known = self._store.records.get(record.domain)
        if record.epoch != (0 if known is None else known.epoch):
            raise LeaseLost(f"{record.domain} was changed by another since it was read (epoch {record.epoch})")

    def _commit(self, record: DomainRecord, changed: DomainRecord, events: Sequence[Event]) -> DomainRecord:
        kept = replace(changed, epoch=record.epoch + 1)
        self._store.records[record.domain] = kept
        for event in events:
            self._heard(event)
        return kept
