"""The events of a domain and what a person is told, always in this order: is mail being lost, where does it go, what must I do. Pure."""

from __future__ import annotations

from datetime import datetime

from failsafe.events import Event
from failsafe.failover.decide import Decision, Order, why_not_automatic
from failsafe.failover.delivery import delivery_decides
from failsafe.failover.facts import DomainFacts
from failsafe.failover.halt import explain_halt
from failsafe.failover.machine import Trigger, step
from failsafe.failover.plan import steps_by_hand, to_json
from failsafe.failover.takeover import acknowledge
from failsafe.failover.ways_out import with_way_out
from failsafe.model import DomainRecord, FlipKind, Guard, Intent, Mode, NewIntent, Notice, Severity, Verdict

QUEUED = "no: senders keep it for hours to days (some give up after 24 hours)"
BOUNCED = "yes: the primary refuses it for good, so senders get it back as undeliverable"
LOST = "yes, it seems: the primary takes it, and it does not arrive"
PASSING = frozenset({"dwell", "start-grace", "proof-of-life"})  # guards that end by themselves: nobody has to do anything
GOES_PRIMARY = "to the primary, which may not take it"
DONE_NAMES = {FlipKind.FAILOVER: "failover.done", FlipKind.FAILBACK: "failback.done", FlipKind.ADOPT_MX: "mx.adopted"}
PLANNED_NAMES = {FlipKind.FAILOVER: "failover.planned", FlipKind.FAILBACK: "failback.planned", FlipKind.ADOPT_MX: "mx.planned"}


def thread_of(record: DomainRecord) -> str:
    """One incident, one thread."""
    return f"{record.domain}:{record.suspected_at or record.since_at:%Y%m%dT%H%M%S}"


def planned_event(plan: NewIntent, sentences: tuple[str, ...]) -> Event:
    details: dict[str, object] = {
        "by": plan.by,
        "reason": plan.reason,
        "before": to_json(plan.before),
        "desired": to_json(plan.desired),
        "digest": plan.digest,
    }
    return Event(
        PLANNED_NAMES[plan.kind],
        plan.domain,
        f"{plan.kind} begun ({plan.reason}): {'; '.join(sentences)}",
        plan.planned_at,
        details,
    )


def done_event(record: DomainRecord, intent: Intent, text: str, silent: tuple[str, ...], now: datetime) -> Event:
    """A plan that is verified. `record` is the one before the change (it knows the incident)."""
    details: dict[str, object] = {"intent": intent.id, "desired": to_json(intent.desired), "silent": list(silent)}
    goes = {FlipKind.FAILOVER: "to the secondary", FlipKind.FAILBACK: "to the primary"}.get(intent.kind, "to the primary")
    notice = Notice(
        subject=f"{intent.domain}: mail goes {goes} again"
        if intent.kind is FlipKind.FAILBACK
        else f"{intent.domain}: mail goes {goes}",
        losing_mail="no",
        mail_goes=goes,
        must_do="nothing; late mail at the secondary is still brought home"
        if intent.kind is FlipKind.FAILBACK
        else "look after the primary",
        since=record.suspected_at,
        thread=thread_of(record),
        severity=Severity.OK if intent.kind is not FlipKind.FAILOVER else Severity.WARN,
        details=text,
    )
    return Event(DONE_NAMES[intent.kind], intent.domain, f"{intent.kind} done: {text}", now, details, notice)


def postponed_event(record: DomainRecord, intent: Intent, text: str, mend: str, now: datetime) -> Event:
    """Nothing was written. A person is told at the first refusal of an incident; later ones are only recorded."""
    told = None
    if record.failures == 0:
        told = Notice(
            subject=f"{intent.domain}: the {intent.kind} could not be made yet",
            losing_mail=(BOUNCED if record.bouncing else QUEUED) if intent.kind is FlipKind.FAILOVER else "no",
            mail_goes=GOES_PRIMARY if intent.kind is FlipKind.FAILOVER else "to the secondary",
            must_do=mend or "nothing; it is tried again",
            since=record.suspected_at,
            thread=thread_of(record),
            severity=Severity.FAIL,
            details="\n".join(
                [text, "by hand at the DNS provider it would be:", *steps_by_hand(intent.domain, intent.before, intent.desired)]
            ),
        )
    return Event(
        "flip.postponed", intent.domain, f"{intent.kind} not made: {text}", now, {"intent": intent.id, "mend": mend}, told
    )


def stuck_event(record: DomainRecord, kind: FlipKind, text: str, now: datetime) -> Event:
    notice = Notice(
        subject=f"{record.domain}: halted, a person must look",
        losing_mail="perhaps: look at once",
        mail_goes="unclear: the name servers do not all say what was planned",
        must_do=f"look at the MX records, then: failsafe acknowledge {record.domain} --serving primary|secondary",
        since=record.suspected_at,
        thread=thread_of(record),
        severity=Severity.FAIL,
        details="\n".join(explain_halt(record.domain, text, record.attempted).lines()),
    )
    return Event("flip.failed", record.domain, f"{kind} stopped half-way: {text}", now, {}, notice)


def restore_event(record: DomainRecord, reason: str, server: str, now: datetime) -> Event:
    """The primary came back without its mail: nobody goes home to that by themselves."""
    halt = explain_halt(record.domain, "", None, reason=reason, server=server, store_lost=True)
    notice = Notice(
        subject=f"{record.domain}: the primary is back without its mail, restore required",
        losing_mail="no: the secondary takes what comes; what was on the primary is in the last snapshot",
        mail_goes="to the secondary",
        must_do=halt.must_do,
        since=record.suspected_at,
        thread=thread_of(record),
        severity=Severity.FAIL,
        details="\n".join(halt.lines()),
    )
    return Event("failback.restore-required", record.domain, f"halted: {reason}", now, {}, notice)


def unshown_event(record: DomainRecord, intent: Intent, text: str, now: datetime) -> Event:
    """The provider accepted the change, and its time is over, but DNS does not show it: an alarm of its own, since no retry of ours mends it."""
    notice = Notice(
        subject=f"{record.domain}: the DNS provider accepted the {intent.kind}, but DNS does not show it",
        losing_mail="perhaps: look at once",
        mail_goes=f"not yet where it should: {text}",
        must_do="look in the provider's panel whether the zone is active, is the one that the domain is delegated to, and is transferred to every "
        f"name server; then: failsafe acknowledge {record.domain} --serving primary|secondary",
        since=record.suspected_at,
        thread=thread_of(record),
        severity=Severity.FAIL,
        details="\n".join(explain_halt(record.domain, text, intent.desired).lines()),
    )
    details: dict[str, object] = {"intent": intent.id, "desired": to_json(intent.desired)}
    return Event(
        "flip.unshown", record.domain, f"{intent.kind} accepted by the provider, not shown by DNS: {text}", now, details, notice
    )


def state_event(record: DomainRecord, trigger: Trigger, reasons: tuple[str, ...], now: datetime) -> Event:
    """A change of state without a plan."""
    row = step(record.state, trigger)
    notice = None
    if trigger in (Trigger.SEEN_AT_PRIMARY, Trigger.SEEN_AT_SECONDARY):
        goes = "to the primary" if trigger is Trigger.SEEN_AT_PRIMARY else "to the secondary"
        notice = Notice(
            f"{record.domain}: mail goes {goes}", "no", goes, "nothing", record.suspected_at, thread_of(record), Severity.OK
        )
    details: dict[str, object] = {"from": row.state, "to": row.to, "trigger": trigger, "reasons": list(reasons)}
    return Event("domain.state", record.domain, f"{row.state} -> {row.to}: {row.sentence}", now, details, notice)


def told_event(facts: DomainFacts, decision: Decision, now: datetime) -> Event:
    """A flip is due and is not made: blocked, prepared for a person, or only observed."""
    assert decision.kind is not None
    record, policy = facts.record, facts.policy
    order = next(order for order in decision.orders if order in _TOLD)
    name, phrase = _TOLD[order]
    failing_over = decision.kind is FlipKind.FAILOVER
    change = decision.plan.sentences if decision.plan is not None else ()
    if order is Order.TELL_OBSERVED and decision.guards:
        phrase = "was due, and would have been held up"
    guards = [f"{guard.code}: {guard.text}" for guard in decision.guards]
    command = f"failsafe {decision.kind} {policy.domain}" if policy.writable else f"at the DNS provider: {'; '.join(change)}"
    observed = "nothing" if record.taken_over_at is None else acknowledge(policy.domain, record.serving)
    notice = Notice(
        subject=f"{policy.domain}: {decision.kind} {phrase}",
        losing_mail=losing_mail(facts) if failing_over else "no",
        mail_goes=GOES_PRIMARY if failing_over else "to the secondary",
        must_do={Order.TELL_PREPARED: command, Order.TELL_OBSERVED: observed}.get(order) or _against(decision.guards, command),
        since=record.suspected_at,
        thread=thread_of(record),
        details="\n".join(
            [
                *decision.reasons,
                *_change_lines(facts, decision),
                *(with_way_out(guard, policy.domain) for guard in decision.guards),
            ]
        ),
    )
    details: dict[str, object] = {
        "kind": decision.kind,
        "guards": [{"code": guard.code, "text": guard.text} for guard in decision.guards],
        "plan": list(change),
        "reasons": list(decision.reasons),
    }
    return Event(name, policy.domain, f"{decision.kind} {phrase}: {'; '.join([*guards, *change])}", now, details, notice)


def _change_lines(facts: DomainFacts, decision: Decision) -> tuple[str, ...]:
    """The plan in sentences; where a person has to make it at the provider, exactly what to type there, in order."""
    if decision.plan is None:
        return ()
    if facts.policy.writable:
        return decision.plan.sentences
    change = decision.plan.change
    return (
        "at the DNS provider, in this order:",
        *steps_by_hand(change.domain, change.expected, change.desired),
        "failsafe sees it when it is made, and goes on from there; nobody has to say so.",
    )


def coming_event(facts: DomainFacts, decision: Decision, now: datetime) -> Event:
    """Half of `down_for` is over: when the failover is expected, if nothing changes, and what will come of it."""
    assert decision.due_at is not None
    record, policy, due = facts.record, facts.policy, decision.due_at
    counting = policy.vantages >= policy.quorum  # then `no-quorum` is only the time that still runs
    guards = tuple(guard for guard in decision.guards if not (counting and guard.code == "no-quorum"))
    by_hand = why_not_automatic(facts, FlipKind.FAILOVER)
    command = f"failsafe failover {policy.domain}"
    if facts.mode is Mode.OBSERVE:
        will, must_do = "would be made", "nothing; mode observe writes nothing"
    elif by_hand:
        will, must_do = "is expected to wait for you", f"nothing yet; then {command}"
    elif guards:
        will, must_do = "is due, and blocked so far", _against(guards, command)
    else:
        will, must_do = "is expected", f"nothing; to keep mail where it is: failsafe hold {policy.domain} --for 2h --reason TEXT"
    said = f"failover {will} at {due:%H:%M} UTC, if nothing changes"
    notice = Notice(
        subject=f"{policy.domain}: {said}",
        losing_mail=losing_mail(facts),
        mail_goes=GOES_PRIMARY,
        must_do=must_do,
        since=record.suspected_at,
        thread=thread_of(record),
        details="\n".join([*decision.reasons, *by_hand, *(with_way_out(guard, policy.domain) for guard in guards)]),
    )
    details: dict[str, object] = {
        "due_at": due.isoformat(),
        "guards": [{"code": guard.code, "text": guard.text} for guard in guards],
    }
    return Event("flip.coming", policy.domain, said, now, details, notice)


def losing_mail(facts: DomainFacts) -> str:
    """While mail still goes to a primary that does not take it."""
    if delivery_decides(facts):
        return LOST
    return BOUNCED if any(view.verdict is Verdict.LYING for view in facts.views) else QUEUED


def _against(guards: tuple[Guard, ...], command: str) -> str:
    """What a person does about a blocked flip. More vantages (`no-quorum`) are for later: they do not move this mail."""
    if guards and all(guard.code in PASSING for guard in guards):
        return "nothing; it is made as soon as nothing stands against it"
    return next((guard.mend for guard in guards if guard.mend and guard.code != "no-quorum"), command)


_TOLD = {
    Order.TELL_BLOCKED: ("flip.blocked", "is due and blocked"),
    Order.TELL_PREPARED: ("flip.prepared", "is prepared and waits for you"),
    Order.TELL_OBSERVED: ("flip.observed", "would have been made"),
}
