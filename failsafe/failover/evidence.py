"""Judges vantages' views over time: is the primary suspect, down, well, recovered? Pure; every answer comes with its reason."""

from __future__ import annotations

from datetime import datetime, timedelta

from failsafe.failover.facts import DomainFacts, View
from failsafe.model import Verdict

AGAINST = (Verdict.DOWN, Verdict.LYING)


def against(facts: DomainFacts) -> tuple[View, ...]:
    """The views that say down or lying."""
    return tuple(view for view in facts.views if view.verdict in AGAINST)


def for_it(facts: DomainFacts) -> tuple[View, ...]:
    return tuple(view for view in facts.views if view.verdict is Verdict.UP)


def judge_well(facts: DomainFacts) -> bool:
    """No vantage says down and at least one says up; unknown alone is not well."""
    return bool(for_it(facts)) and not against(facts)


def votes(facts: DomainFacts, now: datetime) -> tuple[View, ...]:
    """The views that have said down or lying without a break for `down_for`, counted from the first such evidence."""
    return tuple(view for view in against(facts) if lasting(view, facts.policy.down_for, now))


def votes_needed(facts: DomainFacts) -> int:
    """The quorum; with fewer vantages than that, all of them (then nothing happens by itself, a person decides)."""
    return max(1, min(facts.policy.quorum, facts.policy.vantages))


def judge_down(facts: DomainFacts, now: datetime) -> bool:
    """Enough vantages said down for long enough and none says up."""
    return len(votes(facts, now)) >= votes_needed(facts) and not for_it(facts)


def due_at(facts: DomainFacts) -> datetime | None:
    """When the primary will be judged down if nothing changes; None while too few vantages say down, or one says up."""
    begun = sorted(view.since_at for view in against(facts) if view.since_at is not None)
    needed = votes_needed(facts)
    return None if for_it(facts) or len(begun) < needed else begun[needed - 1] + facts.policy.down_for


def judge_recovered(facts: DomainFacts, now: datetime) -> bool:
    """Well for `up_for`: since the domain is recovering, and by at least one vantage without a break.

    After a refused failback (`failures`) the recovery time was already over once and no vantage has said down since.
    """
    waited = now - facts.record.since_at >= facts.policy.up_for or facts.record.failures > 0
    if not judge_well(facts) or not waited:
        return False
    return any(lasting(view, facts.policy.up_for, now) for view in for_it(facts))


def lasting(view: View, span: timedelta, now: datetime) -> bool:
    return view.since_at is not None and now - view.since_at >= span


def describe_views(facts: DomainFacts, now: datetime) -> tuple[str, ...]:
    """`here says down for 16 min`, one sentence a vantage."""
    said = []
    for view in facts.views:
        since = "" if view.since_at is None else f" for {describe_span(now - view.since_at)}"
        said.append(f"{view.vantage} says {view.verdict}{since}")
    return tuple(said) or ("no vantage has looked yet",)


def describe_span(span: timedelta) -> str:
    """`45 s`, `16 min`, `3 h 05 min`: rounded down, for a person."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 2 * 3600:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
