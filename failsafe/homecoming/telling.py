"""What people are told of homecomings: one notice when mail came home after an outage, one when something waits, one when nothing does any more.

A homecoming runs every few minutes while a domain drains; a notice for each run would be read by nobody. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from failsafe.events import Event
from failsafe.homecoming.ledger import Counts
from failsafe.homecoming.plan import Waits
from failsafe.model import Notice, Severity

WAITS_AGAIN = timedelta(days=1)  # what still waits is told once a day
MORE_WAITS = timedelta(hours=6)  # that more of it waits is told no more often
REASONS = 3  # that are told; `failsafe homecoming` names all


@dataclass(frozen=True, slots=True)
class Told:
    """What people know, and how it stood: kept between two runs, and shown by `status`."""

    counts: Counts = field(default_factory=Counts)
    reasons: Mapping[str, int] = field(default_factory=dict)  # why something waits -> how many
    outage: str = ""  # the end of the one whose mail was told to be home, ISO 8601
    waiting: int = 0  # so many were told to wait
    waiting_at: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "home": self.counts.home,
            "already_there": self.counts.already_there,
            "waiting": self.counts.waiting,
            "reasons": dict(self.reasons),
            "outage": self.outage,
            "told_waiting": self.waiting,
            "told_at": self.waiting_at,
        }

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Told:
        counts = Counts(*(int(details.get(name, 0)) for name in ("home", "already_there", "waiting")))
        told = int(details.get("told_waiting", 0)), str(details.get("told_at", ""))
        return cls(counts, dict(details.get("reasons") or {}), str(details.get("outage", "")), *told)


@dataclass(frozen=True, slots=True)
class Run:
    """How one run ended. `counts`: of the ledger since the outage began; `drained_until`: while a domain drains, until when."""

    domain: str
    at: datetime
    home: int
    counts: Counts
    waiting: Sequence[Waits]
    since: datetime | None  # the outage, or what is counted from
    drained_until: datetime | None


def tell(run: Run, before: Told) -> tuple[Told, tuple[Event, ...]]:
    """What is to be remembered, and what is to be recorded."""
    reasons = dict(Counter(each.why for each in run.waiting).most_common(20))
    outage = run.drained_until.isoformat() if run.drained_until is not None else ""
    told = Told(run.counts, reasons, before.outage, before.waiting, before.waiting_at)
    waits = len(run.waiting)
    if outage and outage != before.outage and (run.counts.home or run.counts.already_there or waits):
        return _knows(told, outage, waits, run.at), (_came_home(run, reasons),)
    if waits and _is_news(before, waits, run.at):
        return _knows(told, before.outage, waits, run.at), (
            *_done(run),
            _event(run, "homecoming.waiting", _waiting_notice(run, reasons)),
        )
    if not waits and before.waiting:
        notice = Notice(
            f"{run.domain}: nothing waits any more, all mail is home",
            "no",
            "where it went before",
            "nothing",
            run.since,
            f"homecoming/{run.domain}",
            Severity.OK,
            _sentence(run),
        )
        return _knows(told, before.outage, 0, run.at), (_event(run, "homecoming.done", notice),)
    return told, _done(run)


def _knows(told: Told, outage: str, waiting: int, at: datetime) -> Told:
    return Told(told.counts, told.reasons, outage, waiting, at.isoformat())


def _is_news(before: Told, waits: int, now: datetime) -> bool:
    if not before.waiting or not before.waiting_at:
        return True
    since = now - datetime.fromisoformat(before.waiting_at)
    return since >= WAITS_AGAIN or since < timedelta() or (waits > before.waiting and since >= MORE_WAITS)


def _done(run: Run) -> tuple[Event, ...]:
    return (_event(run, "homecoming.done", None),) if run.home else ()


def _event(run: Run, name: str, notice: Notice | None) -> Event:
    details: dict[str, object] = {
        "home": run.home,
        "since": {"home": run.counts.home, "already_there": run.counts.already_there},
        "waiting": len(run.waiting),
    }
    return Event(name, run.domain, _sentence(run), run.at, details, notice)


def _sentence(run: Run) -> str:
    counts = run.counts
    return f"{counts.home} message(s) came home, {counts.already_there} were already there, {len(run.waiting)} wait"


def _came_home(run: Run, reasons: Mapping[str, int]) -> Event:
    waits = len(run.waiting)
    notice = Notice(
        f"{run.domain}: mail of the outage is home" if not waits else f"{run.domain}: mail comes home, {waits} message(s) wait",
        "no" if not waits else "no: what waits is in the archive, and still at the secondary",
        "to the primary",
        "nothing" if not waits else f"see why they wait: failsafe homecoming {run.domain}",
        run.since,
        f"homecoming/{run.domain}",
        Severity.OK if not waits else Severity.WARN,
        "; ".join([_sentence(run), *_told_reasons(reasons)]),
    )
    return _event(run, "homecoming.done", notice)


def _waiting_notice(run: Run, reasons: Mapping[str, int]) -> Notice:
    return Notice(
        f"{run.domain}: {len(run.waiting)} message(s) of the secondary cannot come home yet",
        "no: they are in the archive, and still at the secondary",
        "where it went before",
        f"see why they wait: failsafe homecoming {run.domain}",
        run.since,
        f"homecoming/{run.domain}",
        Severity.WARN,
        "; ".join([_sentence(run), *_told_reasons(reasons)]),
    )


def _told_reasons(reasons: Mapping[str, int]) -> list[str]:
    shown = [f"{count}: {why}" for why, count in list(reasons.items())[:REASONS]]
    return [*shown, "…"] if len(reasons) > REASONS else shown
