"""Lost delivery: mail that the primary took and that did not arrive. Beside inbound mail the only thing that moves MX. Pure.

Its witnesses are the canary and the look from inside, which says lost only where the missing canary does not wait in the queue either. They need
the quorum as all evidence does, and one canary that arrives refutes them. A server that takes mail and loses it says up to every probe of its
way in, so while delivery is lost those say nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from failsafe.failover.facts import DomainFacts, View
from failsafe.failover.health import EvidenceRun
from failsafe.model import ProbeClass, Verdict

CANARY, INSIDE = "canary", "inside"  # vantages
INSIDE_ROUNDS = 5  # rounds of probes between two looks from inside: one SSH session in five minutes
_AGAINST = (Verdict.DOWN, Verdict.LYING)


def witnesses(views: Iterable[View]) -> tuple[View, ...]:
    """What counts of the views of delivery: an empty queue says nothing of mail that is gone, and mail that waits in it is safe."""
    return tuple(view for view in views if not (view.vantage == INSIDE and view.verdict is Verdict.UP) and not view.degraded)


def lost_delivery(facts: DomainFacts) -> tuple[View, ...]:
    """Those that say that mail is lost there; none where they are fewer than the quorum, or one saw it arrive."""
    lost = tuple(view for view in facts.delivery if view.verdict in _AGAINST)
    arrives = any(view.verdict is Verdict.UP for view in facts.delivery)
    return lost if len(lost) >= facts.policy.quorum and not arrives else ()


def voices(facts: DomainFacts) -> tuple[View, ...]:
    """The views that a decision goes by."""
    return lost_delivery(facts) or facts.views


def is_undelivered(runs: Iterable[EvidenceRun]) -> bool:
    """Of a canary's whole history: whether the last that it knew of the primary is that mail is lost there."""
    told = [run for run in runs if run.evidence.seen in (ProbeClass.UP, ProbeClass.DOWN)]
    newest = max(told, key=lambda run: run.last_at, default=None)
    return newest is not None and newest.evidence.seen is ProbeClass.DOWN
