"""Judges MTA-STS (RFC 8461): whether senders that heed the policy would deliver to the secondary. Pure.

A policy with `mode: enforce` that does not list the secondary makes a failover useless for every large sender, and they keep it for `max_age`
however soon it is mended. So the secondary must be listed long before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from failsafe.failover.zone import MxLayout
from failsafe.mail.mta_sts import StsPolicy, parse_id, parse_policy, sts_records
from failsafe.model import Finding, Severity

CODES = {
    "mta-sts": (True, "the MTA-STS policy, where there is one, can be fetched and lists the secondary"),
    "mta-sts-host": (False, "the MTA-STS policy is not served by the primary itself"),
}
LEAST_AGE = 86_400  # seconds; some senders heed no policy that is shorter
KINDS = ("text/plain",)


@dataclass(frozen=True, slots=True)
class RememberedPolicy:
    """The last one that was fetched whole: senders may still keep it."""

    id: str
    text: str
    at: datetime
    was: str = ""  # its text when the id was new, where that is another one


@dataclass(frozen=True, slots=True)
class StsSeen:
    """`texts`: TXT records at `_mta-sts.DOMAIN`. `policy`: what is served, "" with `policy_error`. `addresses`: of the policy host."""

    texts: tuple[str, ...] = ()
    texts_error: str = ""
    policy: str = ""
    policy_error: str = ""
    kind: str = "text/plain"  # media type
    addresses: tuple[str, ...] = ()
    addresses_error: str = ""
    remembered: RememberedPolicy | None = None

    @property
    def published(self) -> bool:
        return bool(sts_records(self.texts))


def remember(seen: StsSeen, now: datetime) -> RememberedPolicy | None:
    """What to keep of this look for the next one; None where nothing was fetched whole."""
    records = sts_records(seen.texts)
    if len(records) != 1 or seen.policy_error:
        return None
    try:
        found = parse_id(records[0])
        parse_policy(seen.policy)
    except ValueError:
        return None
    known = seen.remembered
    first = (known.was or known.text) if known is not None and known.id == found else seen.policy
    return RememberedPolicy(found, seen.policy, now, "" if first == seen.policy else first)


def judge_mta_sts(name: str, seen: StsSeen, layout: MxLayout, now: datetime) -> Finding:
    records = sts_records(seen.texts)
    if seen.texts_error:
        return _finding(Severity.SKIPPED, name, f"_mta-sts.{name}: {seen.texts_error}")
    kept = _kept(seen, now)
    if not records:
        if kept is not None and kept[0].mode == "enforce":
            return _judge_kept(name, kept, layout, "the record is gone")
        return _finding(Severity.OK, name, "no MTA-STS is published: no policy stands in the way of a failover")
    fault, mend = _record_fault(name, records, now)
    if fault:
        return _finding(Severity.WARN, name, fault, mend)
    if seen.policy_error:
        if kept is not None and kept[0].mode == "enforce" and _absent(kept[0], layout.secondaries):
            return _judge_kept(name, kept, layout, seen.policy_error)
        text = f"the policy cannot be fetched: {seen.policy_error}; senders that have none yet deliver without it, others keep theirs"
        mend = f"serve https://mta-sts.{name}/.well-known/mta-sts.txt with a valid certificate, without redirects"
        return _finding(Severity.WARN, name, text, mend)
    try:
        policy = parse_policy(seen.policy)
    except ValueError as error:
        return _finding(Severity.WARN, name, f"the policy is wrong, so senders heed none: {error}", _whole(name, layout))
    return _judge_policy(name, seen, policy, layout)


def _record_fault(name: str, records: tuple[str, ...], now: datetime) -> tuple[str, str]:
    """(what is wrong with the record in DNS, how to mend it); "" where nothing is."""
    if len(records) > 1:
        return f"{len(records)} records at _mta-sts.{name}: senders heed none", f"leave one of them at _mta-sts.{name}"
    try:
        parse_id(records[0])
    except ValueError as error:
        mend = f'publish: _mta-sts.{name}. IN TXT "v=STSv1; id={now:%Y%m%d%H%M%S}"'
        return f"the record at _mta-sts.{name} is wrong: {error}", mend
    return "", ""


def _judge_policy(name: str, seen: StsSeen, policy: StsPolicy, layout: MxLayout) -> Finding:
    age = timedelta(seconds=policy.max_age)
    if policy.mode == "none":
        return _finding(Severity.OK, name, 'the policy says "mode: none": senders heed nothing of it')
    absent = _absent(policy, layout.secondaries)
    if absent and policy.mode == "enforce":
        text = f"the policy (enforce) does not list {', '.join(absent)}: senders would refuse the secondary, for as long as {_days(age)}"
        return _finding(Severity.FAIL, name, text, _add(name, absent))
    if absent:
        text = f"the policy (testing) does not list {', '.join(absent)}; with enforce, senders would refuse the secondary"
        return _finding(Severity.WARN, name, text, _add(name, absent))
    lost = _absent(policy, layout.primaries)
    if lost:
        text = f"the policy does not list {', '.join(lost)}: senders that heed it do not deliver to the primary now"
        return _finding(Severity.WARN, name, text, _add(name, lost))
    if seen.kind not in KINDS:
        text = f"the policy is served as {seen.kind or 'no kind at all'}: senders may refuse what is not text/plain"
        return _finding(Severity.WARN, name, text, "serve it with Content-Type: text/plain")
    if policy.max_age < LEAST_AGE:
        text = f"max_age is {policy.max_age} s: a policy that senders keep for less than a day protects hardly anything"
        return _finding(Severity.WARN, name, text, "write max_age: 604800 (a week) into the policy, then change the id")
    if seen.remembered is not None and seen.remembered.was:
        text = "the policy was changed, but the id in DNS is still the old one: senders that have the old policy do not notice"
        mend = f'publish a new id: _mta-sts.{name}. IN TXT "v=STSv1; id={_next_id(seen.remembered)}"'
        return _finding(Severity.WARN, name, text, mend)
    return _finding(Severity.OK, name, f"the policy ({policy.mode}, kept for {_days(age)}) lists the primary and the secondary")


def judge_sts_host(name: str, seen: StsSeen, primary_addresses: frozenset[str]) -> Finding:
    host = f"mta-sts.{name}"
    if seen.texts_error or not seen.published:
        return Finding("mta-sts-host", Severity.SKIPPED, name, seen.texts_error or "no MTA-STS is published")
    if seen.addresses_error or not seen.addresses:
        return Finding("mta-sts-host", Severity.SKIPPED, name, seen.addresses_error or f"{host} has no address")
    shared = sorted(set(seen.addresses) & primary_addresses)
    if shared:
        text = f"{host} is the primary itself ({shared[0]}): when that is dead, no sender can fetch the policy"
        mend = f"serve the policy elsewhere (any static web space), and let {host} lead there; the record's id may stay"
        return Finding("mta-sts-host", Severity.WARN, name, text, mend)
    return Finding("mta-sts-host", Severity.OK, name, f"{host} is not on the primary")


def _judge_kept(name: str, kept: tuple[StsPolicy, datetime], layout: MxLayout, why: str) -> Finding:
    policy, until_at = kept
    absent = _absent(policy, layout.secondaries)
    said = f"{why}, but senders may keep the last policy (enforce) until {until_at:%Y-%m-%d}"
    if absent:
        text = f"{said}, and it does not list {', '.join(absent)}: they would refuse the secondary"
        return _finding(Severity.FAIL, name, text, _add(name, absent))
    mend = f'publish the record again; to end MTA-STS, serve "mode: none" first, at least until {until_at:%Y-%m-%d}'
    return _finding(Severity.WARN, name, f"{said}; it lists the secondary", mend)


def _kept(seen: StsSeen, now: datetime) -> tuple[StsPolicy, datetime] | None:
    """The remembered policy while senders may keep it, and until when."""
    if seen.remembered is None:
        return None
    try:
        policy = parse_policy(seen.remembered.text)
    except ValueError:
        return None
    until_at = seen.remembered.at + timedelta(seconds=policy.max_age)
    return (policy, until_at) if now < until_at else None


def _absent(policy: StsPolicy, exchanges: tuple[str, ...]) -> list[str]:
    return [each for each in exchanges if not policy.allows(each)]


def _add(name: str, exchanges: list[str]) -> str:
    lines = ", ".join(f"`mx: {each}`" for each in exchanges)
    return (
        f"add to https://mta-sts.{name}/.well-known/mta-sts.txt the line {lines}, then change the id in _mta-sts.{name}; "
        "listed exchanges that are not in DNS do no harm"
    )


def _whole(name: str, layout: MxLayout) -> str:
    exchanges = "; ".join(f"mx: {each}" for each in (*layout.primaries, *layout.secondaries))
    return f"serve these lines at https://mta-sts.{name}/.well-known/mta-sts.txt: version: STSv1; mode: enforce; max_age: 604800; {exchanges}"


def _next_id(known: RememberedPolicy) -> str:
    return f"{known.at:%Y%m%d%H%M%S}"


def _days(age: timedelta) -> str:
    return f"{age.days} day(s)" if age >= timedelta(days=1) else f"{age.total_seconds():.0f} s"


def _finding(severity: Severity, name: str, text: str, mend: str = "") -> Finding:
    return Finding("mta-sts", severity, name, text, mend, blocks_failover=True)
