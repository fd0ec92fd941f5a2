"""Judges whether a failover of one domain could be relied on. Pure: gathered facts in, findings out, each with what, why and the mend.

Codes that block a failover are marked here (`blocks_failover`), and only a finding of severity `fail` blocks. Nothing that a dead primary
makes fail is marked: readiness is taken from the last run before an incident, but a doctor may also run during one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from failsafe.failover.bans import Stack
from failsafe.failover.doctor_homecoming import CODES as HOMECOMING_CODES
from failsafe.failover.doctor_homecoming import DeliveryCheckup, judge_delivery
from failsafe.failover.doctor_provider import CODES as PROVIDER_CODES
from failsafe.failover.doctor_provider import ProviderCheckup, judge_provider, judge_write
from failsafe.failover.doctor_secondary import CODES as SECONDARY_CODES
from failsafe.failover.doctor_secondary import SecondaryCheckup, judge_secondary
from failsafe.failover.doctor_vantages import CODES as VANTAGE_CODES
from failsafe.failover.doctor_vantages import BanCheckup, VantageCheckup, judge_vantages
from failsafe.failover.domain_checks.mx import judge_explicit, judge_target
from failsafe.failover.domain_checks.published import CODES as PUBLISHED_CODES
from failsafe.failover.domain_checks.published import Published, judge_published
from failsafe.failover.drilled import FailoverDrilled
from failsafe.failover.facts import DomainFacts
from failsafe.failover.guards import way_out_of_drift
from failsafe.failover.health import VantageView
from failsafe.failover.zone import describe, mx_layout_fault
from failsafe.model import Axis, Finding, FlipKind, MxSet, ProbeClass, Severity, Side, Verdict

HERE = "here"  # the vantage that the secondary is asked from
TTL_HIGH = 600  # seconds; a flip reaches careful senders only after that long
DRILL_VALID = timedelta(days=180)  # a rehearsal older than this is due again
FAIL, WARN, OK, SKIPPED = Severity.FAIL, Severity.WARN, Severity.OK, Severity.SKIPPED
_NOT_TAKING = (
    ProbeClass.DOWN,
    ProbeClass.DEGRADED,
)  # of an exchange that was asked: who refuses this machine alone may take others' mail

# Of a domain. Blocks a failover, what is looked at.
CODES: dict[str, tuple[bool, str]] = {
    "mx-explicit": (True, "the domain has MX records, at every name server that answers, and no null MX"),
    "mx-layout": (True, "they are the peace layout that the strategy needs"),
    "mx-target": (True, "the primary exchanges resolve; none is an alias, an address, or behind a proxy"),
    "mx-drift": (True, "provider and name servers hold what failsafe expects"),
    "ns-agree": (False, "the authoritative name servers answer, and alike"),
    "ttl-high": (False, "the TTL of the MX records, which a flip waits for"),
    **PROVIDER_CODES,
    "drill-failover": (False, "a failover was rehearsed at a shadow name within 180 days, and went well"),
    "secondary-resolves": (True, "the secondary exchanges resolve, and none is an alias"),
    "secondary-accepts": (True, "a secondary exchange takes mail for the domain"),
    **SECONDARY_CODES,
    **HOMECOMING_CODES,
    **VANTAGE_CODES,
    "probe-identity": (False, "the probe has a recipient and a name of its own"),
    **PUBLISHED_CODES,
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange as a sender sees it. `seen` is None where nobody spoke SMTP with it; then `text` says why.

    `unknown`: it has no address because our resolver gave no answer, which says nothing about the name. `counted`: it refused the recipient in a way
    that fail2ban may count.
    """

    name: str
    addresses: tuple[str, ...]
    alias_of: str = ""
    error: str = ""
    seen: ProbeClass | None = None
    text: str = ""
    unknown: bool = False
    counted: bool = False


@dataclass(frozen=True, slots=True)
class DomainCheckup:
    """What was gathered about one domain. `exchanges` holds every primary and secondary."""

    facts: DomainFacts
    exchanges: Mapping[str, Exchange]
    views: tuple[VantageView, ...]  # of every axis
    probe_configured: bool
    recipient: str | None
    helo: str | None
    last_write_at: datetime | None  # the newest plan that was finished
    drill: FailoverDrilled | None = None  # the last failover drill
    provider: ProviderCheckup | None = None  # None where none is configured
    published: Published | None = None  # None where nobody looked
    secondary: SecondaryCheckup = field(default_factory=SecondaryCheckup)
    delivery: DeliveryCheckup = field(default_factory=DeliveryCheckup)
    watch: VantageCheckup = VantageCheckup((), (), BanCheckup(Stack("")))  # who looks at its server  # noqa: RUF009 - frozen


def judge_domain(seen: DomainCheckup, now: datetime) -> tuple[Finding, ...]:
    """Every finding about one domain, also those that are fine."""
    return (
        *_judge_zone(seen),
        *_judge_targets(seen),
        *_judge_provider(seen, now),
        _judge_drill(seen, now),
        *_judge_secondaries(seen),
        *judge_vantages(seen.facts.policy, seen.watch),
        *_judge_identity(seen),
        *_judge_published(seen, now),
    )


def is_ready(findings: Iterable[Finding]) -> bool:
    """Whether nothing that blocks a failover failed."""
    return not any(finding.blocks_failover and finding.severity is FAIL for finding in findings)


def _judge_zone(seen: DomainCheckup) -> list[Finding]:
    policy, zone, name = seen.facts.policy, seen.facts.zone, seen.facts.policy.domain
    answers = [answer for answer in zone.answers if answer.mx is not None]
    found = next((answer.mx for answer in answers if answer.mx is not None), zone.provider)
    if found is None:
        why = f"the MX records could not be read: {zone.unreadable or 'nobody answered'}"
        return [Finding(code, SKIPPED, name, why, "", blocks_failover=True) for code in ("mx-explicit", "mx-layout", "mx-drift")]
    side = seen.facts.record.serving
    layout = mx_layout_fault(found, policy.layout, side)
    findings = [
        judge_explicit(name, found, zone, policy.layout.primaries[0]),
        Finding("mx-layout", OK, name, f"the layout fits the strategy {policy.layout.strategy}", blocks_failover=True)
        if layout is None
        else Finding("mx-layout", SKIPPED, name, "there is no MX record that could fit", "", blocks_failover=True)
        if not found
        else Finding("mx-layout", FAIL, name, layout, _way_to_layout(seen.facts, found), blocks_failover=True),
        _judge_drift(seen),
        _judge_agreement(seen),
    ]  # fmt: skip
    ttl = found.ttl_seconds
    if ttl is None:
        findings.append(Finding("ttl-high", SKIPPED, name, "the TTL is not known"))
    elif ttl > TTL_HIGH:
        text = f"the TTL is {ttl} s: some senders see a flip only that much later"
        findings.append(
            Finding("ttl-high", WARN, name, text, f'set ttl = "60s" in [domain."{name}"], then failsafe adopt-mx {name}')
        )
    else:
        findings.append(Finding("ttl-high", OK, name, f"the TTL is {ttl} s"))
    return findings


def _way_to_layout(facts: DomainFacts, found: MxSet) -> str:
    """A new peace layout is for peace: while the secondary serves `adopt-mx` is refused."""
    if facts.record.serving is Side.SECONDARY:
        return way_out_of_drift(facts, FlipKind.FAILBACK, found)
    return f"failsafe adopt-mx {facts.policy.domain} --dry-run"


def _judge_drift(seen: DomainCheckup) -> Finding:
    zone, record, name = seen.facts.zone, seen.facts.record, seen.facts.policy.domain
    mend = f"put the records back, or say what is true: failsafe acknowledge {name} --serving primary|secondary"
    answered = [answer.mx for answer in zone.answers if answer.mx is not None]
    if zone.provider is not None and answered and not any(mx.same_records(zone.provider) for mx in answered):
        text = f"the provider says {describe(zone.provider)}, but the authoritative servers say {describe(answered[0])}"
        return Finding("mx-drift", FAIL, name, text, "look at the zone in the provider's panel", blocks_failover=True)
    if (
        record.serving is Side.SECONDARY
        and record.written is not None
        and answered
        and not any(mx.same_records(record.written) for mx in answered)
    ):
        text = f"failsafe wrote {describe(record.written)}, but the zone holds {describe(answered[0])}"
        return Finding("mx-drift", FAIL, name, text, mend, blocks_failover=True)
    return Finding("mx-drift", OK, name, "the zone holds what failsafe expects", blocks_failover=True)


def _judge_agreement(seen: DomainCheckup) -> Finding:
    zone, name = seen.facts.zone, seen.facts.policy.domain
    if zone.silent:
        mend = "mend these name servers, or take them out of the delegation: senders wait for them too"
        return Finding("ns-agree", WARN, name, f"no answer from {', '.join(zone.silent)}", mend)
    lame = [f"{answer.nameserver} {answer.error}" for answer in zone.answers if answer.mx is not None and answer.error]
    if lame:
        mend = "let both UDP and TCP pass to port 53: resolvers use both (RFC 7766)"
        return Finding("ns-agree", WARN, name, f"half an answer from {'; '.join(lame[:4])}", mend)
    heard = [answer.mx for answer in zone.answers if answer.mx is not None]
    if not all(mx.same_records(heard[0]) for mx in heard):  # that the provider differs from all of them is drift
        return Finding(
            "ns-agree",
            WARN,
            name,
            f"the authoritative servers differ: {zone.disagreement}",
            "wait for the zone transfer, then look again",
        )
    if not zone.answers:
        return Finding("ns-agree", SKIPPED, name, "no authoritative server is known")
    return Finding("ns-agree", OK, name, f"all {len(zone.answers)} authoritative servers agree, over UDP and TCP")


def _judge_targets(seen: DomainCheckup) -> list[Finding]:
    name, layout = seen.facts.policy.domain, seen.facts.policy.layout
    odd = judge_target(name, seen.facts.zone)
    return [
        _judge_exchanges("mx-target", name, "primary", [seen.exchanges[each] for each in layout.primaries])
        if odd is None
        else odd
    ]


def _judge_published(seen: DomainCheckup, now: datetime) -> tuple[Finding, ...]:
    policy = seen.facts.policy
    return () if seen.published is None else judge_published(policy.domain, policy.zone, policy.layout, seen.published, now)


def _judge_provider(seen: DomainCheckup, now: datetime) -> tuple[Finding, ...]:
    policy, zone = seen.facts.policy, seen.facts.zone
    drilled_at = seen.drill.at if seen.drill is not None and seen.drill.passed else None
    write = judge_write(
        policy.domain,
        seen.provider,
        zone.provider_error,
        seen.last_write_at,
        now,
        writable=policy.writable,
        drilled_at=drilled_at,
    )
    return (write,) if seen.provider is None else (write, *judge_provider(policy.domain, seen.provider, now))


def _judge_drill(seen: DomainCheckup, now: datetime) -> Finding:
    """A failed one does not block: the live name may be writable where the shadow is not, and the other way round."""
    policy, name, drill = seen.facts.policy, seen.facts.policy.domain, seen.drill
    mend = f"failsafe drill failover {name}"
    if not policy.writable:
        return Finding("drill-failover", SKIPPED, name, "no DNS provider is configured: there is nothing to rehearse")
    if drill is None:
        return Finding("drill-failover", SKIPPED, name, "no failover was rehearsed yet", mend)
    text = f"the last failover drill was on {drill.at:%Y-%m-%d}: {drill.describe()}"
    if not drill.passed:
        return Finding("drill-failover", FAIL, name, text, mend)
    late = now - drill.at > DRILL_VALID
    return Finding("drill-failover", WARN if late else OK, name, text, mend if late else "")


def _judge_secondaries(seen: DomainCheckup) -> list[Finding]:
    name, layout = seen.facts.policy.domain, seen.facts.policy.layout
    secondaries = [seen.exchanges[each] for each in layout.secondaries]
    return [
        _judge_exchanges("secondary-resolves", name, "secondary", secondaries),
        _judge_accepts(seen, secondaries),
        *judge_secondary(name, seen.secondary),
        judge_delivery(name, seen.delivery),
    ]


def _judge_accepts(seen: DomainCheckup, secondaries: list[Exchange]) -> Finding:
    name = seen.facts.policy.domain
    refusing = [each for each in secondaries if each.seen is ProbeClass.LYING]
    if refusing:
        text = f"{refusing[0].name} refuses mail for {seen.recipient or name}: {refusing[0].text}"
        mend = "add the domain and its recipients at the secondary, then run the doctor again"
        return Finding("secondary-accepts", FAIL, name, text, mend, blocks_failover=True)
    accepting = [each for each in secondaries if each.seen in (ProbeClass.UP, ProbeClass.GREYLISTED)]
    if accepting:
        said = f"mail for {seen.recipient}" if seen.recipient else "a session (no recipient is configured in [probe])"
        return Finding("secondary-accepts", OK, name, f"{accepting[0].name} accepts {said}", blocks_failover=True)
    reasons = "; ".join(f"{each.name}: {each.text}" for each in secondaries)
    if _port_25_works(seen) and all(each.seen in _NOT_TAKING for each in secondaries):
        mend = "until the secondary answers, a failover would move mail from one dead place to another"
        return Finding(
            "secondary-accepts",
            FAIL,
            name,
            f"no secondary takes mail, though port 25 works from here ({reasons})",
            mend,
            blocks_failover=True,
        )
    return Finding(
        "secondary-accepts",
        SKIPPED,
        name,
        f"could not be tried from here ({reasons})",
        "port 25 may be blocked on this line, or this address be on a block list: ask from another vantage",
        blocks_failover=True,
    )


def _port_25_works(seen: DomainCheckup) -> bool:
    """Proved by the primary itself, where the probe goes to its port 25. What another place sees says nothing of this machine's line."""
    return any(view.vantage == HERE and view.axis is Axis.INBOUND and view.verdict is Verdict.UP for view in seen.views)


def _judge_identity(seen: DomainCheckup) -> list[Finding]:
    policy, name = seen.facts.policy, seen.facts.policy.domain
    if not seen.probe_configured:
        return []
    missing = [key for key, value in (("recipient", seen.recipient), ("helo", seen.helo)) if value is None]
    if not missing:
        return [Finding("probe-identity", OK, name, f"{seen.helo} asks for {seen.recipient}")]
    mend = f"set {' and '.join(missing)} in [probe.{policy.server}]"
    text = f"the probe has no {' and no '.join(missing)}: it proves less, and may be taken for a spammer"
    return [Finding("probe-identity", WARN, name, text, mend)]


def _fault(exchange: Exchange) -> str:
    if not exchange.addresses:
        return f"{exchange.name} does not resolve: {exchange.error or 'it has no address'}"
    return (
        f"{exchange.name} is an alias of {exchange.alias_of}, which an MX must not name (RFC 2181 10.3)"
        if exchange.alias_of
        else ""
    )


def _judge_exchanges(code: str, name: str, side: str, exchanges: list[Exchange]) -> Finding:
    bad = [fault for each in exchanges if not each.unknown and (fault := _fault(each))]
    if bad:
        return Finding(
            code, FAIL, name, "; ".join(bad), "mend these names in DNS, or the names in the configuration", blocks_failover=True
        )
    unknown = [_fault(each) for each in exchanges if each.unknown]
    if unknown:  # a primary that serves its own zone takes its name along when it dies
        return Finding(code, SKIPPED, name, "; ".join(unknown), "check this machine's resolver", blocks_failover=True)
    return Finding(code, OK, name, f"the {side} exchanges resolve", blocks_failover=True)
