"""Gathers the live MX set of a domain through ports; a failure is part of the reading, never an exception."""

from __future__ import annotations

from failsafe.errors import DnsError, SecretError
from failsafe.failover.facts import Policy, ZoneReading
from failsafe.model import MxSet, ServerAnswer
from failsafe.ports import Authorities, DnsZone


def read_zone(zone: DnsZone | None, authorities: Authorities, policy: Policy) -> ZoneReading:
    """The provider's word and every authoritative server's answer, now."""
    provider: MxSet | None = None
    provider_error = authorities_error = ""
    if zone is not None:
        try:
            provider = zone.read(policy.zone, policy.domain)
        except (DnsError, SecretError) as error:
            provider_error = str(error)
    answers: tuple[ServerAnswer, ...] = ()
    try:
        answers = authorities.mx(policy.domain)
    except DnsError as error:
        authorities_error = str(error)
    return ZoneReading(provider, answers, provider_error, authorities_error)
