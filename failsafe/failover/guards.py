"""Every reason not to flip, judged at once: a blocked flip lists all of its guards, never only the first. Pure.

Nothing that a dead primary makes fail guards a failover: its own name server may be silent, its checks may fail. What guards a failback
is stricter, because coming home to a primary that is not ours, or empty, loses mail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from failsafe.failover.delivery import delivery_decides
from failsafe.failover.evidence import against, describe_span, votes
from failsafe.failover.facts import DomainFacts
from failsafe.failover.weigh import suspected_bans
from failsafe.failover.zone import describe, mx_layout_fault
from failsafe.model import FlipKind, Guard, MxSet, Side, Verdict

CODES = (
    "taken-over", "held", "not-leader", "own-line-down", "monitor-banned", "no-quorum", "secondary-not-ready", "dwell", "flip-budget", "unfinished-intent",
    "drift", "zone-unreadable", "proof-of-life", "start-grace", "accounts-missing", "store-suspect", "doctor",
)  # fmt: skip
BY_HAND = frozenset(
    {"taken-over", "not-leader", "unfinished-intent", "drift", "zone-unreadable", "secondary-not-ready", "accounts-missing"}
)  # refuse a person
FORCEABLE = frozenset({"secondary-not-ready", "accounts-missing"})  # of those, what yields to --force
OWN_LINE_STALE = 3  # probe intervals after which a reading of our own line says nothing
START_GRACE = 2  # probe intervals after the start without an automatic flip
PROOF_STALE = timedelta(minutes=30)  # a proof of the primary older than this is gathered anew
DAY = timedelta(days=1)


def judge_guards(facts: DomainFacts, kind: FlipKind, now: datetime) -> tuple[Guard, ...]:
    """All guards that stand against this flip now, in the order of the reference."""
    judges = [*_ALWAYS, *(_FAILOVER if kind is FlipKind.FAILOVER else _FAILBACK if kind is FlipKind.FAILBACK else ())]
    guards = [*(guard for judge in judges for guard in judge(facts, now)), *judge_zone(facts, kind)]
    return tuple(sorted(guards, key=lambda guard: CODES.index(guard.code)))


def judge_zone(facts: DomainFacts, kind: FlipKind) -> Iterator[Guard]:
    """zone-unreadable and drift: the zone must hold what this flip starts from."""
    if facts.zone.unreadable:
        yield Guard("zone-unreadable", facts.zone.unreadable, "check the DNS provider's credentials and status, and our own line")
        return
    found = facts.zone.agreed
    if found is None:
        yield Guard(
            "drift",
            f"the servers disagree: {facts.zone.disagreement}",
            "wait until all of them give one set, or mend the one that does not",
        )
        return
    fault = _drift(facts, kind, found)
    if fault:
        yield Guard("drift", fault, way_out_of_drift(facts, kind, found))


def way_out_of_drift(facts: DomainFacts, kind: FlipKind, found: MxSet) -> str:
    """What a person does about records that do not fit."""
    says = f"failsafe acknowledge {facts.policy.domain} --serving primary|secondary"
    if kind is FlipKind.FAILBACK and facts.record.written is not None and found.same_records(facts.record.written):
        # nobody touched the zone: to acknowledge what it holds would change nothing
        return (
            f'let strategy, primary and secondary of [domain."{facts.policy.domain}"] be what they were when this was written, until mail is home; '
            f"or make the records fit the new ones by hand, at the DNS provider, then: {says}"
        )
    return f"put the records back, or say what is true: {says}"


def _drift(facts: DomainFacts, kind: FlipKind, found: MxSet) -> str | None:
    if kind is FlipKind.ADOPT_MX:
        return None if found else "there is no MX record"
    if kind is FlipKind.FAILBACK and facts.record.written is not None and not found.same_records(facts.record.written):
        return f"the zone holds {describe(found)}, but failsafe wrote {describe(facts.record.written)}"
    return mx_layout_fault(found, facts.policy.layout, Side.PRIMARY if kind is FlipKind.FAILOVER else Side.SECONDARY)


def _taken_over(facts: DomainFacts, _now: datetime) -> Iterator[Guard]:
    at = facts.record.taken_over_at
    if at is not None:
        text = f"this machine took over from a lost controller at {at:%Y-%m-%d %H:%M} UTC; a person must say which side serves"
        yield Guard("taken-over", text, f"failsafe acknowledge {facts.policy.domain} --serving {facts.record.serving}")


def _held(facts: DomainFacts, now: datetime) -> Iterator[Guard]:
    until = facts.record.held_until
    if until is not None and now < until:
        reason = facts.record.hold_reason or "no reason given"
        yield Guard("held", f"held until {until:%Y-%m-%d %H:%M} UTC: {reason}", f"failsafe release {facts.policy.domain}")


def _not_leader(facts: DomainFacts, _now: datetime) -> Iterator[Guard]:
    if not facts.leader:
        yield Guard("not-leader", "another controller acts", "run this on the controller that leads, or stop that one")


def _unfinished(facts: DomainFacts, _now: datetime) -> Iterator[Guard]:
    if facts.unfinished is not None:
        text = f"the {facts.unfinished.kind} begun at {facts.unfinished.planned_at:%Y-%m-%d %H:%M} UTC is not finished"
        yield Guard("unfinished-intent", text, "it is finished or given up by the daemon within its deadline")


def _own_line(facts: DomainFacts, now: datetime) -> Iterator[Guard]:
    line = facts.own_line
    if line is None or now - line.at > facts.policy.probe_every * OWN_LINE_STALE:
        yield Guard("own-line-down", "nothing recent is known about our own line", "configure [own_line] references that answer")
    elif not line.up:
        yield Guard(
            "own-line-down",
            f"only {line.answered} of {line.asked} references answer: our own line is down",
            "look after the controller's network",
        )


def _dwell(facts: DomainFacts, now: datetime) -> Iterator[Guard]:
    last_at = max((flip.outcome_at for flip in facts.flips if flip.outcome_at is not None), default=None)
    if last_at is None or now - last_at >= facts.policy.min_dwell:
        return
    text = f"the last flip was {describe_span(now - last_at)} ago; the next may come in {describe_span(last_at + facts.policy.min_dwell - now)}"
    mend = ""
    if last_at > now + DAY:  # how long ago it really was nobody knows
        text = f"the last flip is recorded at {last_at:%Y-%m-%d %H:%M} UTC, which is still to come: this machine's clock was wrong then, or is now"
        verb = "failover" if facts.record.serving is Side.PRIMARY else "failback"
        mend = f"set the clock; if it is right now, flip by hand, which no dwell refuses: failsafe {verb} {facts.policy.domain}"
    yield Guard("dwell", text, mend)


def _budget(facts: DomainFacts, now: datetime) -> Iterator[Guard]:
    recent = sum(1 for flip in facts.flips if flip.outcome_at is not None and now - flip.outcome_at < DAY)
    if recent >= facts.policy.flips_per_day:
        yield Guard(
            "flip-budget",
            f"{recent} flips in the last day; flips_per_day is {facts.policy.flips_per_day}",
            "find out why it flaps, then flip by hand",
        )


def _start_grace(facts: DomainFacts, now: datetime) -> Iterator[Guard]:
    grace = facts.policy.probe_every * START_GRACE
    if delivery_decides(facts) and any(view.last_at is None or view.last_at < facts.started_at for view in against(facts)):
        # its lookers come by every few minutes: what they saw before a crash may be a quarter of an hour old
        yield Guard("start-grace", "the controller has started, and nobody has looked since whether mail still does not arrive")
        return
    known = [view for view in facts.views if view.verdict is not Verdict.UNKNOWN]
    told_before = any(view.since_at is not None and view.since_at < facts.started_at for view in known)
    if not timedelta(0) <= now - facts.started_at < grace:  # also where the clock was set back since the start
        return
    started = f"the controller started {describe_span(now - facts.started_at)} ago"
    # What a vantage saw last before a crash may not have been written: one that saw the primary up must first be heard again.
    expected = [
        view for view in facts.views if view.vantage not in facts.policy.standing.near
    ]  # the silence of those never blocks
    unheard = [view.vantage for view in expected if view.last_at is None or view.last_at < facts.started_at]
    if not told_before:
        yield Guard("start-grace", f"{started} and has no older evidence")
    elif unheard:
        yield Guard("start-grace", f"{started} and has not yet heard anew from {', '.join(unheard)}")


def _banned(facts: DomainFacts, now: datetime) -> Iterator[Guard]:
    blocked = [view for view in facts.views if view.blocked]
    shut_out = suspected_bans(facts.views, facts.policy.standing.shallow)
    mend = facts.policy.unban or "let the probe's address pass (fail2ban, firewall)"
    if blocked and len(votes(facts, now)) < facts.policy.quorum:
        said = "; ".join(f"{view.vantage}: {', '.join(view.reasons)}" for view in blocked)
        yield Guard("monitor-banned", f"the primary refuses our probes from {said}", mend)
    elif shut_out and not delivery_decides(facts):  # who cannot reach it is not asked for a vote there
        names = ", ".join(shut_out)
        yield Guard("monitor-banned", f"{names} cannot reach the primary, and others can: it seems to ban or block {names}", mend)


def _no_quorum(facts: DomainFacts, now: datetime) -> Iterator[Guard]:
    policy, said = facts.policy, len(votes(facts, now))
    if policy.vantages < policy.quorum:
        text = f"{policy.vantages} of {policy.quorum} vantages are configured, so nothing is flipped automatically"
        yield Guard("no-quorum", text, "add a [vantage.NAME], another place to look from (docs/vantages.md), or lower quorum")
    elif against(facts) and said < policy.quorum:
        yield Guard("no-quorum", f"{said} of {policy.quorum} vantages have said down for {describe_span(policy.down_for)}")


def _readiness(facts: DomainFacts, _now: datetime) -> Iterator[Guard]:
    yield from facts.readiness.guards


def _proof_of_life(facts: DomainFacts, now: datetime) -> Iterator[Guard]:
    alive_at = facts.proof_of_life_at
    began = min((view.since_at for view in against(facts) if view.since_at is not None), default=None)
    # One from days to come was noted while the clock was wrong, and would be "just now" for years.
    if alive_at is not None and began is not None and alive_at > began and -DAY < now - alive_at < facts.policy.down_for / 2:
        yield Guard(
            "proof-of-life",
            f"the primary received a message from outside {describe_span(now - alive_at)} ago, so it is not down for everyone",
        )


def _primary_proof(facts: DomainFacts, now: datetime) -> Iterator[Guard]:
    if facts.store_suspect:
        yield Guard(
            "store-suspect",
            facts.store_suspect,
            f"look at the mail store, then: failsafe accept {facts.policy.server} --reason TEXT",
        )
    if not facts.policy.ssh:
        return
    if facts.primary is None or now - facts.primary.at > PROOF_STALE:
        yield Guard("doctor", "the returned primary has not been proved ours yet (certificate, host key, login, accounts, disk)")
        return
    for check in facts.primary.checks:
        if not check.ok:
            code = {"accounts": "accounts-missing", "store": "store-suspect"}.get(check.code, "doctor")
            yield Guard(code, f"{check.code}: {check.text}", "mend it on the primary; the next look sees it")


def restore_required(facts: DomainFacts) -> str:
    """Why there is nothing to come home to: the store is empty, or was made anew; "" where nothing says so."""
    checks = facts.primary.checks if facts.primary is not None and facts.policy.ssh else ()
    said = [check.text for check in checks if check.code == "store" and not check.ok]
    return "; ".join([*([facts.store_lost] if facts.store_lost else []), *said])


Judge = Callable[[DomainFacts, datetime], Iterator[Guard]]
_ALWAYS: tuple[Judge, ...] = (_taken_over, _held, _not_leader, _unfinished, _own_line, _dwell, _budget, _start_grace)
_FAILOVER: tuple[Judge, ...] = (_banned, _no_quorum, _readiness, _proof_of_life)
_FAILBACK: tuple[Judge, ...] = (_primary_proof,)
