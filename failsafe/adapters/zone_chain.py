"""What stands above a zone, through dnspython: whom the registry delegates it to, and whether its signatures lead up to the registry's DS.

The chain is checked from the DS down. What lies above (root, top-level domain) is not ours to mend, and a resolver that validates is not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from failsafe.adapters.dns_wire import is_ip, split_address
from failsafe.dns_ports import Lookups
from failsafe.errors import DnsError
from failsafe.failover.domain_checks.delegation import Delegated
from failsafe.failover.domain_checks.dnssec import Signed, Signing
from failsafe.model import normal_name

if TYPE_CHECKING:
    import dns.message
    import dns.rrset

QUERY_SECONDS = 3.0
SERVERS_TRIED = 4
LONGEST_CLIMB = 10  # labels
DNS_PORT = 53

_WORST_FIRST = (Signing.BOGUS, Signing.SECURE, Signing.UNKNOWN, Signing.UNSIGNED)

Server = tuple[str, int]


def delegation_of(zone: str, lookups: Lookups) -> Delegated:
    """Asks the servers of the zone above, without recursion. Never raises."""
    try:
        servers = _servers_above(zone, lookups)
        error = f"no name server above {zone} has an address"
        for server in servers[:SERVERS_TRIED]:
            try:
                found = _names_of(_ask(server, zone, "NS"), zone)
            except DnsError as fault:
                error = str(fault)
                continue
            return Delegated(found)
    except DnsError as fault:
        error = str(fault)
    return Delegated(error=error)


def signing_of(zone: str, name: str, kind: str, servers: Sequence[str], lookups: Lookups) -> Signed:
    """Whether the records of this name and kind are signed so that whoever validates believes them. Never raises.

    `servers`: names or addresses of the zone's authoritative servers.
    """
    above = lookups.ask(zone, "DS")
    if above.unknown:
        return Signed(Signing.UNKNOWN, above.error)
    if not above.records:
        return Signed(Signing.UNSIGNED, "the registry has no DS record of it")
    with ThreadPoolExecutor(SERVERS_TRIED) as pool:
        asked = _places(servers, lookups)[:SERVERS_TRIED]
        found = list(pool.map(lambda server: _checked_at(server, zone, name, kind, above.records), asked))
    ranked = sorted(found, key=lambda each: _WORST_FIRST.index(each.signing))  # one server with old signatures is enough to fail
    return ranked[0] if ranked else Signed(Signing.UNKNOWN, "none of its name servers has an address")


def _checked_at(server: Server, zone: str, name: str, kind: str, ds_texts: Sequence[str]) -> Signed:
    import dns.exception

    try:
        return _checked(server, zone, name, kind, ds_texts)
    except DnsError as fault:
        return Signed(Signing.UNKNOWN, str(fault))
    except (dns.exception.DNSException, ValueError, KeyError) as fault:
        return Signed(Signing.UNKNOWN, f"{server[0]} gives keys or signatures that cannot be read ({type(fault).__name__})")


def _checked(server: Server, zone: str, name: str, kind: str, ds_texts: Sequence[str]) -> Signed:
    """Raises DnsError, DNSException, ValueError."""
    import dns.dnssec
    import dns.exception
    import dns.name
    import dns.rdata
    import dns.rrset

    apex = dns.name.from_text(zone)
    keys, key_signatures = _signed_set(_ask(server, zone, "DNSKEY", dnssec=True), zone, "DNSKEY")
    if keys is None:
        return Signed(Signing.BOGUS, f"the registry has a DS record, but {server[0]} has no DNSKEY")
    wanted = {dns.rdata.from_text("IN", "DS", text) for text in ds_texts}
    trusted = [key for key in keys if any(_is_of(ds, apex, key) for ds in wanted)]
    if not trusted:
        return Signed(Signing.BOGUS, "no DNSKEY of the zone fits the registry's DS record")
    records, signatures = _signed_set(_ask(server, name, kind, dnssec=True), name, kind)
    if records is None:
        return Signed(Signing.UNKNOWN, f"{server[0]} has no {kind} of {name}")
    if key_signatures is None or signatures is None:
        return Signed(Signing.BOGUS, f"the registry has a DS record, but {server[0]} gives no signature of {kind} {name}")
    try:
        dns.dnssec.validate(keys, key_signatures, {apex: dns.rrset.from_rdata_list(apex, 0, trusted)})
        dns.dnssec.validate(records, signatures, {apex: keys})
    except dns.exception.UnsupportedAlgorithm as fault:
        return Signed(Signing.UNKNOWN, f"signed in a way that is not known here: {fault}")
    except dns.exception.ValidationFailure as fault:
        return Signed(Signing.BOGUS, f"{server[0]}: {str(fault) or 'a signature does not fit'}")
    return Signed(Signing.SECURE, f"signed, and the signatures lead up to the registry's DS record ({server[0]})")


def _is_of(ds: Any, apex: Any, key: Any) -> bool:
    import dns.dnssec
    import dns.exception

    try:
        return bool(dns.dnssec.make_ds(apex, key, ds.digest_type, validating=True) == ds)
    except dns.exception.UnsupportedAlgorithm:
        return False


def _signed_set(response: dns.message.Message, name: str, kind: str) -> tuple[dns.rrset.RRset | None, dns.rrset.RRset | None]:
    import dns.name
    import dns.rdataclass
    import dns.rdatatype

    owner, wanted = dns.name.from_text(name), dns.rdatatype.from_text(kind)
    found = response.get_rrset(response.answer, owner, dns.rdataclass.IN, wanted)
    signatures = response.get_rrset(response.answer, owner, dns.rdataclass.IN, dns.rdatatype.RRSIG, wanted)
    return found, signatures


def _ask(server: Server, name: str, kind: str, *, dnssec: bool = False) -> dns.message.Message:
    """Raises DnsError where the server gives no answer of use."""
    import dns.exception
    import dns.flags
    import dns.message
    import dns.query
    import dns.rcode

    query = dns.message.make_query(name, kind, flags=dns.flags.Flag(0), use_edns=0, payload=1232, want_dnssec=dnssec)
    try:
        response, _tcp = dns.query.udp_with_fallback(query, server[0], timeout=QUERY_SECONDS, port=server[1])
    except (dns.exception.DNSException, OSError, EOFError) as error:
        raise DnsError(f"the name server {server[0]} does not answer ({type(error).__name__})") from error
    if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        raise DnsError(f"the name server {server[0]} says {dns.rcode.to_text(response.rcode())} to {name} {kind}")
    return response


def _servers_above(zone: str, lookups: Lookups) -> list[Server]:
    """Raises DnsError."""
    parent = zone
    for _ in range(LONGEST_CLIMB):
        parent = parent.partition(".")[2]
        found = lookups.ask(parent, "NS")
        if found.unknown:
            raise DnsError(f"the zone above {zone} cannot be found: {found.error}")
        if found.records:
            return _places(found.records, lookups)
        if not parent:
            break
    raise DnsError(f"the zone above {zone} cannot be found")


def _names_of(response: dns.message.Message, zone: str) -> tuple[str, ...]:
    """A referral names them in its authority section; a server that holds both zones, in its answer."""
    import dns.name
    import dns.rdatatype

    owner = dns.name.from_text(zone)
    sets = [each for each in (*response.authority, *response.answer) if each.name == owner and each.rdtype == dns.rdatatype.NS]
    return tuple(sorted({normal_name(record.target.to_text()) for each in sets for record in each}))


def _places(servers: Sequence[str], lookups: Lookups) -> list[Server]:
    """Addresses of servers that are named (`ns1.example.net`, `ns1.example.net:53`), or given as `127.0.0.1:5353`."""
    found: list[Server] = []
    for text in servers:
        host, port = split_address(text, DNS_PORT)
        if is_ip(host):
            found.append((host, port))
        else:
            found += [(each, port) for kind in ("A", "AAAA") for each in lookups.ask(host, kind).records[:1]]
    return found
