"""ports.Lookups through dnspython: asks the system's resolver, or one that is configured; a domain's own `nameservers` for what lies below it.

Polite and bounded: every question once, a deadline for each and for all of them together, and a server that stays silent is not asked on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from failsafe.adapters.dns_wire import addresses_of, is_ip, split_address
from failsafe.dns_ports import Lookup
from failsafe.errors import DnsError
from failsafe.model import normal_name

if TYPE_CHECKING:
    import dns.message
    import dns.rdata

QUERY_SECONDS = 2.0  # one try
TRIES = 2
WHOLE_SECONDS = 120.0  # everything that is asked through one object
MOST_QUESTIONS = 20_000  # a domain costs about 50
MOST_RECORDS = 100  # of one answer
LONGEST_CHAIN = 8  # CNAMEs
SILENT_AFTER = 3  # questions without an answer, and none with one: then the resolver is taken for dead

Server = tuple[str, int]


class NameLookups:
    """`resolver` is asked instead of the system's; the servers in `own` for a zone and every name below it. May be shared by threads."""

    def __init__(
        self,
        resolver: str = "",
        *,
        own: Mapping[str, Sequence[str]] | None = None,
        query_seconds: float = QUERY_SECONDS,
        whole_seconds: float = WHOLE_SECONDS,
    ) -> None:
        self._configured = resolver
        self._resolver: tuple[Server, ...] | None = None
        self._own = {normal_name(zone): tuple(map(split_address, servers)) for zone, servers in (own or {}).items() if servers}
        self._query_seconds = query_seconds
        self._end = time.monotonic() + whole_seconds
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[threading.Event, list[Lookup]]] = {}
        self._answered: dict[Server, bool] = {}
        self._silences: dict[Server, int] = {}
        self._addresses: dict[Server, tuple[Server, ...]] = {}  # of servers that were given by name

    def ask(self, name: str, kind: str) -> Lookup:
        """Aliases are followed. Never raises."""
        name = normal_name(name)
        with self._lock:
            known = self._known.get((name, kind))
            if known is None and len(self._known) >= MOST_QUESTIONS:
                return Lookup(error=f"more than {MOST_QUESTIONS} look-ups")
            if known is None:
                mine = self._known[name, kind] = (threading.Event(), [])
        if known is not None:
            known[0].wait(self._left() + 1)
            return known[1][0] if known[1] else Lookup(error="no time was left to look it up")
        try:
            found = self._follow(name, kind)
            mine[1].append(found)
            return found
        finally:
            mine[0].set()

    def _follow(self, name: str, kind: str) -> Lookup:
        """An authoritative server gives the first alias alone, where the next name is not its own."""
        aliases: tuple[str, ...] = ()
        for _ in range(LONGEST_CHAIN):
            found, target = self._once(name, kind)
            if target == name or found.records or found.error:
                return Lookup(found.records, found.error, found.exists, aliases + found.aliases, found.validated)
            aliases, name = aliases + found.aliases, target
        return Lookup(error=f"more than {LONGEST_CHAIN} aliases, one behind the other")

    def _once(self, name: str, kind: str) -> tuple[Lookup, str]:
        """What one server says, and the name at the end of its aliases."""
        import dns.exception
        import dns.message
        import dns.rcode

        try:
            response = self._query(name, kind)
            rcode = response.rcode()
            if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                return Lookup(error=f"the name server says {dns.rcode.to_text(rcode)} to {name} {kind}"), name
            return _read(response, kind, name)
        except DnsError as error:
            return Lookup(error=str(error)), name
        except (dns.exception.DNSException, OSError, EOFError, ValueError) as error:
            return Lookup(error=f"{name} {kind} could not be looked up: {type(error).__name__}"), name

    def _query(self, name: str, kind: str) -> dns.message.Message:
        """The first answer that is one. Raises DnsError, and what dnspython raises."""
        import dns.exception
        import dns.flags
        import dns.message
        import dns.query
        import dns.rcode

        own = self._own_servers(name, kind)
        servers = self._addressed(own) if own else self._resolvers()
        flags = dns.flags.Flag(0) if own else dns.flags.RD | dns.flags.AD
        query = dns.message.make_query(f"{name}.", kind, flags=flags, use_edns=0, payload=1232)
        last: dns.message.Message | None = None
        error = "no name server is known"
        for server in [each for _ in range(TRIES) for each in servers]:
            if self._left() <= 0:
                raise DnsError("no time was left to look it up")
            if self._is_silent(server):
                error = f"the name server {server[0]} does not answer"
                continue
            try:
                seconds = min(self._query_seconds, self._left())
                response, _tcp = dns.query.udp_with_fallback(query, server[0], timeout=seconds, port=server[1])
            except (dns.exception.Timeout, OSError, EOFError):
                self._silences[server] = self._silences.get(server, 0) + 1
                error = f"the name server {server[0]} does not answer"
                continue
            self._answered[server] = True
            if response.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                return response
            last = response
        if last is None:
            raise DnsError(error)
        return last

    def _own_servers(self, name: str, kind: str) -> tuple[Server, ...]:
        """Of the longest zone that holds the name; a zone's DS records lie in the zone above."""
        while name:
            if kind == "DS":
                name, kind = name.partition(".")[2], ""
            elif name in self._own:
                return self._own[name]
            else:
                name = name.partition(".")[2]
        return ()

    def _addressed(self, servers: Sequence[Server]) -> tuple[Server, ...]:
        """Raises DnsError where one that was given by name has no address."""
        for server in servers:
            if server not in self._addresses:
                self._addresses[server] = (server,) if is_ip(server[0]) else tuple(addresses_of(*server))
        return tuple(each for server in servers for each in self._addresses[server])

    def _resolvers(self) -> tuple[Server, ...]:
        if self._resolver is None and self._configured:
            self._resolver = tuple(addresses_of(*split_address(self._configured)))
        if self._resolver is None:
            import dns.exception
            import dns.resolver

            try:
                system = dns.resolver.Resolver()
            except dns.exception.DNSException as error:
                raise DnsError("this machine has no resolver (/etc/resolv.conf)") from error
            self._resolver = tuple((str(each), system.port) for each in system.nameservers if isinstance(each, str))[:3]
        return self._resolver

    def _is_silent(self, server: Server) -> bool:
        return not self._answered.get(server) and self._silences.get(server, 0) >= SILENT_AFTER

    def _left(self) -> float:
        return max(0.0, self._end - time.monotonic())


def _read(response: dns.message.Message, kind: str, name: str) -> tuple[Lookup, str]:
    import dns.flags
    import dns.message
    import dns.rcode

    assert isinstance(response, dns.message.QueryMessage)
    chain = response.resolve_chaining()
    aliases = tuple(normal_name(each[0].target.to_text()) for each in chain.cnames)
    records = () if chain.answer is None else tuple(_text(each, kind) for each in list(chain.answer)[:MOST_RECORDS])
    exists = response.rcode() != dns.rcode.NXDOMAIN
    validated = bool(response.flags & dns.flags.AD)
    return Lookup(tuple(sorted(records)), "", exists, aliases, validated), aliases[-1] if aliases else name


def _text(record: dns.rdata.Rdata, kind: str) -> str:
    if kind == "TXT":
        text = b"".join(getattr(record, "strings", ())).decode("utf-8", "replace")
        return "".join(letter if letter.isprintable() else "?" for letter in text)  # it comes to a terminal
    if kind in ("NS", "PTR", "CNAME"):
        return normal_name(record.to_text())
    if kind == "MX":
        preference, _, exchange = record.to_text().partition(" ")
        return f"{preference} {normal_name(exchange) or '.'}"
    return record.to_text()
