"""Stays with a plan that a person ordered until it has ended, whoever ends it: this program, or a daemon that works beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from failsafe.errors import LeaseLost
from failsafe.failover.decide import PERSON, Decision, still_wanted
from failsafe.failover.facts import DomainFacts
from failsafe.failover.runner import Ending, FlipRunner
from failsafe.model import Intent
from failsafe.ports import Clock, FlipJournal

LOOK_AGAIN = timedelta(seconds=1)  # between two looks at an unfinished plan
AFTER_DEADLINE = timedelta(minutes=2)  # a plan is concluded at the first look after its deadline; a look may take a minute


def run_by_hand(
    runner: FlipRunner, journal: FlipJournal, clock: Clock, gather: Callable[[], DomainFacts], facts: DomainFacts, decision: Decision, reason: str
) -> Ending:  # fmt: skip
    """Carries out `decision`, which a person made from `facts`; `gather` reads them anew. Raises Refused, StoreError; LeaseLost if nothing was begun.

    The daemon goes on with every unfinished plan, this one too, so either of the two may come to its end first: the journal lets one
    of them write, and the other one reads there how it ended.
    """
    domain = facts.policy.domain
    try:
        ending = runner.act(facts, decision, by=PERSON, reason=reason)
    except LeaseLost:
        begun = _begun(journal, facts, decision)
        if begun is None:
            raise
        ending = Ending(journal.load(domain, clock.now()), begun, begun.outcome_text)
    until = clock.monotonic() + (facts.policy.verify_for + AFTER_DEADLINE).total_seconds()
    while ending.unfinished and clock.monotonic() < until:
        clock.sleep(LOOK_AGAIN.total_seconds())
        ending = _go_on(runner, journal, clock, gather, ending)
    return ending


def _go_on(runner: FlipRunner, journal: FlipJournal, clock: Clock, gather: Callable[[], DomainFacts], ending: Ending) -> Ending:
    assert ending.intent is not None
    fresh, now = gather(), clock.now()
    if fresh.unfinished is None or fresh.unfinished.id != ending.intent.id:
        ended = journal.newest(ending.record.domain)
        known = ended if ended is not None and ended.id == ending.intent.id else replace(ending.intent, outcome_text=ending.text)
        return Ending(fresh.record, known, known.outcome_text)
    try:
        return runner.resume(
            fresh.policy, fresh.record, fresh.unfinished, wanted=still_wanted(fresh, now), patience=LOOK_AGAIN * 20
        )
    except LeaseLost:  # the daemon was quicker
        return ending


def _begun(journal: FlipJournal, facts: DomainFacts, decision: Decision) -> Intent | None:
    """Our plan in the journal: the one that was begun over exactly the record we read."""
    newest = journal.newest(facts.policy.domain)
    ours = newest is not None and decision.plan is not None and newest.by == PERSON
    return newest if ours and newest.epoch == facts.record.epoch + 1 and newest.digest == decision.plan.digest else None  # type: ignore[union-attr]
