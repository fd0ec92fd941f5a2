"""What one database hands to another: rows as plain JSON values, the same from SQLite and from PostgreSQL.

Only what a new machine cannot find out by itself: the journal of flips, the states of domains, ids of repositories, when work was last done,
and the newest events and evidence. Everything is bounded. No secret is in the database, so none is in here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, func, insert, select, text
from sqlalchemy.engine import Connection, RowMapping

from failsafe.errors import StoreError
from failsafe.events import ROUTINE
from failsafe.store.earlier import with_signs
from failsafe.store.engine import Store
from failsafe.store.schema import (
    INSTANT_FORMAT,
    Instant,
    backup_run,
    domain_state,
    drill_run,
    duty,
    event,
    evidence,
    homecoming,
    intent,
    lease,
    own_line,
    repository_state,
)

TABLES = {
    table.name: table
    for table in (domain_state, intent, event, evidence, own_line, duty, backup_run, repository_state, drill_run, homecoming)
}  # in the order in which they are written
INTENTS, DRILLS = 200, 100  # newest plans; newest drills of all repositories
SPAN = 1000  # numbers are let go by whole spans, so that files of them (backup/own_files.py) never change
# Whole spans before the present one: of events, of evidence, of checks of our own line, of the ledger of homecomings (older mail is known again
# at the primary, by looking).
EVENTS, RUNS, CHECKS, HOMECOMINGS = 3, 1, 0, 20
DETAILS = 400  # characters of an event's details; longer ones are left out, its sentence says what happened
REPORT = ("messages", "result", "generation")  # of a backup's report
# Of these a new machine must know when they were last done; it looks at all others anew.
DUTIES = frozenset({"backup", "snapshot", "check", "forget", "prune", "drill", "homecoming-seen"})

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pulse:
    """Enough to tell whether something happened. `pressing`: flips, holds, a domain that waits for a person. `news`: everything out of the ordinary."""

    pressing: tuple[object, ...]
    news: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Holdings:
    """Rows as JSON objects, each with its `table`. `present` is what changes in place, the others are only added to, in order of `id`."""

    present: tuple[Row, ...]
    intents: tuple[Row, ...]
    drills: tuple[Row, ...]
    events: tuple[Row, ...]
    evidence: tuple[Row, ...]  # runs that have ended; those that go on are in `present`
    lines: tuple[Row, ...]
    homecomings: tuple[Row, ...]
    last: Mapping[str, int]  # table -> its newest number


def read_pulse(store: Store) -> Pulse:
    """A few short questions, for every backup."""
    with store.read() as connection:
        plans = connection.execute(select(intent.c.id, intent.c.outcome).order_by(intent.c.id.desc()).limit(INTENTS)).all()
        domains = [_standing(row) for row in connection.execute(select(domain_state).order_by(domain_state.c.domain)).mappings()]
        newest = connection.execute(select(func.max(event.c.id)).where(event.c.name.not_in(ROUTINE))).scalar()
        known = connection.execute(
            select(repository_state.c.repository, repository_state.c.restic_id).order_by(repository_state.c.repository)
        ).all()
    return Pulse((*map(list, plans), *filter(None, domains)), (newest, *map(list, known)))


def _standing(row: RowMapping) -> list[object]:
    """What is lasting about a domain; empty for one at peace, with or without blips."""
    details = row["details"] or {}
    held, away = row["held_until"], row["serving"] != "primary"
    moved = [row["previous_mx"], details.get("written")] if away else []
    halted = row["state"] == "halted"
    if not (away or halted or held or details.get("taken_over_at")):
        return []
    return [row["domain"], row["serving"], halted, _out(held), details.get("taken_over_at"), *moved]


def read_holdings(store: Store) -> Holdings:
    with store.read() as connection:
        going_on = _going_on(connection)
        held = connection.execute(select(func.max(lease.c.epoch))).scalar()
        duties = [row for row in _rows(connection, duty) if row["name"].partition(":")[0] in DUTIES]
        present = [
            {"table": "lease", "epoch": held or 0},
            *_pulls(duties),
            *_rows(connection, domain_state),
            *_rows(connection, repository_state),
            *map(_short_duty, duties),
            *(_short_run(row) for row in _rows(connection, backup_run, backup_run.c.id.in_(_newest_runs(connection)))),
            *_rows(connection, evidence, evidence.c.id.in_(going_on)),
            *_rows(connection, own_line, own_line.c.id == _last(connection, own_line)),
        ]
        unfinished = intent.c.outcome.is_(None) | (intent.c.id > _last(connection, intent) - INTENTS)
        return Holdings(
            tuple(_without_transcript(row) for row in present),
            tuple(_rows(connection, intent, unfinished)),
            tuple(_rows(connection, drill_run, drill_run.c.id > _last(connection, drill_run) - DRILLS)),
            tuple(_short_event(row) for row in _rows(connection, event, _kept(connection, event, EVENTS))),
            tuple(
                _without_transcript(row)
                for row in _rows(connection, evidence, _kept(connection, evidence, RUNS), evidence.c.id.not_in(going_on))
            ),
            tuple(_rows(connection, own_line, _kept(connection, own_line, CHECKS), own_line.c.id < _last(connection, own_line))),
            tuple(_rows(connection, homecoming, _kept(connection, homecoming, HOMECOMINGS))),
            {table.name: _last(connection, table) for table in (event, evidence, own_line, homecoming)},
        )


def _kept(connection: Connection, table: Table, spans: int) -> ColumnElement[bool]:
    return table.c.id >= (_last(connection, table) // SPAN - spans) * SPAN


def _last(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.max(table.c.id))).scalar() or 0)


def _going_on(connection: Connection) -> list[int]:
    """The newest run of each vantage and axis: it is extended in place."""
    columns = (evidence.c.server, evidence.c.vantage, evidence.c.axis)
    return list(connection.execute(select(func.max(evidence.c.id)).group_by(*columns)).scalars())


def _newest_runs(connection: Connection) -> list[int]:
    """The last backup of each server, and the last good one."""
    newest = select(func.max(backup_run.c.id)).group_by(backup_run.c.server)
    return [*connection.execute(newest).scalars(), *connection.execute(newest.where(backup_run.c.result == "ok")).scalars()]


def _rows(connection: Connection, table: Table, *which: ColumnElement[bool]) -> list[Row]:
    order = table.c.id if "id" in table.c else next(iter(table.primary_key))
    found = connection.execute(select(table).where(*which).order_by(order)).mappings()
    return [{"table": table.name, **{key: _out(value) for key, value in row.items() if value is not None}} for row in found]


def _out(value: object) -> object:
    return value.astimezone(UTC).strftime(INSTANT_FORMAT) if isinstance(value, datetime) else value


def _is_under_way(row: Row) -> bool:
    return str(row.get("started_at", "")) > str(row.get("ended_at", ""))


def _pulls(duties: Iterable[Row]) -> Iterator[Row]:
    """Since when each server is being pulled: that of the generation which carries this is proven complete up to then."""
    for row in duties:
        kind, _, server = row["name"].partition(":")
        if kind == "backup" and _is_under_way(row):
            yield {"table": "pull", "server": server, "began_at": row["started_at"]}


def _short_duty(row: Row) -> Row:
    """One that is under way now will not be on another machine."""
    left_out = ("details", "started_at") if _is_under_way(row) else ("details",)
    return {key: value for key, value in row.items() if key not in left_out}


def _short_run(row: Row) -> Row:
    return {**row, "report": {key: row["report"][key] for key in REPORT if key in row["report"]}}


def _short_event(row: Row) -> Row:
    long = len(str(row["details"])) > DETAILS
    return {**row, "details": {"left_out": "too long to be carried along"} if long else row["details"]}


def _without_transcript(row: Row) -> Row:
    return {key: value for key, value in row.items() if key != "transcript"}


# -- the other way ---------------------------------------------------------------------------------------------------


def is_empty(store: Store) -> bool:
    """Whether no flip, no state of a domain and no repository was ever written here."""
    with store.read() as connection:
        tables = (domain_state, intent, repository_state)
        return not any(connection.execute(select(table).limit(1)).first() for table in tables)


def write_holdings(store: Store, rows: Iterable[Mapping[str, Any]]) -> int:
    """Into an empty database, numbers as they were, in one transaction; gives how many. Tables and columns that are not known here are passed over;
    evidence of earlier versions is read as they meant it.

    Raises StoreError where a row makes no sense; then nothing is written.
    """
    sorted_out: dict[str, dict[object, Row]] = {name: {} for name in TABLES}
    for row in rows:
        table = TABLES.get(str(row.get("table")))
        if table is not None:
            values = _values(table, with_signs(row) if table is evidence else row)
            key = next(iter(table.primary_key)).name
            sorted_out[table.name][values[key]] = values
    with store.begin() as connection:
        for name, found in sorted_out.items():
            if found:
                connection.execute(insert(TABLES[name]), list(found.values()))
                _count_on(connection, TABLES[name])
    return sum(map(len, sorted_out.values()))


def _values(table: Table, row: Mapping[str, Any]) -> Row:
    try:
        values = {column.name: _in(column.type, row.get(column.name)) for column in table.c}
    except (ValueError, TypeError) as error:
        raise StoreError(f"a row of {table.name} makes no sense: {error}", mend="take the journal of another snapshot") from error
    for name, empty in _EMPTY:
        if name in values and values[name] is None:
            values[name] = empty
    return values


_EMPTY: tuple[tuple[str, object], ...] = (
    ("details", {}),
    *((name, "") for name in ("result", "transcript", "target", "last_error", "last_result", "hold_reason", "outcome_text")),
)


def _in(kind: object, value: Any) -> Any:
    if value is None or not isinstance(kind, Instant):
        return value
    return datetime.strptime(value, INSTANT_FORMAT).replace(tzinfo=UTC)


def _count_on(connection: Connection, table: Table) -> None:
    """PostgreSQL numbers new rows by a counter of its own, which rows that came with their numbers do not move."""
    if connection.dialect.name == "postgresql" and "id" in table.c:
        question = "select setval(pg_get_serial_sequence(:table, 'id'), :last)"
        connection.execute(text(question), {"table": table.name, "last": _last(connection, table)})
