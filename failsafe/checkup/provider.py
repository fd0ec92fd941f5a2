"""Gathers what the doctor judges of a domain's DNS provider, and lets it show on a scratch record what it promises. Judges nothing itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from failsafe.adapters.lock import FileLock
from failsafe.app import App
from failsafe.errors import DnsError, SecretError
from failsafe.failover.doctor_provider import Proof, ProviderCheckup
from failsafe.failover.prove import prove_cas


def look_at_provider(app: App, domain: str, zone_name: str, now: datetime, *, prove: bool) -> ProviderCheckup | None:
    """None where the domain has no provider. With `prove` a scratch record is written; else the last proof is remembered.

    Raises StoreError; LockBusy where another proof of this domain is at work.
    """
    provider = app.provider(domain)
    if provider is None:
        return None
    table = app.domain(domain)
    protected: tuple[str, ...] = ()
    ends_at, protected_error, protected_mend, ends_error = None, "", "", ""
    try:
        protected = provider.protected(zone_name, domain)
    except (DnsError, SecretError) as error:
        protected_error, protected_mend = str(error), error.mend
    try:
        ends_at = provider.credential_ends()
    except (DnsError, SecretError) as error:
        ends_error = str(error)
    beside, beside_error = None, ""
    try:
        beside = provider.other_zones(zone_name)
    except (DnsError, SecretError) as error:
        beside_error = str(error)
    return ProviderCheckup(
        promises=provider.promises,
        ttl_seconds=None if table.ttl is None else int(table.ttl.total_seconds()),
        protected=protected,
        protected_error=protected_error,
        protected_mend=protected_mend,
        ends_at=ends_at,
        ends_error=ends_error,
        beside=None if beside is None else tuple(each for each in beside if not _is_ours(app, each)),
        beside_error=beside_error,
        proof=_prove(app, domain, zone_name, now) if prove else _remembered(app, domain),
    )


def _is_ours(app: App, zone: str) -> bool:
    """Whether a configured domain lies in it: one credential may serve several."""
    return any(domain == zone or domain.endswith(f".{zone}") for domain in app.config.domain)


def _prove(app: App, domain: str, zone_name: str, now: datetime) -> Proof:
    provider = app.provider(domain)
    assert provider is not None
    scratch = provider.scratch(zone_name, domain)
    with FileLock(app.lock_file(f"prove-cas:{domain}"), f"doctor --prove-cas of {domain}").hold():  # there is one scratch record
        try:
            proof = Proof(now, prove_cas(scratch, provider.promises.minimum_ttl_seconds))
        except (DnsError, SecretError) as error:
            mend = f"the credential must also be let write the scratch record {scratch.name}; {error.mend}".rstrip("; ")
            proof = Proof(now, error=str(error), mend=mend)
        details: dict[str, Any] = {"fault": proof.fault, "error": proof.error, "mend": proof.mend}
        app.duties.ended(_duty(app, domain), now, ok=proof.holds, result="ok" if proof.holds else "failed", details=details)
    return proof


def _remembered(app: App, domain: str) -> Proof | None:
    row = app.duties.all().get(_duty(app, domain))
    return None if row is None or row.ended_at is None else Proof(row.ended_at, **row.details)


def _duty(app: App, domain: str) -> str:
    """A proof is one of this provider: with another one it is none."""
    return f"prove-cas:{domain}:{app.domain(domain).dns}"
