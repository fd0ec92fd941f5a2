"""Judges the MX records themselves: there at every name server, no null MX, no target that senders cannot use. Pure."""

from __future__ import annotations

import ipaddress

from failsafe.failover.facts import ZoneReading
from failsafe.failover.zone import describe
from failsafe.model import Finding, MxSet, Severity

PROXIED = "_dc-mx."  # what Cloudflare answers in place of an exchange whose address is proxied


def judge_explicit(name: str, found: MxSet, zone: ZoneReading, primary: str) -> Finding:
    """`found`: what is known of the set; `primary`: the best exchange of the primary. The first record of a domain is written by a person alone."""
    if any(record.exchange == "" for mx in _all(zone) for record in mx.records):
        text = "there is a null MX (RFC 7505): it says that the domain takes no mail, and senders bounce at once"
        mend = f"failsafe adopt-mx {name} writes the peace layout in its place; at the DNS provider: change the record into `{name}. IN MX 10 {primary}.`"
        return Finding("mx-explicit", Severity.FAIL, name, text, mend, blocks_failover=True)
    if not found:
        text = "there is no MX record: senders use the domain's address, and failsafe has nothing to move"
        mend = f"add the first one at the DNS provider: `{name}. IN MX 10 {primary}.`"
        return Finding("mx-explicit", Severity.FAIL, name, text, mend, blocks_failover=True)
    without = [answer.nameserver for answer in zone.answers if answer.mx is not None and not answer.mx]
    if without:
        text = f"{', '.join(without)} has no MX record: senders that ask there use the domain's address"
        mend = "let that server have the zone as it is (a zone transfer that failed?), or take it out of the delegation"
        return Finding("mx-explicit", Severity.FAIL, name, text, mend, blocks_failover=True)
    return Finding("mx-explicit", Severity.OK, name, f"the MX set is {describe(found)}", blocks_failover=True)


def judge_target(name: str, zone: ZoneReading) -> Finding | None:
    """Targets in the records that no sender can use; None where there are none."""
    exchanges = sorted({record.exchange for mx in _all(zone) for record in mx.records})
    for exchange in exchanges:
        if exchange.startswith(PROXIED):
            text = f"the MX target is proxied: senders see {exchange} in its place"
            mend = 'at Cloudflare, switch the address record of the exchange to "DNS only" (the grey cloud)'
            return Finding("mx-target", Severity.FAIL, name, text, mend, blocks_failover=True)
        if _is_address(exchange):
            text = f"an MX record names the address {exchange}; it must name a host (RFC 5321 5.1), and senders refuse it"
            mend = f"give {exchange} a name, such as mail.{name}, and let the MX record name that"
            return Finding("mx-target", Severity.FAIL, name, text, mend, blocks_failover=True)
    return None


def _all(zone: ZoneReading) -> list[MxSet]:
    provider = [zone.provider] if zone.provider is not None else []
    return [*provider, *(answer.mx for answer in zone.answers if answer.mx is not None)]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
