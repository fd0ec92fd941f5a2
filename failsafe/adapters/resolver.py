"""ports.Authorities through dnspython: every address of every authoritative server of a domain is asked
itself, over UDP and over TCP, without recursion."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

from failsafe.adapters.dns_wire import addresses_of, is_ip, mx_answer, split_address
from failsafe.errors import DnsError
from failsafe.model import ServerAnswer, normal_name

QUERY_SECONDS = 3.0  # one try
TRIES = 2  # over UDP, where a packet may be lost
LOOKUP_SECONDS = 5.0  # one question to the system's resolver
MOST_ADDRESSES = 26  # a zone rarely has more than 13 servers with two addresses each
PARALLEL = 16
FRESH_SECONDS = 300.0  # the delegation is looked up again after this; where that fails, the last known one is used
_NO_ROUTE = (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EHOSTUNREACH)


@dataclass(frozen=True, slots=True)
class _Server:
    """`host` is "" where an address of it could not be found: then it counts as one that does not answer."""

    name: str
    host: str
    port: int

    def __str__(self) -> str:
        if not self.host:
            return self.name
        shown = f"{self.host}:{self.port}" if ":" not in self.host else f"[{self.host}]:{self.port}"
        return f"{self.name} ({shown})" if self.name else shown


class AuthoritativeServers:
    """`nameservers` (addresses, or names of which every address is asked) instead of the delegated ones; `zone` is looked up (by SOA) where it is left out."""

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        zone: str | None = None,
        *,
        query_seconds: float = QUERY_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._given = tuple(_given(text) for text in nameservers)
        self._zone = zone
        self._query_seconds = query_seconds
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, tuple[_Server, ...]]] = {}

    def mx(self, domain: str) -> tuple[ServerAnswer, ...]:
        """One answer per server address (two where UDP and TCP differ), in a stable order. Raises DnsError where no server is known."""
        known = self._servers(domain)
        servers = [server for server in known if server.host]
        lost = [ServerAnswer(server.name, None, "its address cannot be found") for server in known if not server.host]
        with ThreadPoolExecutor(max_workers=min(PARALLEL, 2 * len(servers))) as pool:
            looks = [[pool.submit(self._over, server, domain, kind) for kind in ("UDP", "TCP")] for server in servers]
            both = [[look.result() for look in of_server] for of_server in looks]
        heard = [answer for server, pair in zip(servers, both, strict=True) for answer in _joined(server, *pair)]
        # A machine without IPv6 cannot hear the IPv6 addresses; that is no silence of theirs, unless nothing else is left.
        unheard = [ServerAnswer(str(server), None, "there is no route to it from here") for server in servers]
        return tuple((heard or unheard) + lost)

    def _servers(self, domain: str) -> tuple[_Server, ...]:
        if self._given and all(server.host for server in self._given):
            return self._given
        now = self._monotonic()
        known = self._known.get(domain)
        if known is not None and now - known[0] < FRESH_SECONDS:
            return known[1]
        before = () if known is None else known[1]
        try:
            found = _addressed(self._given, before) if self._given else _delegated(self._zone or find_zone(domain))
            servers = _remembered(found, before)
        except DnsError:
            if known is None:
                raise
            return known[1]
        self._known[domain] = (now, servers)
        return servers

    def _over(self, server: _Server, domain: str, kind: str) -> ServerAnswer | None:
        """One transport's answer; a truncated one over UDP is read over TCP. None where there is no route for this kind of address from here."""
        import dns.exception
        import dns.flags
        import dns.message
        import dns.query

        error = ""
        for _ in range(TRIES if kind == "UDP" else 1):
            query = dns.message.make_query(domain, "MX", flags=dns.flags.Flag(0), use_edns=0, payload=1232)
            try:
                if kind == "UDP":
                    response, _ = dns.query.udp_with_fallback(query, server.host, timeout=self._query_seconds, port=server.port)
                else:
                    response = dns.query.tcp(query, server.host, timeout=self._query_seconds, port=server.port)
                return ServerAnswer(str(server), mx_answer(response, domain, str(server)))
            except DnsError as fault:
                return ServerAnswer(str(server), None, str(fault))
            except dns.exception.Timeout:
                error = f"no answer within {self._query_seconds:g} s"
            except (dns.exception.DNSException, OSError, EOFError, ValueError) as fault:
                if ":" in server.host and isinstance(fault, OSError) and fault.errno in _NO_ROUTE:
                    return None
                error = f"{type(fault).__name__}: {fault}"
        return ServerAnswer(str(server), None, error)


def _joined(server: _Server, udp: ServerAnswer | None, tcp: ServerAnswer | None) -> list[ServerAnswer]:
    """What a server says over both: senders' resolvers use both, and a firewall may pass only one. Nothing where there is no route from here.

    One answer where both give the same set, two where they differ. A transport that is silent beside one that answers is told in `error`.
    """
    if udp is None or tcp is None:
        return []
    if udp.mx is None and tcp.mx is None:
        return [udp if udp.error == tcp.error else replace(udp, error=f"UDP: {udp.error}; TCP: {tcp.error}")]
    if udp.mx is None:
        return [replace(tcp, error=f"over UDP: {udp.error}")]
    if tcp.mx is None:
        return [replace(udp, error=f"over TCP: {tcp.error}")]
    if udp.mx.same_records(tcp.mx):
        return [udp]
    return [replace(udp, nameserver=f"{server} over UDP"), replace(tcp, nameserver=f"{server} over TCP")]


def find_zone(domain: str) -> str:
    """The zone that holds `domain`, by its SOA. Raises DnsError."""
    import dns.exception
    import dns.resolver

    try:
        resolver = dns.resolver.Resolver()
        zone = normal_name(dns.resolver.zone_for_name(domain, lifetime=LOOKUP_SECONDS, resolver=resolver).to_text())
        if zone == domain or "." in zone:
            return zone
        # Nobody keeps his mail domain in the root or a top-level domain: the resolver says that the domain does not exist.
        raise DnsError(
            f"the zone of {domain} cannot be found: this machine's resolver knows nothing below {zone or 'the root'}",
            mend="check this machine's resolver and that the domain is registered, or set `zone`",
        )
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
    if not any(server.host for server in found):
        raise DnsError(f"no name server of {zone} has an address ({', '.join(names)})", mend="check the zone's delegation")
    return tuple(found)


def _given(text: str) -> _Server:
    """One of `nameservers`; without a host where a name was given, which is looked up when it is asked."""
    host, port = split_address(text)
    return _Server("", host, port) if is_ip(host) else _Server(normal_name(host), "", port)


def _addressed(given: tuple[_Server, ...], known: tuple[_Server, ...]) -> tuple[_Server, ...]:
    """Every address of those that were given by name. Raises DnsError where none of all has one."""
    import dns.exception
    import dns.resolver

    named = {server.name for server in known if server.host}
    try:
        resolver = dns.resolver.Resolver()
    except dns.exception.DNSException as error:
        raise DnsError("this machine has no resolver (/etc/resolv.conf)") from error
    found: list[_Server] = []
    for server in given:
        hosts = [server.host] if server.host else _hosts(resolver, server.name)
        if not any(hosts) and server.name not in named:
            with suppress(DnsError):  # it may be known to this machine alone (/etc/hosts)
                hosts = [host for host, _port in addresses_of(server.name, server.port)]
        found += [replace(server, host=host) for host in hosts]
    if not any(server.host for server in (*found, *known)):
        names = ", ".join(server.name for server in given)
        raise DnsError(f"none of the configured name servers has an address ({names})", mend="check `nameservers` of the domain")
    return tuple(found[:MOST_ADDRESSES])


def _hosts(resolver: object, name: str) -> list[str]:
    """The addresses; "" among them where not all could be looked up, or there is none."""
    import dns.exception
    import dns.resolver

    assert isinstance(resolver, dns.resolver.Resolver)
    found, whole = list[str](), True
    for kind in ("A", "AAAA"):
        try:
            found += sorted(record.address for record in resolver.resolve(f"{name}.", kind, lifetime=LOOKUP_SECONDS))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            continue
        except dns.exception.DNSException:
            whole = False
    return found if found and whole else [*found, ""]


def _remembered(servers: tuple[_Server, ...], known: tuple[_Server, ...]) -> tuple[_Server, ...]:
    """An address that cannot be looked up just now is the one that it was: a server may not fall out of the count because our resolver stumbles."""
    found = [server for server in servers if server.host]
    for lost in (server for server in servers if not server.host):
        earlier = [server for server in known if server.name == lost.name and server.host and server not in found]
        found += earlier or ([] if any(server.name == lost.name for server in found) else [lost])
    return tuple(found)


def _said(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
