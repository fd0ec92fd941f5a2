"""Makes a plan out of facts: a value that can be shown, hashed, approved and run. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from failsafe.errors import Refused
from failsafe.failover.facts import Policy
from failsafe.failover.zone import describe, plan_failback, plan_failover, plan_peace, plan_unlisted, steps
from failsafe.model import DomainRecord, FlipKind, Mx, MxChange, MxSet

MARK_LIMIT = 100  # characters in a comment on Cloudflare's free plan


@dataclass(frozen=True, slots=True)
class FlipPlan:
    """What would be written. `digest` names exactly this change: what a person approved is what is run."""

    kind: FlipKind
    change: MxChange
    digest: str
    sentences: tuple[str, ...]


def make_plan(kind: FlipKind, found: MxSet, record: DomainRecord, policy: Policy, *, unlist: bool = False) -> FlipPlan:
    """Plans from the set that the zone holds now. `unlist`: a failover takes the primary out. Raises Refused where it does not fit the strategy."""
    if kind is FlipKind.FAILOVER and unlist:
        desired = plan_unlisted(found, policy.layout, policy.ttl_seconds)
    elif kind is FlipKind.FAILOVER:
        desired = plan_failover(found, policy.layout, policy.ttl_seconds)
    elif kind is FlipKind.FAILBACK:
        desired = plan_failback(found, record.previous, policy.layout, policy.ttl_seconds)
    else:
        if not found:
            raise Refused(
                f"{policy.domain} has no MX record; the first one is written by a person",
                mend="add an MX record at the DNS provider",
            )
        desired = plan_peace(found, policy.layout, policy.ttl_seconds)
    change = MxChange(policy.domain, policy.zone, found, desired, mark(kind, record))
    return FlipPlan(kind, change, plan_digest(kind, change), describe_change(found, desired))


def plan_digest(kind: FlipKind, change: MxChange) -> str:
    """SHA-256 over everything that will be written and what it is written over."""
    content = [kind, change.domain, change.zone, to_json(change.expected), to_json(change.desired)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def mark(kind: FlipKind, record: DomainRecord) -> str:
    """The ownership mark that providers with comments keep beside the records."""
    return f"failsafe {kind} epoch {record.epoch + 1}"[:MARK_LIMIT]


def describe_change(before: MxSet, after: MxSet) -> tuple[str, ...]:
    """One sentence a record, for a person who may have to do it by hand."""
    if not before:
        return (f"set MX to {describe(after)}",)
    said = []
    for step in steps(before, after):
        if step.before is None and step.after is not None:
            said.append(f"add MX {step.after.preference} {step.after.exchange}")
        elif step.after is None and step.before is not None:
            said.append(f"remove MX {step.before.preference} {step.before.exchange}")
        elif step.before is not None and step.after is not None:
            said.append(
                f"change MX {step.before.preference} {step.before.exchange} to {step.after.preference} {step.after.exchange}"
            )
    if before.ttl_seconds is not None and after.ttl_seconds not in (None, before.ttl_seconds):
        said.append(f"change the TTL from {before.ttl_seconds} s to {after.ttl_seconds} s")
    return tuple(said)


def steps_by_hand(domain: str, before: MxSet, after: MxSet) -> tuple[str, ...]:
    """What a person types at the DNS provider, record by record and in this order: the set is never empty, and right after the last step."""
    ttl = after.ttl_seconds if after.ttl_seconds is not None else before.ttl_seconds
    said = []
    for number, step in enumerate(steps(before, after) if before else (), 1):
        if step.before is None and step.after is not None:
            said.append(f"{number}. add     {_line(domain, step.after, ttl)}")
        elif step.after is None and step.before is not None:
            said.append(f"{number}. delete  {_line(domain, step.before, before.ttl_seconds)}")
        elif step.before is not None and step.after is not None:
            said.append(f"{number}. change  {_line(domain, step.before, before.ttl_seconds)}")
            said.append(f"   into    {_line(domain, step.after, ttl)}")
    whole = [f"   {_line(domain, record, ttl)}" for record in after.records]
    return (*said, "then the MX records are exactly:", *whole)


def _line(domain: str, record: Mx, ttl_seconds: int | None) -> str:
    """As in a zone file."""
    ttl = "" if ttl_seconds is None else f"{ttl_seconds} "
    return f"{domain}. {ttl}IN MX {record.preference} {record.exchange}."


def to_json(found: MxSet) -> dict[str, object]:
    """`{"records": [[10, "mail.example.org"]], "ttl_seconds": 60}`: how sets are written everywhere."""
    return {"records": [[record.preference, record.exchange] for record in found.records], "ttl_seconds": found.ttl_seconds}
