"""A journal in memory (ports.FlipJournal), for flips of a scratch name: they are nobody's history, and what they leave is looked for in the zone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from failsafe.errors import LeaseLost, Refused
from failsafe.events import Event
from failsafe.model import DomainRecord, FlipKind, Intent, NewIntent, Outcome


class DrillJournal:
    """Of one domain. Compares and sets as the real one does; events are dropped."""

    def __init__(self, record: DomainRecord) -> None:
        self.record = record
        self.intents: list[Intent] = []

    def load(self, domain: str, now: datetime) -> DomainRecord:  # noqa: ARG002 - the port's signature
        assert domain == self.record.domain
        return self.record

    def unfinished(self, domain: str) -> Intent | None:
        assert domain == self.record.domain
        return next((intent for intent in self.intents if intent.outcome is None), None)

    def newest(self, domain: str) -> Intent | None:
        assert domain == self.record.domain
        return self.intents[-1] if self.intents else None

    def flips(self, domain: str, since_at: datetime) -> tuple[Intent, ...]:
        assert domain == self.record.domain
        done = (intent for intent in self.intents if intent.outcome is Outcome.DONE and intent.kind is not FlipKind.ADOPT_MX)
        return tuple(intent for intent in done if intent.outcome_at is not None and intent.outcome_at >= since_at)

    def begin(
        self, record: DomainRecord, changed: DomainRecord, plan: NewIntent, events: Sequence[Event]
    ) -> tuple[DomainRecord, Intent]:
        if self.unfinished(record.domain) is not None:
            raise Refused(f"a plan for {record.domain} is being carried out")
        kept = self.change(record, changed, events)
        intent = Intent(
            len(self.intents) + 1, plan.domain, kept.epoch, plan.kind, plan.by, plan.reason, plan.planned_at, plan.deadline_at,
            plan.before, plan.desired, plan.digest,
        )  # fmt: skip
        self.intents.append(intent)
        return kept, intent

    def finish(
        self, record: DomainRecord, changed: DomainRecord, plan: Intent, outcome: Outcome, text: str, events: Sequence[Event]
    ) -> DomainRecord:
        kept = self.change(record, changed, events)
        at = events[0].at if events else changed.since_at
        ended = replace(plan, outcome=outcome, outcome_at=at, outcome_text=text)
        self.intents = [ended if intent.id == plan.id else intent for intent in self.intents]
        return kept

    def change(self, record: DomainRecord, changed: DomainRecord, events: Sequence[Event]) -> DomainRecord:  # noqa: ARG002
        if record.epoch != self.record.epoch:
            raise LeaseLost(f"{record.domain} was changed since it was read (epoch {record.epoch})")
        self.record = replace(changed, epoch=record.epoch + 1)
        return self.record
