"""Decides what happens to a domain: one frozen value of facts in, one decision with all its reasons out. Pure.

By itself failsafe acts only in mode `auto`, with enough vantages, and with no guard standing. In every other case it says once what it
would have done. A person may do more, but not everything: see `decide_by_hand`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from failsafe.errors import Refused
from failsafe.failover.delivery import delivery_decides
from failsafe.failover.evidence import (
    against,
    describe_span,
    describe_views,
    due_at,
    judge_down,
    judge_lying,
    judge_recovered,
    judge_taking,
    judge_well,
    lies_far_ahead,
    lying_for,
    recovery_time,
)
from failsafe.failover.facts import DomainFacts, fitting
from failsafe.failover.guards import BY_HAND, FORCEABLE, PROOF_STALE, judge_guards, restore_required
from failsafe.failover.halt import RESTORE_REQUIRED, explain_halt
from failsafe.failover.machine import Trigger, possible
from failsafe.failover.plan import FlipPlan, make_plan, steps_by_hand
from failsafe.failover.ways_out import told_guards
from failsafe.model import DomainRecord, DomainState, FlipKind, Guard, Mode, Side

PERSON = "person"  # who began a plan by hand, in the journal
COMING = "coming"  # the name of the warning at half of down_for: one an incident
LATE_FOR = timedelta(
    days=1
)  # a request whose answer was lost arrives within hours, if ever; the same set seen later is somebody's own change
AT_START = frozenset({"start-grace", "own-line-down"})  # guards that the first look lifts
MOST_FAILURES = 100  # refused plans in one incident; at half an hour each about two days, when senders have begun to give up


class Order(StrEnum):
    """What the runner is asked to do, besides writing the new state."""

    FLIP = "flip"
    RESUME = "resume"
    CHECK_PRIMARY = "check-primary"
    TELL_COMING = "tell-coming"
    TELL_BLOCKED = "tell-blocked"
    TELL_PREPARED = "tell-prepared"
    TELL_OBSERVED = "tell-observed"


@dataclass(frozen=True, slots=True)
class Decision:
    """`guards` are all that stand against the next flip; `refusing` are those of them that refuse even a person."""

    trigger: Trigger | None = None
    orders: tuple[Order, ...] = ()
    guards: tuple[Guard, ...] = ()
    reasons: tuple[str, ...] = ()
    plan: FlipPlan | None = None
    kind: FlipKind | None = None  # which flip the guards are about
    told: str = ""  # names what a TELL order says, so that it is said once
    refusing: tuple[Guard, ...] = ()
    due_at: datetime | None = None  # when a flip is expected, if nothing changes


def decide(facts: DomainFacts, now: datetime) -> Decision:
    """What happens next by itself."""
    state = facts.record.state
    if facts.unfinished is not None and facts.record.taken_over_at is None:
        kind = facts.unfinished.kind
        return Decision(
            orders=(Order.RESUME,), guards=judge_guards(facts, kind, now), reasons=("a journalled plan is unfinished",), kind=kind
        )
    if state is DomainState.HALTED or facts.unfinished is not None:  # the latter: begun by a controller that is lost
        domain = facts.policy.domain
        return Decision(
            reasons=(facts.record.reason, f"say what is true: failsafe acknowledge {domain} --serving primary|secondary")
        )
    seen = _seen(facts, now)
    if seen is not None:
        return Decision(trigger=seen, reasons=("the zone already holds the prepared change",))
    if facts.record.failures > MOST_FAILURES:
        return Decision(
            trigger=Trigger.PLAN_STUCK, reasons=(f"the plan was refused {facts.record.failures} times: {facts.record.reason}",)
        )
    if state in (DomainState.NORMAL, DomainState.SUSPECT):
        return _towards_secondary(facts, now)
    return _towards_primary(facts, now)


def decide_by_hand(facts: DomainFacts, kind: FlipKind, now: datetime, *, force: bool = False) -> Decision:
    """What a person ordered. Only the guards in `refusing` stand against it; the others are shown. Raises Refused where the order makes no sense."""
    trigger = {FlipKind.FAILOVER: Trigger.FAILOVER_ORDERED, FlipKind.FAILBACK: Trigger.FAILBACK_ORDERED}.get(kind)
    state = facts.record.state
    if facts.unfinished is None and not (state is DomainState.NORMAL if trigger is None else possible(state, trigger)):
        raise _impossible(facts, kind)
    # the program that carries out an order has always just started; who has watched is the daemon
    guards = tuple(guard for guard in judge_guards(facts, kind, now) if guard.code != "start-grace")
    refusing = tuple(guard for guard in guards if guard.code in BY_HAND and not (force and guard.code in FORCEABLE))
    plan = None
    if facts.zone.agreed is not None and facts.unfinished is None and not any(guard.code == "drift" for guard in guards):
        unlist = facts.policy.unlist_lying and judge_lying(facts, now)
        plan = make_plan(kind, facts.zone.agreed, facts.record, facts.policy, unlist=unlist)
    if not facts.policy.writable:
        raise _by_hand_alone(facts, told_guards(guards, facts.policy.domain), plan)
    orders = (Order.FLIP,) if not refusing and plan is not None else ()
    return Decision(trigger if orders else None, orders, guards, describe_views(facts, now), plan, kind, refusing=refusing)


def _by_hand_alone(facts: DomainFacts, guards: tuple[Guard, ...], plan: FlipPlan | None) -> Refused:
    text = f"no DNS provider is configured for {facts.policy.domain}"
    if plan is None:
        return Refused(text, guards, mend="by hand: unknown while the zone cannot be read")
    lines = steps_by_hand(facts.policy.domain, plan.change.expected, plan.change.desired)
    return Refused(text, guards, mend="\n  ".join(["by hand, at the DNS provider, in this order:", *lines]))


def _impossible(facts: DomainFacts, kind: FlipKind) -> Refused:
    domain, state = facts.policy.domain, facts.record.state
    text = f"{domain} is {state}: a {kind} is not possible from there"
    if state is not DomainState.HALTED:
        where = "the secondary; failsafe failback" if facts.record.serving is Side.SECONDARY else "the primary; failsafe failover"
        return Refused(text, mend=f"nothing, if mail is where you want it: it goes to {where} {domain} moves it")
    record = facts.record
    halt = explain_halt(
        domain,
        facts.zone.described,
        record.attempted,
        reason=record.reason,
        server=facts.policy.server,
        store_lost=record.store_lost,
    )
    lines = "".join(f"\n  {line}" for line in (f"why: {record.reason}", *halt.lines()))
    return Refused(text + lines, mend=halt.must_do)


def still_wanted(facts: DomainFacts, now: datetime) -> bool | None:
    """Whether an unfinished plan that has written nothing yet may be sent again: the same evidence and guards as for a new one.

    None: that is not known yet, because this controller has only just started and must first hear from every vantage.
    """
    intent = facts.unfinished
    if intent is None or not facts.policy.writable:
        return False
    if not fitting(intent.desired, facts.policy, Side.SECONDARY if intent.kind is FlipKind.FAILOVER else Side.PRIMARY):
        return False  # the configuration has changed since: it lists another exchange, or has another strategy
    codes = {guard.code for guard in judge_guards(facts, intent.kind, now)} - {"unfinished-intent"}
    if intent.by == PERSON:
        return not codes & (BY_HAND - FORCEABLE)
    evidence = judge_down(facts, now) if intent.kind is FlipKind.FAILOVER else judge_well(facts)
    if not evidence or facts.mode is not Mode.AUTO:
        return False
    return None if "start-grace" in codes and codes <= AT_START else not codes


def may_arrive(record: DomainRecord, now: datetime) -> bool:
    """Whether a request whose answer was lost may still change the zone."""
    return record.attempted is not None and (record.attempted_at is None or now - record.attempted_at < LATE_FOR)


def _seen(facts: DomainFacts, now: datetime) -> Trigger | None:
    """A change that a person (without a provider) or a late answer of the provider made: recognised, never repeated."""
    found, record = facts.zone.agreed, facts.record
    attempted = record.attempted if may_arrive(record, now) else None
    late = found is not None and attempted is not None and found.same_records(attempted)
    if facts.policy.writable and not late:
        return None
    peace = record.state in (DomainState.NORMAL, DomainState.SUSPECT)
    if peace and fitting(found, facts.policy, Side.SECONDARY):
        return Trigger.SEEN_AT_SECONDARY
    return Trigger.SEEN_AT_PRIMARY if not peace and fitting(found, facts.policy, Side.PRIMARY) else None


def _towards_secondary(facts: DomainFacts, now: datetime) -> Decision:
    guards, reasons = judge_guards(facts, FlipKind.FAILOVER, now), describe_views(facts, now)
    if facts.record.state is DomainState.NORMAL:
        trigger = Trigger.PRIMARY_SUSPECT if against(facts) else None
        return Decision(trigger=trigger, guards=guards, reasons=reasons, kind=FlipKind.FAILOVER)
    if judge_well(facts):
        return Decision(trigger=Trigger.PRIMARY_WELL, guards=guards, reasons=reasons, kind=FlipKind.FAILOVER)
    if not judge_down(facts, now):
        waits = Decision(
            guards=guards, reasons=(*reasons, "not down for long enough, or not by enough vantages"), kind=FlipKind.FAILOVER
        )
        due = due_at(facts)
        if due is None or due - now > facts.policy.down_for / 2:
            return waits
        return replace(waits, orders=(Order.TELL_COMING,), told=COMING, due_at=due)
    return _due(facts, FlipKind.FAILOVER, Trigger.PRIMARY_DOWN, guards, now)


def _towards_primary(facts: DomainFacts, now: datetime) -> Decision:
    guards, reasons = judge_guards(facts, FlipKind.FAILBACK, now), describe_views(facts, now)
    if facts.record.state is DomainState.FAILED_OVER:
        trigger = Trigger.PRIMARY_WELL if judge_taking(facts) else None
        return Decision(trigger=trigger, guards=guards, reasons=reasons, kind=FlipKind.FAILBACK)
    if against(facts):
        return Decision(trigger=Trigger.PRIMARY_SUSPECT, guards=guards, reasons=reasons, kind=FlipKind.FAILBACK)
    if not judge_recovered(facts, now):
        waits = f"the recovery time of {describe_span(recovery_time(facts.policy.up_for, facts.flips, now))} is not over"
        return Decision(guards=guards, reasons=(*reasons, waits), kind=FlipKind.FAILBACK)
    if facts.policy.ssh and (facts.primary is None or now - facts.primary.at > PROOF_STALE):
        return Decision(orders=(Order.CHECK_PRIMARY,), guards=guards, reasons=reasons, kind=FlipKind.FAILBACK)
    lost = restore_required(facts)
    if lost and facts.record.taken_over_at is None:
        return Decision(Trigger.STORE_LOST, guards=guards, reasons=(f"{RESTORE_REQUIRED}: {lost}",), kind=FlipKind.FAILBACK)
    return _due(facts, FlipKind.FAILBACK, Trigger.PRIMARY_RECOVERED, guards, now)


def _due(facts: DomainFacts, kind: FlipKind, trigger: Trigger, guards: tuple[Guard, ...], now: datetime) -> Decision:
    """The evidence is in. Act, or say once why not."""
    reasons, unlist = describe_views(facts, now), False
    if kind is FlipKind.FAILOVER and judge_lying(facts, now):
        unlist = facts.policy.unlist_lying
        waits = f"it refuses for good (5xx) whom it should take: that is believed after {describe_span(lying_for(facts.policy))}"
        reasons = (*reasons, waits)
    if kind is FlipKind.FAILOVER and delivery_decides(facts):
        reasons = (*reasons, "the primary takes mail, and it does not arrive: that its way in is open says nothing")
    plan = None
    if facts.zone.agreed is not None and not any(guard.code == "drift" for guard in guards):
        try:
            plan = make_plan(kind, facts.zone.agreed, facts.record, facts.policy, unlist=unlist)
        except Refused as error:
            guards = (*guards, Guard("doctor", str(error), error.mend))
    order = _tell_order(facts, kind, guards)
    if order is not None:
        if order is Order.TELL_PREPARED:
            reasons = (*reasons, *why_not_automatic(facts, kind))
        return Decision(
            None, (order, *_recheck(facts, kind, guards)), guards, reasons, plan, kind, _told(order, kind, guards, plan)
        )
    retry_at = facts.record.retry_at
    if retry_at is not None and now < retry_at and not lies_far_ahead(retry_at, now):
        waiting = f"the last try failed ({facts.record.reason}); the next is at {retry_at:%H:%M} UTC"
        return Decision(guards=guards, reasons=(*reasons, waiting), plan=plan, kind=kind)
    assert plan is not None, "without a guard there is a plan"
    return Decision(trigger, (Order.FLIP,), guards, reasons, plan, kind)


def _tell_order(facts: DomainFacts, kind: FlipKind, guards: tuple[Guard, ...]) -> Order | None:
    if facts.mode is Mode.OBSERVE:
        return Order.TELL_OBSERVED
    automatic = not why_not_automatic(facts, kind)
    standing = guards if automatic else [guard for guard in guards if guard.code != "no-quorum"]
    if standing:
        return Order.TELL_BLOCKED
    return None if automatic else Order.TELL_PREPARED


def why_not_automatic(facts: DomainFacts, kind: FlipKind) -> tuple[str, ...]:
    """Why a person applies it, although nothing stands against it."""
    policy = facts.policy
    reasons = []
    if policy.mode is not Mode.AUTO:
        reasons.append(f"mode is {policy.mode}: a person applies it")
    if not policy.writable:
        reasons.append("no DNS provider is configured: a person makes the change there")
    if kind is FlipKind.FAILOVER and policy.vantages < policy.quorum:
        reasons.append(f"{policy.vantages} vantage(s) for a quorum of {policy.quorum}: auto behaves as manual")
    if kind is FlipKind.FAILBACK and not policy.auto_failback:
        reasons.append("failback is manual: a person applies it")
    if kind is FlipKind.FAILBACK and facts.undelivered:
        reasons.append("mail was lost at the primary, and no canary has arrived there since: a person applies it")
    if kind is FlipKind.FAILBACK and not policy.ssh:
        reasons.append("ssh is not configured, so nobody can prove that the primary is ours: a person applies it")
    return tuple(reasons)


def _recheck(facts: DomainFacts, kind: FlipKind, guards: tuple[Guard, ...]) -> tuple[Order, ...]:
    """A failback blocked by what was seen on the primary looks again (the caller bounds how often)."""
    again = (
        kind is FlipKind.FAILBACK
        and facts.policy.ssh
        and any(guard.code in ("accounts-missing", "store-suspect", "doctor") for guard in guards)
    )
    return (Order.CHECK_PRIMARY,) if again else ()


def _told(order: Order, kind: FlipKind, guards: tuple[Guard, ...], plan: FlipPlan | None) -> str:
    content = [
        order,
        kind,
        plan.digest if plan is not None and order is not Order.TELL_BLOCKED else "",
        *sorted({guard.code for guard in guards}),
    ]
    return hashlib.sha256("\n".join(content).encode()).hexdigest()[:12]
