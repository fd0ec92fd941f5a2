"""What a few public resolvers give, for information: they show how far a change has come into the caches of the world. Nothing waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from failsafe.adapters.dns_wire import addresses_of, is_ip, split_address
from failsafe.errors import DnsError
from failsafe.model import MxSet, ServerAnswer

QUERY_SECONDS = 3.0


def ask_public(resolvers: Sequence[str], domain: str, query_seconds: float = QUERY_SECONDS) -> tuple[ServerAnswer, ...]:
    """One answer of each, in their order; the TTL is what is left of it in that cache. Raises DnsError for an address that is none."""
    places = [(text, split_address(text)) for text in resolvers]
    if not places:
        return ()
    with ThreadPoolExecutor(max_workers=len(places)) as pool:
        return tuple(pool.map(lambda place: _ask(place[0], place[1], domain, query_seconds), places))


def _ask(name: str, place: tuple[str, int], domain: str, query_seconds: float) -> ServerAnswer:
    import dns.exception
    import dns.message
    import dns.query
    import dns.rcode
    import dns.rdataclass
    import dns.rdatatype

    try:
        host, port = place if is_ip(place[0]) else addresses_of(*place)[0]
        query = dns.message.make_query(domain, "MX")
        response, _tcp = dns.query.udp_with_fallback(query, host, timeout=query_seconds, port=port)
    except DnsError as error:
        return ServerAnswer(name, None, str(error))
    except (dns.exception.DNSException, OSError, EOFError) as error:
        return ServerAnswer(name, None, f"{type(error).__name__}: {error}")
    if response.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return ServerAnswer(name, None, dns.rcode.to_text(response.rcode()))
    found = next((rrset for rrset in response.answer if rrset.rdtype == dns.rdatatype.MX), None)
    if found is None:
        return ServerAnswer(name, MxSet(()))
    records = ((record.preference, record.exchange.to_text()) for record in found)
    return ServerAnswer(name, MxSet.of(*records, ttl_seconds=found.ttl))
