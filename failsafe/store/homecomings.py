"""The ledger of homecomings in the controller's database: homecoming/ledger.py says what it is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, func, insert, select, update
from sqlalchemy.engine import Connection

from failsafe.homecoming.ledger import Counts, Entry, Key, State
from failsafe.store.engine import Store
from failsafe.store.schema import homecoming

ASKED_AT_ONCE = 500  # values in one question: SQLite takes 32,766, older ones 999
_OPEN = (State.INTENDED.value, State.WAITING.value)


class HomecomingStore:
    """homecoming.ledger.Ledger."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def known(self, domain: str, mailbox: str, messages: Sequence[str]) -> tuple[Entry, ...]:
        with self._store.read() as connection:
            return tuple(_known(connection, domain, mailbox, messages))

    def alike(self, domain: str, to_mailbox: str, contents: Sequence[str]) -> tuple[Entry, ...]:
        table = homecoming.c
        found: list[Entry] = []
        with self._store.read() as connection:
            for part in _parts(contents):
                which = (table.domain == domain, table.to_mailbox == to_mailbox, table.content.in_(part))
                found += map(_entry, connection.execute(select(homecoming).where(*which).order_by(table.id)))
        return tuple(found)

    def write(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        with self._store.begin() as connection:
            numbers = _numbers(connection, entries)
            new = [entry for entry in {entry.key: entry for entry in entries}.values() if entry.key not in numbers]
            if new:
                connection.execute(insert(homecoming), [_values(entry) for entry in new])
                numbers |= _numbers(connection, new)
            known = {entry.key for entry in entries} - {entry.key for entry in new}
            changed = [{**_values(entry), "row": numbers[entry.key]} for entry in entries if entry.key in known]
            if changed:
                connection.execute(update(homecoming).where(homecoming.c.id == bindparam("row")), changed)
        return tuple(replace(entry, number=numbers[entry.key]) for entry in entries)

    def waiting(self, domain: str, limit: int) -> tuple[Entry, ...]:
        table = homecoming.c
        query = select(homecoming).where(table.domain == domain, table.state.in_(_OPEN)).order_by(table.id).limit(limit)
        with self._store.read() as connection:
            return tuple(map(_entry, connection.execute(query)))

    def counts(self, domain: str, since: datetime | None = None) -> Counts:
        table = homecoming.c
        query = select(table.state, func.count()).where(table.domain == domain).group_by(table.state)
        if since is not None:
            query = query.where((table.settled_at >= since) | table.state.in_(_OPEN))
        with self._store.read() as connection:
            found = {str(state): int(count) for state, count in connection.execute(query)}
        waiting = sum(found.get(state, 0) for state in _OPEN)
        return Counts(found.get(State.HOME, 0), found.get(State.ALREADY_THERE, 0), waiting, found.get(State.LEFT, 0))

    def settled_before(self, domain: str, before: datetime, *, above: int, limit: int) -> tuple[Entry, ...]:
        table = homecoming.c
        which = (table.domain == domain, table.settled_at < before, table.id > above, table.state.not_in(_OPEN))
        with self._store.read() as connection:
            return tuple(map(_entry, connection.execute(select(homecoming).where(*which).order_by(table.id).limit(limit))))

    def drop(self, entries: Sequence[Entry]) -> None:
        table = homecoming.c
        with self._store.begin() as connection:
            for entry in entries:
                same = (table.id == entry.number, table.state == entry.state.value, table.settled_at == entry.at)
                connection.execute(delete(homecoming).where(*same))

    def forget(self, domain: str, covers: Callable[[str], bool]) -> int:
        gone = 0
        with self._store.begin() as connection:
            for column in (homecoming.c.mailbox, homecoming.c.to_mailbox):
                known = connection.execute(select(column).where(homecoming.c.domain == domain).distinct()).scalars().all()
                for name in known:
                    if name and covers(name):
                        mine = delete(homecoming).where(homecoming.c.domain == domain, column == name)
                        gone += connection.execute(mine).rowcount
        return gone


def _known(connection: Connection, domain: str, mailbox: str, messages: Sequence[str]) -> Iterator[Entry]:
    table = homecoming.c
    for part in _parts(messages):
        which = (table.domain == domain, table.message.in_(part), table.mailbox == mailbox)
        yield from map(_entry, connection.execute(select(homecoming).where(*which).order_by(table.id)))


def _numbers(connection: Connection, entries: Sequence[Entry]) -> dict[Key, int]:
    """Of those that have a row."""
    wanted: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        wanted.setdefault((entry.domain, entry.mailbox), []).append(entry.message)
    return {
        known.key: known.number
        for (domain, mailbox), messages in wanted.items()
        for known in _known(connection, domain, mailbox, messages)
    }


def _parts(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), ASKED_AT_ONCE):
        yield values[start : start + ASKED_AT_ONCE]


def _values(entry: Entry) -> dict[str, Any]:
    return {
        "domain": entry.domain,
        "mailbox": entry.mailbox,
        "folder": entry.folder,
        "message": entry.message,
        "message_id": entry.message_id,
        "content": entry.content,
        "internal_at": entry.internal_at,
        "to_mailbox": entry.to_mailbox,
        "to_folder": entry.to_folder,
        "sent": entry.sent,
        "state": entry.state.value,
        "why": entry.why,
        "uid_validity": entry.uid_validity,
        "uid": entry.uid,
        "intended_at": entry.intended_at,
        "settled_at": entry.at,
    }


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        domain=row.domain, mailbox=row.mailbox, folder=row.folder, message=row.message, internal_at=row.internal_at,
        state=State(row.state), at=row.settled_at, message_id=row.message_id, content=row.content, to_mailbox=row.to_mailbox,
        to_folder=row.to_folder, sent=row.sent, why=row.why, uid_validity=row.uid_validity, uid=row.uid,
        intended_at=row.intended_at, number=row.id,
    )  # fmt: skip
