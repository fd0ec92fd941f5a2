"""The history of evidence in memory: the real store's own code decides what goes together and what is written when; only the tables are lists."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from failsafe.errors import StoreError
from failsafe.failover.delivery import CANARY
from failsafe.failover.health import ACCEPTING, FAILING, EvidenceRun
from failsafe.model import Axis, Evidence, OwnLine, ProbeClass
from failsafe.store.history import FRESH_TROUBLE, HistoryStore, _Open, _OpenLine, _since_the_clock_went_back

FLUSH_SECONDS = 600  # on whole ten minutes, so that a stretch that is skipped ends with the same rows as one that is not
RUNS_KEPT = 10  # of each vantage: what was seen before the newest "up" decides nothing


@dataclass
class Book:
    """The rows on a machine's disk: they outlive its processes."""

    rows: dict[int, EvidenceRun] = field(default_factory=dict)
    line: OwnLine | None = None
    next_id: int = 1
    unreachable: bool = False


class MemoryHistory(HistoryStore):
    """One process's history over a book."""

    def __init__(self, book: Book) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self._book = book
        self._slot: int | None = None

    def extend(self, seen: list[Evidence], line: OwnLine) -> None:
        """Many looks at once, of which each saw what the one before saw: the newest of each vantage."""
        for evidence in seen:
            key = (evidence.server, evidence.vantage, evidence.axis)
            before = self._open[key]
            run = EvidenceRun(evidence, before.run.first_at, evidence.at, before.run.count + 1)
            self._open[key] = _Open(run, before.id, dirty=True)
        if self._line is not None:
            self._line = _OpenLine(line, self._line.first_at, self._line.count + 1, self._line.id, dirty=True)

    def slot_begins(self, last: datetime) -> datetime | None:
        """The beginning of the slot of the last look, if it has one of its own: its first look writes everything."""
        slot, before = _slot_of(last), self._slot
        self._slot = slot
        return None if slot == before else datetime.fromtimestamp(slot * FLUSH_SECONDS, UTC)

    def urgent_until(self) -> dict[str, datetime]:
        """By vantage: until when each look is written at once, where it is fresh trouble."""
        return {
            key[1]: held.run.first_at + FRESH_TROUBLE for key, held in self._open.items() if held.run.evidence.seen in FAILING
        }

    def _overdue(self, at: datetime) -> bool:
        slot, before = _slot_of(at), self._slot
        self._slot = slot
        return before is not None and slot != before

    def _flush(self, now: datetime) -> None:  # noqa: ARG002 - as overridden
        book = self._book
        if book.unreachable:
            raise StoreError("the database failed")
        dirty = [held for held in self._open.values() if held.dirty]
        for held in [*self._waiting, *dirty]:
            if held.id is None:
                held.id, book.next_id = book.next_id, book.next_id + 1
                held.dirty = False
                book.rows[held.id] = held.run
                self._prune(held.run)
            book.rows[held.id], held.dirty = held.run, False
        if self._line is not None:
            book.line, self._line.dirty = self._line.line, False
        self._waiting, self._waiting_lines = [], []

    def _prune(self, newest: EvidenceRun) -> None:
        vantage, rows = newest.evidence.vantage, self._book.rows
        mine = [number for number, run in rows.items() if run.evidence.vantage == vantage]
        if len(mine) <= RUNS_KEPT:
            return
        witness = max((number for number in mine if rows[number].evidence.seen in ACCEPTING), default=0)
        told = max((number for number, run in rows.items() if _tells(run)), default=0)
        for number in mine[:-RUNS_KEPT]:
            if number not in (witness, told) and not (told and _meets(rows[number], rows[told])):
                del rows[number]

    def _runs(self, server: str, since: datetime | None) -> tuple[EvidenceRun, ...]:  # noqa: ARG002 - as overridden
        held = [each for each in [*self._waiting, *self._open.values()] if each.dirty]
        overtaken = {each.id for each in held}
        stored = [run for number, run in self._book.rows.items() if number not in overtaken]
        runs = _since_the_clock_went_back([*stored, *(each.run for each in held)])
        return tuple(sorted(runs, key=lambda run: (run.last_at, run.first_at)))

    def _load(self, key: tuple[str, str, Axis]) -> _Open | None:
        mine = [(number, run) for number, run in self._book.rows.items() if run.evidence.vantage == key[1]]
        return _Open(mine[-1][1], mine[-1][0], dirty=False) if mine else None

    def _load_line(self) -> _OpenLine | None:
        if self._line is None and self._book.line is not None:
            self._line = _OpenLine(self._book.line, self._book.line.at, 1, None, dirty=False)
        return self._line


def _tells(run: EvidenceRun) -> bool:
    """A canary that arrived at the primary, or did not: the last of them decides the way home, however long ago it was."""
    return run.evidence.vantage == CANARY and run.evidence.seen in (ProbeClass.UP, ProbeClass.DOWN)


def _meets(run: EvidenceRun, told: EvidenceRun) -> bool:
    return run.evidence.seen in ACCEPTING and run.first_at <= told.last_at and run.last_at >= told.first_at


def _slot_of(at: datetime) -> int:
    return int(at.timestamp()) // FLUSH_SECONDS
