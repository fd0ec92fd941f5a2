"""Guards of the core that are broken on purpose, one at a time: the simulator must notice every one of them.

`seed` is one that notices it; where the core has changed since, others are tried. What a seed rarely meets has scenes of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

from failsafe import domains
from failsafe.failover import decide, delivery, evidence, guards, health, plan, runner, vitals
from failsafe.failover.facts import DomainFacts, View, ZoneReading
from failsafe.failover.memory_journal import MemoryJournal
from failsafe.failover.verify import Progress, judge_progress
from failsafe.failover.zone import MxLayout, plan_peace
from failsafe.model import Intent, MxSet, ProbeClass, Verdict
from failsafe.store import history
from tests.simulate import canaries, scenes
from tests.simulate.run import simulate_scenario
from tests.simulate.scenario import Scenario, draw

FOREVER = timedelta(days=1000)


@dataclass(frozen=True)
class Mutation:
    """`patches`: (where, what, by what)."""

    name: str
    seed: int | Callable[[int], Scenario]  # or scenes made for it
    patches: tuple[tuple[Any, str, Any], ...]

    @contextmanager
    def applied(self) -> Iterator[None]:
        from contextlib import ExitStack

        with ExitStack() as stack:
            for where, what, by in self.patches:
                stack.enter_context(patch.object(where, what, by))
            yield


def _without(judges: str, name: str) -> tuple[Any, str, Any]:
    kept = tuple(judge for judge in getattr(guards, judges) if judge.__name__ != name)
    assert len(kept) < len(getattr(guards, judges)), name
    return (guards, judges, kept)


def _down_whoever_says_up(facts: DomainFacts, now: datetime) -> bool:
    return len(evidence.votes(facts, now)) >= evidence.votes_needed(facts)


def _at_once(facts: DomainFacts, _now: datetime) -> tuple[View, ...]:
    return evidence.against(facts)


def _done_when_the_provider_says_so(intent: Intent, reading: ZoneReading) -> tuple[Progress, str]:
    if reading.provider is not None and reading.provider.same_records(intent.desired):
        return Progress.DONE, "the provider says so"
    return judge_progress(intent, reading)


def _forgets_what_was_sent_twice(record: Any, **changes: Any) -> Any:
    if changes.get("retried") is not None:
        del changes["retried"]
    return dataclasses.replace(record, **changes)


def _written_first(self: Any, policy: Any, record: Any, flip: Any, trigger: Any, **words: Any) -> Any:
    self._zone.apply(flip.change)
    return _FLIP(self, policy, record, flip, trigger, **words)


def _never_resumes(_self: Any, _policy: Any, record: Any, intent: Intent, **_words: Any) -> runner.Ending:
    return runner.Ending(record, intent)


def _home_by_the_book(found: MxSet, _previous: MxSet | None, layout: MxLayout, ttl_seconds: int | None = None) -> MxSet:
    return plan_peace(found, layout, ttl_seconds)


def _both_in_front(found: MxSet, layout: MxLayout, _ttl_seconds: int | None = None) -> MxSet:
    return MxSet.of(*((10, name) for name in (*layout.primaries, *layout.secondaries)), ttl_seconds=found.ttl_seconds)


def _whoever_says_lost(facts: DomainFacts) -> tuple[View, ...]:
    return tuple(view for view in facts.delivery if view.verdict is Verdict.DOWN) * facts.policy.quorum


def _taken_or_not(
    queue: vitals.Queue | None, now: datetime, *, lost: bool = False, taken: bool | None = None
) -> tuple[ProbeClass, str]:
    return vitals.judge_queue(queue, now, lost=lost, taken=taken or lost)


def _waiting_is_down(queue: vitals.Queue | None, now: datetime, **told: Any) -> tuple[ProbeClass, str]:
    seen, text = vitals.judge_queue(queue, now, **told)
    return (ProbeClass.DOWN if seen is ProbeClass.DEGRADED else seen), text


def _at_once_if_lost(facts: DomainFacts, now: datetime) -> tuple[View, ...]:
    return evidence.against(facts) if delivery.delivery_decides(facts) else _VOTES(facts, now)


def _deaf_to_arrivals(facts: DomainFacts) -> tuple[View, ...]:
    lost = tuple(view for view in facts.delivery if view.verdict is Verdict.DOWN)
    return lost if len(lost) >= facts.policy.quorum else ()


_VOTES: Callable[..., Any] = evidence.votes
_FLIP: Callable[..., Any] = runner.FlipRunner.flip

MUTATIONS = (
    Mutation("a hold holds nothing", 1, (_without("_ALWAYS", "_held"),)),
    Mutation("a dead line of ours guards nothing", scenes.references_gone, (_without("_ALWAYS", "_own_line"),)),
    Mutation("no minimum dwell", 1, (_without("_ALWAYS", "_dwell"),)),
    Mutation("no budget of flips", 0, (_without("_ALWAYS", "_budget"),)),
    Mutation("no grace after a start", scenes.restarted_while_one_gets_through, (_without("_ALWAYS", "_start_grace"),)),
    Mutation("an unready secondary will do", scenes.both_gone, (_without("_FAILOVER", "_readiness"),)),
    Mutation("proof of life proves nothing", 44, (_without("_FAILOVER", "_proof_of_life"),)),
    Mutation("any primary is ours", 3, ((guards, "_FAILBACK", ()), (decide, "restore_required", lambda _: ""))),
    Mutation("no quorum is asked for", 0, ((evidence, "votes_needed", lambda _: 1), _without("_FAILOVER", "_no_quorum"))),
    Mutation(
        "one that gets through is not believed",
        44,
        ((decide, "judge_down", _down_whoever_says_up), _without("_FAILOVER", "_banned")),
    ),
    Mutation("down_for is not waited for", 0, ((evidence, "votes", _at_once), (guards, "votes", _at_once))),
    Mutation("up_for is not waited for", 0, ((decide, "judge_recovered", lambda facts, _: evidence.judge_well(facts)),)),
    Mutation("a primary that flaps is believed at once", scenes.flapping_for_hours, ((evidence, "FLAPS_WITHIN", timedelta(0)),)),
    Mutation("a liar is waited for like a dead one", scenes.lying, ((evidence, "LYING_SHARE", 1),)),
    Mutation("a liar stays listed", scenes.lying, ((decide, "judge_lying", lambda *_: False),)),
    Mutation("a dead primary is taken out", 0, ((decide, "judge_lying", lambda *_: True),)),
    Mutation("unknown is down", 2, ((evidence, "AGAINST", (Verdict.DOWN, Verdict.LYING, Verdict.UNKNOWN)),)),
    Mutation("old evidence is as good as new", 0, ((health.JudgePolicy, "stale_after", FOREVER),)),
    Mutation("suspicion is never raised", scenes.simply_dead, ((decide, "against", lambda _: ()),)),
    Mutation("the provider's word is enough", 0, ((runner, "judge_progress", _done_when_the_provider_says_so),)),
    Mutation("a plan is sent again and again", scenes.never_answered, ((runner, "replace", _forgets_what_was_sent_twice),)),
    Mutation(
        "an unfinished plan is always wanted", scenes.back_while_the_answer_is_lost, ((domains, "still_wanted", lambda *_: True),)
    ),
    Mutation("unfinished plans stay so", 8, ((runner.FlipRunner, "resume", _never_resumes),)),
    Mutation("a stopped process sends what it wanted to", 8, ((runner, "SEND_WITHIN", FOREVER),)),
    Mutation("facts never grow old", scenes.stopped_when_due, ((domains, "DECISION_LASTS", FOREVER),)),
    Mutation(
        "whoever likes writes the journal", scenes.stopped_while_another_leads, ((MemoryJournal, "_demand", lambda *_: None),)
    ),
    Mutation("the journal comes after the write", 0, ((runner.FlipRunner, "flip", _written_first),)),
    Mutation("both sides get one preference", 0, ((plan, "plan_failover", _both_in_front),)),
    Mutation("the way home is not the way out", 0, ((plan, "plan_failback", _home_by_the_book),)),
    Mutation("a refused plan is tried again at once", scenes.denied, ((runner, "FIRST_RETRY", timedelta(0)),)),
    Mutation("what a person reserved is done", 20, ((decide, "why_not_automatic", lambda *_: ()),)),
    Mutation(
        "the canary alone says that mail is lost", scenes.third_party_holds, ((delivery, "lost_delivery", _whoever_says_lost),)
    ),
    Mutation("what was never taken is lost", scenes.third_party_holds, ((canaries, "judge_queue", _taken_or_not),)),
    Mutation("what waits in the queue is lost", scenes.queueing, ((canaries, "judge_queue", _waiting_is_down),)),
    Mutation("mail that waits begins the time of its loss", scenes.queueing, ((domains, "judge_witness", health.judge),)),
    Mutation(
        "a canary that arrives refutes nothing", scenes.losing_for_a_moment, ((delivery, "lost_delivery", _deaf_to_arrivals),)
    ),
    Mutation(
        "down_for is not waited for where mail is lost",
        scenes.losing,
        ((evidence, "votes", _at_once_if_lost), (guards, "votes", _at_once_if_lost)),
    ),
    Mutation("lost delivery moves nothing", scenes.losing, ((delivery, "delivery_decides", lambda _: False),)),
    Mutation(
        "who is banned keeps mail at a primary that loses it",
        scenes.losing_while_one_is_banned,
        ((guards, "delivery_decides", lambda _: False),),
    ),
    Mutation("home although the canaries were lost", scenes.losing, ((domains, "is_undelivered", lambda _: False),)),
    Mutation(
        "a clock that goes back forgets what was lost", scenes.losing_with_a_clock_that_goes_back, ((history, "CANARY", ""),)
    ),
    Mutation(
        "after a start old losses are believed", scenes.restarted_while_mail_is_mended, (_without("_ALWAYS", "_start_grace"),)
    ),
)


TRIES = 40  # seeds, or variants of a scene, that are tried


def caught_by(number: int) -> str:
    """The seed or scene and the invariant that notice the mutation; "" where nothing does."""
    found = noticing_run(number)
    return "" if found is None else found[1]


def noticing_run(number: int) -> tuple[Scenario, str] | None:
    """The run that notices the mutation, and what it says; None where none of those tried does."""
    mutation = MUTATIONS[number]
    scene = mutation.seed
    seeds = range(TRIES) if callable(scene) else (scene, *range(TRIES))
    with mutation.applied():
        for seed in seeds:
            run = scene(seed) if callable(scene) else draw(seed)
            outcome = simulate_scenario(run)
            if outcome.violation:
                said = f"{'scene' if callable(scene) else 'seed'} {seed}: {outcome.violation.splitlines()[0][:110]}"
                return run, said
    return None
