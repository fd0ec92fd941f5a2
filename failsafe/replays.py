"""Replays put together from the configuration and the history: one domain's recorded evidence, with its own thresholds and with others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any

from failsafe.app import App
from failsafe.domains import Domains
from failsafe.failover.facts import Policy
from failsafe.failover.health import STALE_AFTER_INTERVALS
from failsafe.failover.recording import FALSE, MEANING, REAL, UNPROVEN, Coverage, Recording, judge_coverage
from failsafe.failover.replay import Replay, ReplayedFlip, replay
from failsafe.model import Axis
from failsafe.store.history import FLUSH_EVERY, KEPT

GAPS_TOLD = 10


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What to try: every combination of these; what is left out is as configured."""

    down_for: tuple[timedelta, ...] = ()
    up_for: tuple[timedelta, ...] = ()
    quorum: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Replayed:
    """One domain. The first row is as configured."""

    domain: str
    recording: Recording
    coverage: tuple[Coverage, ...]
    rows: tuple[Replay, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "domain": self.domain,
            "since": _instant(self.recording.since),
            "until": _instant(self.recording.until),
            "coverage": [_coverage_json(each) for each in self.coverage],
            "rows": [_row_json(row, configured=place == 0) for place, row in enumerate(self.rows)],
            "notes": list(self.notes),
        }


def replay_domain(app: App, domain: str, since: datetime, until: datetime, wanted: Thresholds) -> Replayed:
    """Raises UsageError for a domain that is not configured, StoreError."""
    policy = Domains(app, None, until).policy(domain)
    recording, notes = _recorded(app, policy, since, until)
    policy = replace(policy, vantages=max(policy.vantages, len(recording.vantages)))
    rows = [replay(recording, each) for each in _policies(policy, wanted)] if recording.runs else []
    for row in rows:
        if row.policy.vantages < row.policy.quorum:
            notes.append(
                f"with a quorum of {row.policy.quorum} nothing flips by itself: {row.policy.vantages} vantage(s) looked; a person would have been asked"
            )
        if row.cut_short:
            notes.append(f"the replay with down_for {row.policy.down_for} was cut short: the evidence never holds still")
    return Replayed(domain, recording, judge_coverage(recording, policy.probe_every), tuple(rows), tuple(dict.fromkeys(notes)))


def _recorded(app: App, policy: Policy, since: datetime, until: datetime) -> tuple[Recording, list[str]]:
    runs, cut = app.history.recorded(policy.server, Axis.INBOUND, since)
    runs = tuple(run for run in runs if run.first_at <= until)
    late = [run for run in runs if run.last_at >= since]
    notes = []
    if not late:
        return Recording(policy.server, (), (), since, until), ["nothing was recorded in this time"]
    first, newest = min(run.first_at for run in late), max(run.last_at for run in late)
    if first > since:
        notes.append(f"nothing was recorded before {_instant(first)} (evidence is kept for {KEPT.days} days)")
    if cut:
        notes.append("more was recorded than is read: the oldest of it was left out")
    if (
        until - newest < FLUSH_EVERY + policy.probe_every * STALE_AFTER_INTERVALS
    ):  # the daemon writes what stays the same this often
        until = min(until, newest)
    lines = tuple(line for line in app.history.lines(max(since, first)) if line.first_at <= until)
    if not lines:
        notes.append("our own line was not recorded ([own_line] references): as in life, nothing flips by itself")
    return Recording(policy.server, runs, lines, max(since, first), until, cut), notes


def _policies(policy: Policy, wanted: Thresholds) -> Iterable[Policy]:
    """As configured first, then each combination once."""
    tried = [policy]
    for down_for, up_for, quorum in product(
        wanted.down_for or (policy.down_for,), wanted.up_for or (policy.up_for,), wanted.quorum or (policy.quorum,)
    ):
        each = replace(policy, down_for=down_for, up_for=up_for, quorum=quorum)
        if each not in tried:
            tried.append(each)
    return tried


def explain(rows: Sequence[Replay]) -> tuple[str, ...]:
    """What the words of the table mean, where they are needed."""
    return MEANING if any(row.flips for row in rows) else ()


def _row_json(row: Replay, *, configured: bool) -> dict[str, Any]:
    policy = row.policy
    return {
        "configured": configured,
        "down_for_seconds": int(policy.down_for.total_seconds()),
        "up_for_seconds": int(policy.up_for.total_seconds()),
        "quorum": policy.quorum,
        "vantages": policy.vantages,
        "flips": len(row.flips),
        FALSE: row.count(FALSE),
        UNPROVEN: row.count(UNPROVEN),
        REAL: row.count(REAL),
        "asked": row.asked,
        "blocked": row.blocked,
        "blips": row.blips,
        "at_secondary_seconds": int(row.at_secondary.total_seconds()),
        "each": [_flip_json(flip) for flip in row.flips],
    }


def _flip_json(flip: ReplayedFlip) -> dict[str, Any]:
    return {
        "at": _instant(flip.at),
        "outage_since": _instant(flip.since),
        "back_at": None if flip.back_at is None else _instant(flip.back_at),
        "verdict": flip.verdict,
        "why": flip.why,
        "said": list(flip.said),
    }


def _coverage_json(each: Coverage) -> dict[str, Any]:
    gaps = [{"from": _instant(begin), "to": _instant(end)} for begin, end in each.gaps[:GAPS_TOLD]]
    return {
        "vantage": each.vantage,
        "known_percent": round(100 * each.known, 2),
        "unknown_percent": round(100 * each.unknown, 2),
        "gaps": gaps,
        "more_gaps": max(0, len(each.gaps) - GAPS_TOLD),
    }


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
