"""Lost delivery: mail that the primary took and that did not arrive. Beside inbound mail the only thing that moves MX. Pure.

Its witnesses are the canary and the look from inside, which says lost only where the missing canary does not wait in the queue either. They need
the quorum as all evidence does, and one canary that arrives refutes them. A server that takes mail and loses it says up to every probe of its
way in, so while delivery is lost those say nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from failsafe.failover.facts import AGAINST, DomainFacts, View, votes_needed
from failsafe.failover.health import ACCEPTING, EvidenceRun, JudgePolicy, VantageView, judge
from failsafe.model import Axis, ProbeClass, Verdict

CANARY, INSIDE = "canary", "inside"  # vantages
INSIDE_ROUNDS = 5  # rounds of probes between two looks from inside: one SSH session in five minutes


def judge_witness(runs: Iterable[EvidenceRun], now: datetime, policy: JudgePolicy) -> VantageView | None:
    """The view of one of them. Mail that waits ("degraded") is safe, so it begins no time of loss, however long it has waited."""
    known = sorted(runs, key=lambda run: (run.last_at, run.first_at))
    view = judge((_without_waiting(run) for run in known), now, policy)
    if view is None or now - known[-1].last_at > policy.stale_after:
        return view
    return replace(view, degraded=known[-1].evidence.seen is ProbeClass.DEGRADED)


def _without_waiting(run: EvidenceRun) -> EvidenceRun:
    waits = run.evidence.seen is ProbeClass.DEGRADED
    return replace(run, evidence=replace(run.evidence, seen=ProbeClass.UNKNOWN)) if waits else run


def witnesses(views: Iterable[View]) -> tuple[View, ...]:
    """What counts of the views of delivery: an empty queue says nothing of mail that is gone."""
    return tuple(view for view in views if not (view.vantage == INSIDE and view.verdict is Verdict.UP and not view.degraded))


def lost_delivery(facts: DomainFacts) -> tuple[View, ...]:
    """Those that say that mail is lost there; none where they are fewer than the quorum, or one saw it arrive, or wait in the queue, where it is safe."""
    lost = tuple(view for view in facts.delivery if view.verdict in AGAINST and not view.degraded)
    safe = any(view.verdict is Verdict.UP or view.degraded for view in facts.delivery)
    return lost if len(lost) >= facts.policy.quorum and not safe and _is_looked_for_anew(lost) else ()


def _is_looked_for_anew(lost: tuple[View, ...]) -> bool:
    """Whether the mailbox was read since the queue was first seen without the missing canaries: what waited there may only just have arrived."""
    seen = {view.vantage: view for view in lost}
    if not seen.keys() >= {CANARY, INSIDE}:
        return True
    read_at, empty_at = seen[CANARY].last_at, seen[INSIDE].since_at
    return read_at is None or empty_at is None or read_at > empty_at


def delivery_decides(facts: DomainFacts) -> bool:
    """Whether mail is lost behind a way in that is not down itself. Where it is, canaries cannot arrive, and that says no more."""
    if not lost_delivery(facts):
        return False
    against = [view for view in facts.views if view.verdict in AGAINST]
    way_in_is_up = any(view.verdict is Verdict.UP for view in facts.views)
    return way_in_is_up or len(against) < votes_needed(facts)


def voices(facts: DomainFacts) -> tuple[View, ...]:
    """The views that a decision goes by."""
    return lost_delivery(facts) if delivery_decides(facts) else facts.views


def is_undelivered(runs: Iterable[EvidenceRun]) -> bool:
    """Of a server's whole history: whether the last that a canary knew of the primary is that mail is lost there, while a probe saw its way in up."""
    known = tuple(runs)
    told = [run for run in known if run.evidence.vantage == CANARY and run.evidence.seen in (ProbeClass.UP, ProbeClass.DOWN)]
    # Where the clock was set back what was seen before is cut to that moment; of two that end then, the later one counts.
    newest = max(reversed(told), key=lambda run: (run.last_at, run.first_at), default=None)
    if newest is None or newest.evidence.seen is ProbeClass.UP:
        return False
    return any(
        run.evidence.axis is Axis.INBOUND
        and run.evidence.seen in ACCEPTING
        and run.first_at <= newest.last_at
        and run.last_at >= newest.first_at
        for run in known
    )
