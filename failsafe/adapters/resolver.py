"""ports.Authorities through dnspython: every authoritative server of a domain is asked itself, without recursion."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from failsafe.adapters.dns_wire import mx_answer, split_address
from failsafe.errors import DnsError
from failsafe.model import ServerAnswer, normal_name

QUERY_SECONDS = 3.0  # one try over UDP, and over TCP where the answer is truncated
TRIES = 2
LOOKUP_SECONDS = 5.0  # one question to the system's resolver
MOST_ADDRESSES = 26  # a zone rarely has more than 13 servers with two addresses each
PARALLEL = 8
FRESH_SECONDS = 300.0  # the delegation is looked up again after this; where that fails, the last known one is used
_NO_ROUTE = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EHOSTUNREACH)


@dataclass(frozen=True, slots=True)
class _Server:
    name: str
    host: str
    port: int

    def __str__(self) -> str:
        shown = f"{self.host}:{self.port}" if ":" not in self.host else f"[{self.host}]:{self.port}"
        return f"{self.name} ({shown})" if self.name else shown


class AuthoritativeServers:
    """`nameservers` are asked instead of the delegated ones; `zone` is looked up (by SOA) where it is left out."""

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        zone: str | None = None,
        *,
        query_seconds: float = QUERY_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fixed = tuple(_Server("", *split_address(text)) for text in nameservers)
        self._zone = zone
        self._query_seconds = query_seconds
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, tuple[_Server, ...]]] = {}

    def mx(self, domain: str) -> tuple[ServerAnswer, ...]:
        """One answer per server address, in a stable order. Raises DnsError where no server is known."""
        servers = self._servers(domain)
        with ThreadPoolExecutor(max_workers=min(PARALLEL, len(servers))) as pool:
            answers = list(pool.map(lambda server: self._ask(server, domain), servers))
        heard = [answer for answer in answers if answer is not None]
        # A machine without IPv6 cannot hear the IPv6 addresses; that is no silence of theirs, unless nothing else is left.
        return tuple(heard) or tuple(ServerAnswer(str(server), None, "there is no route to it from here") for server in servers)

    def _servers(self, domain: str) -> tuple[_Server, ...]:
        if self._fixed:
            return self._fixed
        now = self._monotonic()
        known = self._known.get(domain)
        if known is not None and now - known[0] < FRESH_SECONDS:
            return known[1]
        try:
            servers = _delegated(self._zone or find_zone(domain))
        except DnsError:
            if known is None:
                raise
            return known[1]
        self._known[domain] = (now, servers)
        return servers

    def _ask(self, server: _Server, domain: str) -> ServerAnswer | None:
        """None where there is no route for this kind of address from here."""
        import dns.exception
        import dns.flags
        import dns.message
        import dns.query

        error = ""
        for _ in range(TRIES):
            query = dns.message.make_query(domain, "MX", flags=dns.flags.Flag(0), use_edns=0, payload=1232)
            try:
                response, _tcp = dns.query.udp_with_fallback(query, server.host, timeout=self._query_seconds, port=server.port)
                return ServerAnswer(str(server), mx_answer(response, domain, str(server)))
            except DnsError as fault:
                return ServerAnswer(str(server), None, str(fault))
            except dns.exception.Timeout:
                error = f"no answer within {self._query_seconds:g} s"
            except (dns.exception.DNSException, OSError, EOFError) as fault:
                if ":" in server.host and isinstance(fault, OSError) and fault.errno in _NO_ROUTE:
                    return None
                error = f"{type(fault).__name__}: {fault}"
        return ServerAnswer(str(server), None, error)


def find_zone(domain: str) -> str:
    """The zone that holds `domain`, by its SOA. Raises DnsError."""
    import dns.exception
    import dns.resolver

    try:
        resolver = dns.resolver.Resolver()
        return normal_name(dns.resolver.zone_for_name(domain, lifetime=LOOKUP_SECONDS, resolver=resolver).to_text())
    except dns.exception.DNSException as error:
        raise DnsError(
            f"the zone of {domain} cannot be found: {_said(error)}", mend="check this machine's resolver, or set `zone`"
        ) from error


def _delegated(zone: str) -> tuple[_Server, ...]:
    import dns.exception
    import dns.resolver

    try:
        resolver = dns.resolver.Resolver()
        names = sorted(
            normal_name(record.target.to_text()) for record in resolver.resolve(f"{zone}.", "NS", lifetime=LOOKUP_SECONDS)
        )
    except dns.exception.DNSException as error:
        raise DnsError(
            f"the name servers of {zone} cannot be found: {_said(error)}", mend="check this machine's resolver"
        ) from error
    found = [_Server(name, host, 53) for name in names for host in _hosts(resolver, name)][:MOST_ADDRESSES]
    if not found:
        raise DnsError(f"no name server of {zone} has an address ({', '.join(names)})", mend="check the zone's delegation")
    return tuple(found)


def _hosts(resolver: object, name: str) -> list[str]:
    import dns.exception
    import dns.resolver

    assert isinstance(resolver, dns.resolver.Resolver)
    found = []
    for kind in ("A", "AAAA"):
        try:
            found += sorted(record.address for record in resolver.resolve(f"{name}.", kind, lifetime=LOOKUP_SECONDS))
        except dns.exception.DNSException:  # one family is enough; none is told by the caller
            continue
    return found


def _said(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
