"""Reads what a registry says of a domain (RDAP, RFC 9083) and where to ask it (RFC 9224), and judges when the domain ends. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from failsafe.model import Finding, Severity

CODES = {"domain-expiry": (False, "when the domain itself ends at its registry")}
FAIL_BELOW, WARN_BELOW = timedelta(days=7), timedelta(days=30)
# Of the statuses in RFC 8056: the domain is off already, or on its way out.
OFF = ("client hold", "server hold", "inactive", "redemption period", "pending delete", "pending restore")


@dataclass(frozen=True, slots=True)
class Registration:
    """`domain`: the one that is registered, itself or one above it. `error`: why nothing is known."""

    domain: str = ""
    ends_at: datetime | None = None
    statuses: tuple[str, ...] = ()
    error: str = ""
    asked_at: datetime | None = None


def servers_for(top_level: str, bootstrap: bytes) -> tuple[str, ...]:
    """Base URLs of the registry's RDAP servers in IANA's list, https only; none where it has none. Raises ValueError."""
    try:
        services = json.loads(bootstrap)["services"]
        found = [url for names, urls in services if top_level in names for url in urls]
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ValueError("the list of RDAP servers cannot be read") from None
    return tuple(url if url.endswith("/") else f"{url}/" for url in found if isinstance(url, str) and url.startswith("https://"))


def parse_registration(domain: str, body: bytes, asked_at: datetime) -> Registration:
    """Raises ValueError where the answer makes no sense."""
    try:
        found = json.loads(body)
        statuses = tuple(str(each).lower() for each in found.get("status", ()))
        dates = [event["eventDate"] for event in found.get("events", ()) if event.get("eventAction") == "expiration"]
        ends_at = datetime.fromisoformat(dates[0]) if dates else None
        if ends_at is not None:
            ends_at = ends_at.replace(tzinfo=UTC) if ends_at.tzinfo is None else ends_at.astimezone(UTC)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        raise ValueError("the registry's answer cannot be read") from None
    return Registration(domain, ends_at, statuses, asked_at=asked_at)


def judge_registration(name: str, seen: Registration, now: datetime) -> Finding:
    mend = f"renew {seen.domain or name} at its registrar, and let it renew by itself"
    off = [status for status in seen.statuses if status in OFF]
    if seen.error:
        return Finding("domain-expiry", Severity.SKIPPED, name, seen.error)
    if off:
        text = f"the registry says of {seen.domain}: {', '.join(off)}: it is, or will soon be, out of DNS"
        return Finding("domain-expiry", Severity.FAIL, name, text, mend)
    if seen.ends_at is None:
        return Finding("domain-expiry", Severity.SKIPPED, name, f"the registry of {seen.domain} does not tell when it ends")
    left = seen.ends_at - now
    if left <= timedelta(0):
        return Finding("domain-expiry", Severity.FAIL, name, f"{seen.domain} ended on {seen.ends_at:%Y-%m-%d}", mend)
    text = f"{seen.domain} ends on {seen.ends_at:%Y-%m-%d}, in {left.days} days"
    if left < FAIL_BELOW:
        return Finding("domain-expiry", Severity.FAIL, name, f"{text}; without it there is no mail at all", mend)
    if left < WARN_BELOW:
        return Finding("domain-expiry", Severity.WARN, name, text, mend)
    return Finding("domain-expiry", Severity.OK, name, text)
