"""The audit trail and the outbox of notices: an event's row and its notice are written in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.engine import Connection

from failsafe.events import NAMES, ROUTINE, Event
from failsafe.model import Notice, Severity
from failsafe.store.engine import Store
from failsafe.store.schema import INSTANT_FORMAT, event, notice

EVENTS_KEPT = timedelta(days=730)
ROUTINE_KEPT = timedelta(days=90)  # a backup each minute is half a million events a year
FIRST_RETRY = timedelta(minutes=1)
LONGEST_RETRY = timedelta(hours=6)
ATTEMPTS = 40  # about a week at the longest interval


@dataclass(frozen=True, slots=True)
class PendingNotice:
    id: int
    notice: Notice
    attempts: int
    created_at: datetime


def write_event(connection: Connection, happened: Event) -> None:
    """Inside the caller's transaction, so that what happened and its record cannot part."""
    assert happened.name in NAMES, f"undocumented event {happened.name}"
    row = {
        "at": happened.at,
        "name": happened.name,
        "subject": happened.subject,
        "text": happened.text,
        "details": happened.details,
    }
    connection.execute(insert(event).values(row))
    if happened.notice is not None:
        connection.execute(
            insert(notice).values(
                created_at=happened.at,
                thread=happened.notice.thread,
                notice=_to_json(replace(happened.notice, event=happened.name)),
                next_attempt_at=happened.at,
                attempts=0,
                error="",
            )
        )


class EventStore:
    """Reads and writes events; hands out notices that wait to be sent."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(self, happened: Event) -> None:
        with self._store.begin() as connection:
            write_event(connection, happened)

    def change_details(self, subject: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Details of what happened to a subject, where they must not say something any more; names, times and sentences stay."""
        with self._store.begin() as connection:
            for row in connection.execute(select(event.c.id, event.c.details).where(event.c.subject == subject)).all():
                if (changed := change(row.details)) != row.details:
                    connection.execute(update(event).where(event.c.id == row.id).values(details=changed))

    def since(self, at: datetime | None = None, *, after_id: int = 0, limit: int = 10_000) -> list[tuple[int, Event]]:
        """Oldest first; with the row's number, so that a follower can ask for what came later."""
        query = select(event).where(event.c.id > after_id).order_by(event.c.id.desc()).limit(limit)
        if at is not None:
            query = query.where(event.c.at >= at)
        with self._store.read() as connection:
            rows = connection.execute(query).all()
        return [(row.id, Event(row.name, row.subject, row.text, row.at, row.details)) for row in reversed(rows)]

    def last(self, name: str, subject: str) -> Event | None:
        return self.newest((name,), subject)

    def newest(self, names: Collection[str], subject: str) -> Event | None:
        """The last of several kinds."""
        query = select(event).where(event.c.name.in_(names), event.c.subject == subject).order_by(event.c.id.desc()).limit(1)
        with self._store.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else Event(row.name, row.subject, row.text, row.at, row.details)

    def pending_notices(self, now: datetime, limit: int = 100) -> Sequence[PendingNotice]:
        """What is to be told now; also what waits for longer than it ever should: the clock was wrong when it was tried."""
        waits = notice.c.next_attempt_at.between(now + timedelta(microseconds=1), now + LONGEST_RETRY)
        due = or_(notice.c.next_attempt_at.is_(None), ~waits)
        query = (
            select(notice)
            .where(notice.c.delivered_at.is_(None), notice.c.attempts < ATTEMPTS, due)
            .order_by(notice.c.id)
            .limit(limit)
        )
        with self._store.read() as connection:
            return [
                PendingNotice(row.id, _from_json(row.notice), row.attempts, row.created_at) for row in connection.execute(query)
            ]

    def notice_delivered(self, number: int, now: datetime) -> None:
        with self._store.begin() as connection:
            connection.execute(update(notice).where(notice.c.id == number).values(delivered_at=now, error=""))
            given_up = notice.c.delivered_at.is_(None) & (notice.c.attempts >= ATTEMPTS)
            connection.execute(update(notice).where(given_up).values(attempts=0, next_attempt_at=now))  # there is a way out again

    def try_again(self, now: datetime) -> None:
        """Whatever waits is due at once: somebody has seen a message arrive."""
        with self._store.begin() as connection:
            connection.execute(update(notice).where(notice.c.delivered_at.is_(None)).values(attempts=0, next_attempt_at=now))

    def notice_failed(self, pending: PendingNotice, error: str, now: datetime) -> None:
        """Tried again later, at growing intervals; a notice is never dropped silently before ATTEMPTS."""
        wait = min(FIRST_RETRY * 2**pending.attempts, LONGEST_RETRY)
        with self._store.begin() as connection:
            connection.execute(
                update(notice)
                .where(notice.c.id == pending.id)
                .values(attempts=pending.attempts + 1, next_attempt_at=now + wait, error=error)
            )

    def undelivered(self) -> int:
        with self._store.read() as connection:
            return connection.execute(
                select(func.count()).select_from(notice).where(notice.c.delivered_at.is_(None))
            ).scalar_one()

    def tidy(self, now: datetime) -> None:
        with self._store.begin() as connection:
            routine = event.c.name.in_(ROUTINE) & (event.c.at < now - ROUTINE_KEPT)
            connection.execute(delete(event).where(or_(event.c.at < now - EVENTS_KEPT, routine)))
            connection.execute(delete(notice).where(notice.c.delivered_at < now - EVENTS_KEPT))


def _to_json(told: Notice) -> dict[str, Any]:
    values = asdict(told)
    values["since"] = None if told.since is None else told.since.strftime(INSTANT_FORMAT)
    return values


def _from_json(values: dict[str, Any]) -> Notice:
    since = values.pop("since")
    from datetime import UTC

    at = None if since is None else datetime.strptime(since, INSTANT_FORMAT).replace(tzinfo=UTC)
    return Notice(**{**values, "severity": Severity(values["severity"]), "since": at})


def follow(events: EventStore, after_id: int) -> Iterator[tuple[int, Event]]:
    """What came after row `after_id`, once."""
    yield from events.since(after_id=after_id)
