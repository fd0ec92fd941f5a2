"""The journal of flips: the state of every domain and every plan ever begun, changed only by compare-and-set.

Each change is one transaction: the lease is demanded, the domain's row is updated where its epoch is still the one we read, the plan's row
and the events are written with it. A stale controller therefore stops at its next change, whatever it believes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection, Row
from sqlalchemy.exc import IntegrityError

from failsafe.errors import LeaseLost, Refused, StoreError
from failsafe.events import Event
from failsafe.failover.observed import observed_of_json, observed_to_json
from failsafe.model import DomainRecord, DomainState, FlipKind, Guard, Intent, MxSet, NewIntent, Outcome, Side
from failsafe.store.earlier import store_was_lost
from failsafe.store.engine import Store
from failsafe.store.events import write_event
from failsafe.store.lease import Lease, demand
from failsafe.store.schema import INSTANT_FORMAT, domain_state, intent

FLIPS_READ = 100  # newest plans looked at for dwell and budget


class Journal:
    """ports.FlipJournal in the shared database. Without a lease it can read only. `heard` is told of each event after its commit (the log)."""

    def __init__(self, store: Store, lease: Lease | None, heard: Callable[[Event], None] | None = None) -> None:
        self._store = store
        self._lease = lease
        self._heard = heard

    def load(self, domain: str, now: datetime) -> DomainRecord:
        with self._store.read() as connection:
            row = connection.execute(select(domain_state).where(domain_state.c.domain == domain)).first()
        return DomainRecord(domain, DomainState.NORMAL, now, Side.PRIMARY) if row is None else _to_record(row)

    def unfinished(self, domain: str) -> Intent | None:
        with self._store.read() as connection:
            row = connection.execute(select(intent).where(intent.c.domain == domain, intent.c.outcome.is_(None))).first()
        return None if row is None else _to_intent(row)

    def newest(self, domain: str) -> Intent | None:
        with self._store.read() as connection:
            row = connection.execute(
                select(intent).where(intent.c.domain == domain).order_by(intent.c.id.desc()).limit(1)
            ).first()
        return None if row is None else _to_intent(row)

    def flips(self, domain: str, since_at: datetime) -> tuple[Intent, ...]:
        kinds = (FlipKind.FAILOVER.value, FlipKind.FAILBACK.value)
        done = (
            intent.c.domain == domain,
            intent.c.kind.in_(kinds),
            intent.c.outcome == Outcome.DONE.value,
            intent.c.outcome_at >= since_at,
        )
        with self._store.read() as connection:
            rows = connection.execute(select(intent).where(*done).order_by(intent.c.id.desc()).limit(FLIPS_READ)).all()
        return tuple(_to_intent(row) for row in reversed(rows))

    def begin(
        self, record: DomainRecord, changed: DomainRecord, plan: NewIntent, events: Sequence[Event]
    ) -> tuple[DomainRecord, Intent]:
        with self._store.begin() as connection:
            self._demand(connection)
            kept = _swap(connection, record, changed, plan.planned_at)
            # The row of the domain is locked by the update above, so no second plan can slip in between this look and the insert.
            other = connection.execute(
                select(intent.c.id).where(intent.c.domain == plan.domain, intent.c.outcome.is_(None))
            ).first()
            if other is not None:
                guard = Guard("unfinished-intent", f"plan {other.id} of {plan.domain} is not finished")
                raise Refused(f"a plan for {plan.domain} is being carried out", [guard])
            values = {
                "domain": plan.domain,
                "epoch": kept.epoch,
                "kind": plan.kind.value,
                "by": plan.by,
                "reason": plan.reason,
                "planned_at": plan.planned_at,
                "deadline_at": plan.deadline_at,
                "before_mx": _set_to_json(plan.before),
                "desired_mx": _set_to_json(plan.desired),
                "digest": plan.digest,
                "outcome_text": "",
            }
            number = connection.execute(insert(intent).values(values).returning(intent.c.id)).scalar_one()
            _write(connection, events)
            row = connection.execute(select(intent).where(intent.c.id == number)).one()
        self._tell(events)
        return kept, _to_intent(row)

    def finish(
        self, record: DomainRecord, changed: DomainRecord, plan: Intent, outcome: Outcome, text: str, events: Sequence[Event]
    ) -> DomainRecord:
        at = events[0].at if events else changed.since_at
        with self._store.begin() as connection:
            self._demand(connection)
            kept = _swap(connection, record, changed, at)
            mine = update(intent).where(intent.c.id == plan.id, intent.c.outcome.is_(None))
            ended = connection.execute(mine.values(outcome=outcome.value, outcome_at=at, outcome_text=text))
            if ended.rowcount != 1:
                raise LeaseLost(f"plan {plan.id} of {plan.domain} was already ended by another")
            _write(connection, events)
        self._tell(events)
        return kept

    def change(self, record: DomainRecord, changed: DomainRecord, events: Sequence[Event]) -> DomainRecord:
        with self._store.begin() as connection:
            self._demand(connection)
            kept = _swap(connection, record, changed, events[0].at if events else changed.since_at)
            _write(connection, events)
        self._tell(events)
        return kept

    def _tell(self, events: Sequence[Event]) -> None:
        if self._heard is not None:
            for event in events:
                self._heard(event)

    def _demand(self, connection: Connection) -> None:
        if self._lease is None:
            raise LeaseLost("this program only looks; another one leads")
        demand(connection, self._lease)


def _swap(connection: Connection, record: DomainRecord, changed: DomainRecord, at: datetime) -> DomainRecord:
    """Writes `changed` over exactly `record`; gives it with its new epoch."""
    assert record.domain == changed.domain
    values = {**_from_record(changed), "epoch": record.epoch + 1, "changed_at": at}
    mine = update(domain_state).where(domain_state.c.domain == record.domain, domain_state.c.epoch == record.epoch)
    if connection.execute(mine.values(values)).rowcount == 0:
        _insert_first(connection, record, values)
    return replace(changed, epoch=record.epoch + 1)


def _insert_first(connection: Connection, record: DomainRecord, values: dict[str, Any]) -> None:
    lost = LeaseLost(f"{record.domain} was changed by another since it was read (epoch {record.epoch})")
    if record.epoch != 0:
        raise lost
    try:
        with connection.begin_nested():
            connection.execute(insert(domain_state).values(domain=record.domain, **values))
    except IntegrityError:
        raise lost from None


def _write(connection: Connection, events: Sequence[Event]) -> None:
    for event in events:
        write_event(connection, event)


def _from_record(record: DomainRecord) -> dict[str, Any]:
    details = {
        "reason": record.reason,
        "written": _set_to_json(record.written),
        "attempted": _set_to_json(record.attempted),
        "attempted_at": _instant_to_json(record.attempted_at),
        "suspected_at": _instant_to_json(record.suspected_at),
        "failures": record.failures,
        "retry_at": _instant_to_json(record.retry_at),
        "retried": record.retried,
        "accepted": record.accepted,
        "told": record.told,
        "bouncing": record.bouncing,
        "store_lost": record.store_lost,
        "taken_over_at": _instant_to_json(record.taken_over_at),
        "observed": [observed_to_json(flip) for flip in record.observed],
    }
    return {
        "state": record.state.value,
        "since_at": record.since_at,
        "serving": record.serving.value,
        "previous_mx": _set_to_json(record.previous),
        "held_until": record.held_until,
        "hold_reason": record.hold_reason,
        "draining_until": record.draining_until,
        "details": details,
    }


def _to_record(row: Row[Any]) -> DomainRecord:
    details = row.details
    try:
        return DomainRecord(
            domain=row.domain,
            state=DomainState(row.state),
            since_at=row.since_at,
            serving=Side(row.serving),
            epoch=row.epoch,
            previous=_set_from_json(row.previous_mx),
            held_until=row.held_until,
            hold_reason=row.hold_reason,
            draining_until=row.draining_until,
            reason=details.get("reason", ""),
            written=_set_from_json(details.get("written")),
            attempted=_set_from_json(details.get("attempted")),
            attempted_at=_instant_from_json(details.get("attempted_at")),
            suspected_at=_instant_from_json(details.get("suspected_at")),
            failures=details.get("failures", 0),
            retry_at=_instant_from_json(details.get("retry_at")),
            retried=details.get("retried"),
            accepted=details.get("accepted"),
            told=details.get("told", ""),
            bouncing=details.get("bouncing", False),
            store_lost=store_was_lost(details),
            taken_over_at=_instant_from_json(details.get("taken_over_at")),
            observed=tuple(observed_of_json(kept) for kept in details.get("observed", ())),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"the journal's row of {row.domain} makes no sense: {error}", mend="put back a copy of the database"
        ) from error


def _to_intent(row: Row[Any]) -> Intent:
    before, desired = _set_from_json(row.before_mx), _set_from_json(row.desired_mx)
    assert before is not None
    assert desired is not None
    return Intent(
        id=row.id,
        domain=row.domain,
        epoch=row.epoch,
        kind=FlipKind(row.kind),
        by=row.by,
        reason=row.reason,
        planned_at=row.planned_at,
        deadline_at=row.deadline_at,
        before=before,
        desired=desired,
        digest=row.digest,
        outcome=None if row.outcome is None else Outcome(row.outcome),
        outcome_at=row.outcome_at,
        outcome_text=row.outcome_text,
    )


def _set_to_json(found: MxSet | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"records": [[record.preference, record.exchange] for record in found.records], "ttl_seconds": found.ttl_seconds}


def _set_from_json(value: Any) -> MxSet | None:
    if value is None:
        return None
    return MxSet.of(
        *((int(preference), str(exchange)) for preference, exchange in value["records"]), ttl_seconds=value["ttl_seconds"]
    )


def _instant_to_json(at: datetime | None) -> str | None:
    return None if at is None else at.strftime(INSTANT_FORMAT)


def _instant_from_json(value: str | None) -> datetime | None:

    return None if value is None else datetime.strptime(value, INSTANT_FORMAT).replace(tzinfo=UTC)
