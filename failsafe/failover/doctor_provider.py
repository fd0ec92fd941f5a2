"""Judges a DNS provider: may we write, does it refuse a stale change, is anything protected, when does the credential end? Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from failsafe.failover.scratch import DRILL, PROOF, scratch_name
from failsafe.model import Finding, Severity, ZonePromises

WRITE_PROOF = timedelta(days=90)  # a finished write this young shows that the provider lets us
ENDS_SOON = timedelta(days=30)
FAIL, WARN, OK, SKIPPED = Severity.FAIL, Severity.WARN, Severity.OK, Severity.SKIPPED

CODES: dict[str, tuple[bool, str]] = {
    "provider-write": (True, "the DNS provider can be read, and took a change of the live records within 90 days"),
    "provider-cas": (False, "the provider refuses a change made from a stale reading (`doctor --prove-cas` shows it)"),
    "provider-token-expiry": (False, "when the DNS provider's credential ends"),
    "provider-token-scope": (False, "the DNS provider's credential reaches no zone but those that are configured"),
    "zone-locked": (True, "no record that a flip changes is protected (locked) at the provider"),
}


@dataclass(frozen=True, slots=True)
class Proof:
    """What `doctor --prove-cas` saw on a scratch record. `fault`: what was accepted; `error`: why nothing could be seen."""

    at: datetime
    fault: str = ""
    error: str = ""
    mend: str = ""

    @property
    def holds(self) -> bool:
        return not self.fault and not self.error


@dataclass(frozen=True, slots=True)
class ProviderCheckup:
    """What was gathered about one domain at its provider. An error says why the fact before it is not known."""

    promises: ZonePromises
    ttl_seconds: int | None = None  # as configured
    protected: tuple[str, ...] = ()
    protected_error: str = ""
    protected_mend: str = ""
    ends_at: datetime | None = None  # None: never
    ends_error: str = ""
    beside: tuple[str, ...] | None = None  # zones that the credential reaches and no [domain] is in; None: not told
    beside_error: str = ""
    proof: Proof | None = None


def judge_write(
    name: str,
    seen: ProviderCheckup | None,
    provider_error: str,
    last_write_at: datetime | None,
    now: datetime,
    *,
    writable: bool,
    drilled_at: datetime | None = None,
) -> Finding:
    """Whether a failover could be written. Only a write of the live records shows it: the newest finished plan, at `last_write_at`.

    A drill that passed (`drilled_at`) and a proof wrote scratch names; a credential may be allowed those and not the live name.
    """
    if not writable:
        text = "no DNS provider is configured: a person makes the change"
        return Finding("provider-write", SKIPPED, name, text, blocks_failover=True)
    if provider_error:
        mend = "check the credentials in [dns] and the provider's status"
        text = f"the provider could not be read: {provider_error}"
        return Finding("provider-write", FAIL, name, text, mend, blocks_failover=True)
    if seen is not None and seen.ttl_seconds is not None and seen.ttl_seconds < seen.promises.minimum_ttl_seconds:
        least = seen.promises.minimum_ttl_seconds
        text = f"ttl is {seen.ttl_seconds} s, and the provider takes {least} s at least: it would refuse every change"
        return Finding("provider-write", FAIL, name, text, f'set ttl = "{least}s" in [domain."{name}"]', blocks_failover=True)
    if last_write_at is not None and now - last_write_at < WRITE_PROOF:
        text = f"a change was written and verified on {last_write_at:%Y-%m-%d}"
        return Finding("provider-write", OK, name, text, blocks_failover=True)
    proved_at = seen.proof.at if seen is not None and seen.proof is not None and seen.proof.holds else None
    scratch = [
        f"a change was written at {scratch_name(label, name)} on {at:%Y-%m-%d}"
        for label, at in ((DRILL, drilled_at), (PROOF, proved_at))
        if at is not None and now - at < WRITE_PROOF
    ]
    if scratch:
        text = f"{'; '.join(scratch)}. That one of {name} itself is taken, too, is not shown: live records are not written without need"
        mend = f"look there whether the credential may change the MX records of {name}, and not those of its scratch names alone"
        return Finding("provider-write", SKIPPED, name, text, mend, blocks_failover=True)
    text = "the provider can be read; whether it may also be written to was not tried: nothing is written without need"
    mend = f"a drill tries it at a scratch name, and touches no live record: failsafe drill failover {name}"
    return Finding("provider-write", SKIPPED, name, text, mend, blocks_failover=True)


def judge_provider(name: str, seen: ProviderCheckup, now: datetime) -> tuple[Finding, ...]:
    return _judge_cas(name, seen), _judge_protected(name, seen), _judge_end(name, seen, now), _judge_scope(name, seen)


def _judge_cas(name: str, seen: ProviderCheckup) -> Finding:
    proof = seen.proof
    if proof is None:
        how = (
            "refuses a stale change by itself" if seen.promises.compare_and_set else "has no conditional write: failsafe compares"
        )
        text = f"the provider {how}; not shown here yet"
        return Finding("provider-cas", SKIPPED, name, text, f"failsafe doctor --prove-cas --domain {name}")
    if proof.error:
        return Finding("provider-cas", WARN, name, f"it could not be shown ({proof.at:%Y-%m-%d}): {proof.error}", proof.mend)
    if proof.fault:
        mend = (
            "let only one program write there; where the server can be told to heed prerequisites, do that, then prove it again"
        )
        if "TTL" in proof.fault:
            text = (
                f"stale changes were refused, but {proof.fault} ({proof.at:%Y-%m-%d}): senders see a flip later than `ttl` says"
            )
            return Finding(
                "provider-cas", WARN, name, text, "look for a least TTL in the provider's settings, and set `ttl` to it"
            )
        text = f"{proof.fault} ({proof.at:%Y-%m-%d}): two controllers could overwrite each other"
        return Finding("provider-cas", FAIL, name, text, mend)
    by = "" if seen.promises.compare_and_set else " of failsafe's own; changes by hand are compared just before the write"
    text = (
        f"a scratch record was created, changed and deleted on {proof.at:%Y-%m-%d}, and every stale change was refused whole{by}"
    )
    return Finding("provider-cas", OK, name, text)


def _judge_protected(name: str, seen: ProviderCheckup) -> Finding:
    if seen.protected_error:
        text = f"not known: {seen.protected_error}"
        return Finding("zone-locked", SKIPPED, name, text, seen.protected_mend, blocks_failover=True)
    if seen.protected:
        text = f"the provider refuses every change of {'; '.join(seen.protected)}"
        mend = "take the lock away at the provider (Cloudflare: Email Routing; Route 53: record set protections)"
        return Finding("zone-locked", FAIL, name, text, mend, blocks_failover=True)
    return Finding("zone-locked", OK, name, "nothing that a flip changes is protected", blocks_failover=True)


def _judge_end(name: str, seen: ProviderCheckup, now: datetime) -> Finding:
    if seen.ends_error:
        return Finding(
            "provider-token-expiry", SKIPPED, name, f"the provider does not tell when the credential ends: {seen.ends_error}"
        )
    if seen.ends_at is None:
        return Finding("provider-token-expiry", OK, name, "the provider's credential has no end")
    left, mend = seen.ends_at - now, "make a new one there and put it into its file; it is read at every use"
    if left <= timedelta(0):
        return Finding("provider-token-expiry", FAIL, name, f"the credential ended on {seen.ends_at:%Y-%m-%d}", mend)
    text = f"the credential ends on {seen.ends_at:%Y-%m-%d}, in {left.days} days"
    return Finding("provider-token-expiry", WARN if left < ENDS_SOON else OK, name, text, mend if left < ENDS_SOON else "")


def _judge_scope(name: str, seen: ProviderCheckup) -> Finding:
    if seen.beside_error or seen.beside is None:
        why = seen.beside_error or "the provider does not tell"
        mend = "look there yourself: it should be let write this one zone, best its MX records and failsafe's own names alone"
        return Finding("provider-token-scope", SKIPPED, name, f"what else the credential may do is not known: {why}", mend)
    if not seen.beside:
        return Finding("provider-token-scope", OK, name, "the credential reaches no zone but those that are configured here")
    named = ", ".join(seen.beside[:3]) + (f" and {len(seen.beside) - 3} more" if len(seen.beside) > 3 else "")
    text = f"the credential also reaches {named}: who takes it from this machine can change the mail of those too"
    mend = f"make another one there, for the zone of {name} alone (Cloudflare: Zone DNS Edit and Zone Read, Zone Resources: Specific zone)"
    return Finding("provider-token-scope", WARN, name, text, mend)
