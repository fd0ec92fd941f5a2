"""Evidence over time, run-length: one row while a vantage keeps seeing the same, so that an idle NAS disk can sleep.

A row is extended in memory and written when the class changes, or at most every FLUSH_EVERY. While something is wrong, and for the first FRESH_TROUBLE of
it, every look is written: a crash in the middle of an outage must not restart the clock of `down_for`. A crash at any other time loses at most the unwritten
tail. One process writes (the one that holds the daemon's lock); others read, and allow for FLUSH_EVERY (`JudgePolicy.slack`). Of two controllers with one
database the leader alone writes: the other one's "here" is another place, and what it sees stays in its memory until it leads.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Table, delete, func, insert, select, update
from sqlalchemy.engine import Connection, RowMapping

from failsafe.failover.delivery import CANARY
from failsafe.failover.health import ACCEPTING, FAILING, STALE_AFTER_INTERVALS, EvidenceRun
from failsafe.failover.recording import LineRun
from failsafe.model import Axis, Evidence, OwnLine, ProbeClass, Sign
from failsafe.store.engine import Store
from failsafe.store.schema import evidence as evidence_table
from failsafe.store.schema import own_line as own_line_table

FLUSH_EVERY = timedelta(minutes=10)
FRESH_TROUBLE = timedelta(hours=2)
KEPT = timedelta(days=180)  # what `replay` can look back at
TRANSCRIPTS_KEPT = timedelta(days=14)
ROWS_KEPT = 20_000  # a bound for evidence that never stays the same; about 10 MB
RUNS_READ = 500  # for each vantage and axis; far more than any `up_for`
WAITING_RUNS = 200  # finished runs that wait for the next write

Key = tuple[str, str, Axis]


@dataclass(slots=True)
class _Open:
    """The run that is being extended. `id` None: not in the database yet."""

    run: EvidenceRun
    id: int | None
    dirty: bool


@dataclass(slots=True)
class _OpenLine:
    line: OwnLine
    first_at: datetime
    count: int
    id: int | None
    dirty: bool


class HistoryStore:
    """Records and reads evidence and own-line checks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.RLock()  # one thread records while another one judges
        self._open: dict[Key, _Open] = {}
        self._waiting: list[_Open] = []  # ended, not written yet
        self._line: _OpenLine | None = None
        self._line_loaded = False
        self._waiting_lines: list[_OpenLine] = []
        self._flushed_at: datetime | None = None
        self.following = False  # another controller leads

    # -- writing ---------------------------------------------------------------------------------------------------------

    def record(self, seen: Evidence, interval: timedelta) -> bool:
        """Adds one look; `interval` is the time between probes. True where the class is not that of the look before."""
        with self._lock:
            return self._record(seen, interval)

    def _record(self, seen: Evidence, interval: timedelta) -> bool:
        key = (seen.server, seen.vantage, seen.axis)
        before = self._open.get(key) or self._load(key)
        changed = before is None or before.run.evidence.seen is not seen.seen
        if before is not None and _continues(before.run, seen, interval * STALE_AFTER_INTERVALS):
            run = EvidenceRun(seen, before.run.first_at, seen.at, before.run.count + 1)
            self._open[key] = _Open(run, before.id, dirty=True)
        else:
            self._finish(before)
            self._open[key] = _Open(EvidenceRun.of(seen), None, dirty=True)
        if changed or self._urgent(self._open[key].run) or self._overdue(seen.at):
            self.flush(seen.at)
        return changed

    def record_line(self, line: OwnLine) -> bool:
        """Adds one check of our own line. True where it went down or came back."""
        with self._lock:
            return self._record_line(line)

    def _record_line(self, line: OwnLine) -> bool:
        before = self._line or self._load_line()
        changed = before is not None and before.line.up is not line.up
        if before is not None and not changed and line.at >= before.line.at:
            self._line = _OpenLine(line, before.first_at, before.count + 1, before.id, dirty=True)
        else:
            if before is not None and before.dirty:
                self._waiting_lines = [*self._waiting_lines, before][-WAITING_RUNS:]
            self._line = _OpenLine(line, line.at, 1, None, dirty=True)
        if changed or before is None or self._overdue(line.at):
            self.flush(line.at)
        return changed

    def flush(self, now: datetime) -> None:
        """Writes what is only in memory, in one transaction; call it before the process ends. A failed write keeps it in memory."""
        with self._lock:
            self._flush(now)

    def _flush(self, now: datetime) -> None:
        if self.following:
            return
        dirty = [held for held in self._open.values() if held.dirty]
        line = self._line if self._line is not None and self._line.dirty else None
        if not (dirty or line or self._waiting or self._waiting_lines):
            return
        runs = [*self._waiting, *dirty]
        lines = [*self._waiting_lines, *([line] if line is not None else [])]
        with self._store.begin() as connection:
            run_numbers = [_write(connection, evidence_table, each.id, _row(each.run)) for each in runs]
            line_numbers = [_write(connection, own_line_table, each.id, _line_row(each)) for each in lines]
        for held, number in zip(runs, run_numbers, strict=True):
            held.id, held.dirty = number, False
        for held_line, number in zip(lines, line_numbers, strict=True):
            held_line.id, held_line.dirty = number, False
        self._waiting, self._waiting_lines, self._flushed_at = [], [], now

    def tidy(self, now: datetime) -> None:
        """Bounds what is kept, once a day. The newest run that says up of each vantage, axis and target stays: it is what makes a witness."""
        table = evidence_table
        columns = (table.c.server, table.c.vantage, table.c.axis)
        accepting = table.c.seen.in_([str(seen) for seen in ACCEPTING])
        witnesses = select(func.max(table.c.id)).where(accepting).group_by(*columns, table.c.target)
        newest = select(func.max(table.c.id)).group_by(*columns)
        with self._store.begin() as connection:
            oldest_kept = (
                connection.execute(select(table.c.id).order_by(table.c.id.desc()).offset(ROWS_KEPT).limit(1)).scalar() or 0
            )
            old = (table.c.last_at < now - KEPT) | (table.c.id <= oldest_kept)
            connection.execute(delete(table).where(old, table.c.id.not_in(witnesses), table.c.id.not_in(newest)))
            connection.execute(
                update(table).where(table.c.last_at < now - TRANSCRIPTS_KEPT, table.c.transcript != "").values(transcript="")
            )
            connection.execute(delete(own_line_table).where(own_line_table.c.last_at < now - KEPT))

    # -- reading ---------------------------------------------------------------------------------------------------------

    def runs(self, server: str, *, since: datetime | None = None) -> tuple[EvidenceRun, ...]:
        """What was seen of one server, oldest first: for each vantage and axis the newest RUNS_READ runs (those that end after `since`, if given) and,
        for each target, the newest one that says up, however old. What is still only in memory is included."""
        with self._lock:
            return self._runs(server, since)

    def _runs(self, server: str, since: datetime | None) -> tuple[EvidenceRun, ...]:
        table = evidence_table
        rows: dict[int, EvidenceRun] = {}
        with self._store.read() as connection:
            for vantage, axis in connection.execute(
                select(table.c.vantage, table.c.axis).where(table.c.server == server).distinct()
            ).all():
                mine = (table.c.server == server) & (table.c.vantage == vantage) & (table.c.axis == axis)
                query = select(table).where(mine).order_by(table.c.id.desc()).limit(RUNS_READ)
                if since is not None:
                    query = query.where(table.c.last_at >= since)
                rows |= {row["id"]: _run(row) for row in connection.execute(query).mappings()}
                up = mine & table.c.seen.in_([str(seen) for seen in ACCEPTING])
                proofs = select(table).where(table.c.id.in_(select(func.max(table.c.id)).where(up).group_by(table.c.target)))
                rows |= {row["id"]: _run(row) for row in connection.execute(proofs).mappings()}
        held = [each for each in [*self._waiting, *self._open.values()] if each.dirty and each.run.evidence.server == server]
        overtaken = {each.id for each in held}
        stored = [rows[number] for number in sorted(rows) if number not in overtaken]
        return tuple(
            sorted(
                _since_the_clock_went_back([*stored, *(each.run for each in held)]), key=lambda run: (run.last_at, run.first_at)
            )
        )

    def recorded(self, server: str, axis: Axis, since: datetime) -> tuple[tuple[EvidenceRun, ...], bool]:
        """What is stored of one axis since then, by `first_at`, with what last said up before; and whether the oldest of it was left out (ROWS_KEPT)."""
        table = evidence_table
        mine = (table.c.server == server) & (table.c.axis == str(axis))
        up = mine & (table.c.last_at < since) & table.c.seen.in_([str(seen) for seen in ACCEPTING])
        earlier = select(func.max(table.c.id)).where(up).group_by(table.c.vantage, table.c.target)
        query = select(table).where(mine, table.c.last_at >= since).order_by(table.c.id.desc()).limit(ROWS_KEPT)
        with self._store.read() as connection:
            late = [_run(row) for row in connection.execute(query).mappings()][::-1]
            witnesses = [
                _run(row)
                for row in connection.execute(select(table).where(table.c.id.in_(earlier)).order_by(table.c.id)).mappings()
            ]
        runs = sorted(_since_the_clock_went_back([*witnesses, *late]), key=lambda run: (run.first_at, run.last_at))
        return tuple(runs), len(late) == ROWS_KEPT

    def lines(self, since: datetime) -> tuple[LineRun, ...]:
        """Our own line since then, oldest first."""
        table = own_line_table
        query = select(table).where(table.c.last_at >= since).order_by(table.c.id.desc()).limit(ROWS_KEPT)
        with self._store.read() as connection:
            rows = connection.execute(query).mappings().all()
        runs = (LineRun(row["up"], row["answered"], row["asked"], row["first_at"], row["last_at"]) for row in rows)
        return tuple(sorted(runs, key=lambda run: run.first_at))

    def newest(self, server: str, vantage: str, axis: Axis) -> tuple[EvidenceRun, ...]:
        """The newest run of one vantage and axis, alone; empty where there is none. Asks the database once, then knows it."""
        with self._lock:
            key = (server, vantage, axis)
            held = self._open.get(key)
            if held is None and (held := self._load(key)) is not None:
                self._open[key] = held
        return () if held is None else (held.run,)

    def recent(self, server: str, vantage: str, axis: Axis, since: datetime) -> tuple[EvidenceRun, ...]:
        """The runs of one vantage and axis that ended since then, oldest first."""
        return tuple(
            run
            for run in self.runs(server, since=since)
            if (run.evidence.vantage, run.evidence.axis) == (vantage, axis) and run.last_at >= since
        )

    def last_line(self) -> OwnLine | None:
        """The newest check of our own line."""
        with self._lock:
            found = self._line or self._load_line()
        return None if found is None else found.line

    # -- inside ----------------------------------------------------------------------------------------------------------

    def _finish(self, held: _Open | None) -> None:
        if held is not None and held.dirty:
            self._waiting = [*self._waiting, held][-WAITING_RUNS:]

    def _overdue(self, at: datetime) -> bool:
        if self._flushed_at is None or at < self._flushed_at:
            self._flushed_at = at  # the first look since the start, or the clock went back
            return False
        return at - self._flushed_at >= FLUSH_EVERY

    @staticmethod
    def _urgent(run: EvidenceRun) -> bool:
        return run.evidence.seen in FAILING and run.last_at - run.first_at <= FRESH_TROUBLE

    def _load(self, key: Key) -> _Open | None:
        server, vantage, axis = key
        table = evidence_table
        mine = (table.c.server == server) & (table.c.vantage == vantage) & (table.c.axis == str(axis))
        with self._store.read() as connection:
            row = connection.execute(select(table).where(mine).order_by(table.c.id.desc()).limit(1)).mappings().first()
        return None if row is None else _Open(_run(row), row["id"], dirty=False)

    def _load_line(self) -> _OpenLine | None:
        if self._line_loaded:
            return None
        self._line_loaded = True
        with self._store.read() as connection:
            row = connection.execute(select(own_line_table).order_by(own_line_table.c.id.desc()).limit(1)).mappings().first()
        if row is not None:
            line = OwnLine(row["last_at"], row["answered"], row["asked"])
            self._line = _OpenLine(line, row["first_at"], row["count"], row["id"], dirty=False)
        return self._line


# Numbers that count something down ("greylisted for 287 seconds") would make every look a new row.
_COUNTDOWN = re.compile(r"\d+([.,]\d+)?(?=\s*(s|secs?|seconds?|m|mins?|minutes?|h|hours?)\b)", re.IGNORECASE)


def _continues(run: EvidenceRun, seen: Evidence, longest_gap: timedelta) -> bool:
    """Whether a look is more of the same: class, signs, target and words are equal and nothing could have happened unseen in between."""
    before = run.evidence
    same = (
        before.seen is seen.seen
        and before.signs == seen.signs
        and before.target == seen.target
        and _COUNTDOWN.sub("#", before.text) == _COUNTDOWN.sub("#", seen.text)
    )
    return same and timedelta(0) <= seen.at - run.last_at <= longest_gap


def _since_the_clock_went_back(recorded: list[EvidenceRun]) -> list[EvidenceRun]:
    """Of runs in the order in which they were recorded: what was seen before a jump back cannot be put in line with what came after it.

    Runs that say up are kept, at the latest from the moment of the jump: they only make a witness, or end an outage. So is a canary that was lost: where
    it was the last one at the primary, nobody goes home before another has arrived there.
    """
    earliest: dict[Key, datetime] = {}  # of what was recorded later
    lost: set[Key] = set()
    kept: list[EvidenceRun] = []
    for run in reversed(recorded):
        seen = run.evidence
        key = (seen.server, seen.vantage, seen.axis)
        cut = earliest.get(key, run.last_at)
        if run.last_at > cut:
            lost.add(key)
        earliest[key] = min(run.first_at, cut)
        if key not in lost:
            kept.append(run)
        elif seen.seen in ACCEPTING or (seen.vantage == CANARY and seen.seen is ProbeClass.DOWN):
            kept.append(replace(run, first_at=min(run.first_at, cut), last_at=min(run.last_at, cut)))
    return kept[::-1]


def _write(connection: Connection, table: Table, number: int | None, values: Mapping[str, Any]) -> int:
    if number is not None:
        connection.execute(update(table).where(table.c.id == number).values(**values))
        return number
    key = connection.execute(insert(table).values(**values)).inserted_primary_key
    assert key is not None
    return int(key[0])


def _row(run: EvidenceRun) -> dict[str, Any]:
    seen = run.evidence
    return {
        "server": seen.server, "vantage": seen.vantage, "axis": str(seen.axis), "seen": str(seen.seen), "target": seen.target, "text": seen.text,
        "transcript": seen.transcript, "seconds": seen.seconds, "signs": " ".join(sorted(seen.signs)), "tls_fault": seen.tls_fault,
        "first_at": run.first_at, "last_at": run.last_at, "count": run.count,
    }  # fmt: skip


def _run(row: RowMapping) -> EvidenceRun:
    seen = Evidence(
        row["server"],
        row["vantage"],
        Axis(row["axis"]),
        ProbeClass(row["seen"]),
        row["last_at"],
        row["text"],
        row["target"],
        row["seconds"],
        row["transcript"],
        frozenset(map(Sign, row["signs"].split())),
        row["tls_fault"],
    )
    return EvidenceRun(seen, row["first_at"], row["last_at"], row["count"])


def _line_row(held: _OpenLine) -> dict[str, Any]:
    line = held.line
    return {
        "up": line.up,
        "answered": line.answered,
        "asked": line.asked,
        "first_at": held.first_at,
        "last_at": line.at,
        "count": held.count,
    }
