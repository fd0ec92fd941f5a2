"""Judges vantages' views over time: is the primary suspect, down, well, recovered? Pure; every answer comes with its reason."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from failsafe.failover.delivery import voices
from failsafe.failover.facts import AGAINST, DomainFacts, Policy, View, votes_needed
from failsafe.model import FlipKind, Intent, Verdict

LYING_SHARE = 5  # a quorum that sees lies waits for this part of `down_for`: three minutes of fifteen
FLAPS_WITHIN = timedelta(days=1)  # failovers of this time make the next failback wait longer
FAR_AHEAD = timedelta(hours=2)  # what was noted so far ahead of now was noted by a clock that was wrong: it ends no wait
LONGEST_RECOVERY = timedelta(
    hours=12
)  # of a grown recovery time: senders that give up after a day must not wait for a primary that flaps


def against(facts: DomainFacts) -> tuple[View, ...]:
    """The views that say down or lying."""
    return tuple(view for view in voices(facts) if view.verdict in AGAINST)


def for_it(facts: DomainFacts) -> tuple[View, ...]:
    return tuple(view for view in voices(facts) if view.verdict is Verdict.UP)


def judge_well(facts: DomainFacts) -> bool:
    """No vantage says down and at least one says up; unknown alone is not well."""
    return bool(for_it(facts)) and not against(facts)


def judge_taking(facts: DomainFacts) -> bool:
    """Well, and at least one vantage saw it take mail since it was down. "Later" to everybody is up, but nothing to come home to."""
    return judge_well(facts) and any(view.taking_since_at is not None for view in for_it(facts))


def votes(facts: DomainFacts, now: datetime) -> tuple[View, ...]:
    """The views that have said down or lying without a break for `down_for`, counted from the first such evidence.

    Where enough of them are told lies, `lying_for` is enough: from such a primary senders get their mail back at once.
    """
    liars = _told_lies(facts, now)
    early = liars if len(liars) >= votes_needed(facts) else ()
    return tuple(view for view in against(facts) if view in early or lasting(view, facts.policy.down_for, now))


def lying_for(policy: Policy) -> timedelta:
    """How long a quorum has to see lies: a fifth of `down_for`, but two looks at least."""
    return min(max(policy.down_for / LYING_SHARE, policy.probe_every * 2), policy.down_for)


def judge_lying(facts: DomainFacts, now: datetime) -> bool:
    """Enough vantages have seen the primary refuse the known-good recipient for good (5xx) for `lying_for`, and none says up."""
    return len(_told_lies(facts, now)) >= votes_needed(facts) and not for_it(facts)


def _told_lies(facts: DomainFacts, now: datetime) -> tuple[View, ...]:
    span = lying_for(facts.policy)
    return tuple(view for view in against(facts) if view.lying_since_at is not None and now - view.lying_since_at >= span)


def judge_down(facts: DomainFacts, now: datetime) -> bool:
    """Enough vantages said down for long enough and none says up."""
    return len(votes(facts, now)) >= votes_needed(facts) and not for_it(facts)


def due_at(facts: DomainFacts) -> datetime | None:
    """When the primary will be judged down if nothing changes; None while too few vantages say down, or one says up."""
    needed = votes_needed(facts)
    begun = sorted(view.since_at for view in against(facts) if view.since_at is not None)
    lies = sorted(view.lying_since_at for view in against(facts) if view.lying_since_at is not None)
    if for_it(facts) or len(begun) < needed:
        return None
    due = begun[needed - 1] + facts.policy.down_for
    return due if len(lies) < needed else min(due, lies[needed - 1] + lying_for(facts.policy))


def judge_recovered(facts: DomainFacts, now: datetime) -> bool:
    """Well for the recovery time: since the domain is recovering, and by at least one vantage without a break, which sees it take mail now.

    After a refused failback (`failures`) the recovery time was already over once and no vantage has said down since.
    """
    span = recovery_time(facts.policy.up_for, facts.flips, now)
    waited = now - facts.record.since_at >= span or facts.record.failures > 0 or lies_far_ahead(facts.record.since_at, now)
    if not judge_well(facts) or not waited:
        return False
    taking = [view.taking_since_at for view in for_it(facts) if not view.degraded and view.taking_since_at is not None]
    return any(now - since_at >= span for since_at in taking)


def recovery_time(up_for: timedelta, flips: Iterable[Intent], now: datetime) -> timedelta:
    """`up_for`, doubled for every failover of the last day but the first, to at most 12 hours: a primary that flaps is believed later each time."""
    ended = [flip.outcome_at for flip in flips if flip.kind is FlipKind.FAILOVER and flip.outcome_at is not None]
    flaps = max(sum(now - at < FLAPS_WITHIN for at in ended) - 1, 0)
    return max(up_for, min(up_for * (1 << min(flaps, 10)), LONGEST_RECOVERY))


def lies_far_ahead(at: datetime, now: datetime) -> bool:
    return at - now > FAR_AHEAD


def lasting(view: View, span: timedelta, now: datetime) -> bool:
    return view.since_at is not None and now - view.since_at >= span


def describe_views(facts: DomainFacts, now: datetime) -> tuple[str, ...]:
    """`here says down for 16 min`, one sentence a vantage."""
    said = []
    for view in voices(facts):
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
