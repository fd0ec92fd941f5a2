"""ports.ProviderZone by dynamic update (RFC 2136) with TSIG (RFC 8945), through dnspython.

One UPDATE over TCP carries the whole old RRset as a value-dependent prerequisite (RFC 2136 section 2.4.2) and its replacement: the server
itself compares and sets, atomically. The prerequisite does not compare TTLs. Connecting and sending are told apart: only what fails after
the update may have left is an unknown outcome.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from failsafe.adapters.dns_wire import addresses_of, mx_answer, read_tsig_key, split_address
from failsafe.errors import DnsError, OutcomeUnknown, ZoneChanged
from failsafe.failover.own_records import FALLBACK_TTL_SECONDS, PROOF_EXCHANGE, not_ours
from failsafe.failover.scratch import PROOF, is_scratch, scratch_name
from failsafe.failover.zone import describe
from failsafe.model import MxChange, MxSet, ZonePromises, normal_name

if TYPE_CHECKING:
    import dns.message
    import dns.name
    import dns.rrset
    import dns.update

    from failsafe.config.schema import Dns

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 10.0  # Knot commits an update in about 10 ms, BIND in about 1 ms; this is for a slow line


def make_zone(table: Dns, ttl_seconds: int | None) -> Rfc2136Zone:
    """From `[dns.…]` and the domain's `ttl`."""
    assert table.server is not None and table.key_name is not None and table.key_file is not None
    return Rfc2136Zone(
        str(table.server),
        key_name=table.key_name,
        key_algorithm=table.key_algorithm,
        key_file=table.key_file,
        ttl_seconds=ttl_seconds,
    )


class Rfc2136Zone:
    """A zone on a server that takes signed updates. `server` is its address, such as `127.0.0.1:5353`."""

    promises = ZonePromises(atomic=True, compare_and_set=True, minimum_ttl_seconds=0)

    def __init__(
        self,
        server: str,
        *,
        key_name: str,
        key_file: str | Path,
        key_algorithm: str = "hmac-sha256",
        ttl_seconds: int | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        """`ttl_seconds` is used only where neither the plan nor the zone knows one."""
        self._server = server
        self._host, self._port = split_address(server)
        self._key = (str(key_file), key_name, key_algorithm)
        self._ttl_seconds = ttl_seconds
        self._answer_seconds = answer_seconds

    def read(self, zone: str, domain: str) -> MxSet:  # noqa: ARG002 - the server knows its zones
        """Asks the configured server itself, signed, without recursion. Raises DnsError, SecretError."""
        import dns.flags
        import dns.message

        query = dns.message.make_query(domain, "MX", flags=dns.flags.Flag(0))
        query.use_tsig(read_tsig_key(*self._key))
        try:
            return mx_answer(self._exchange(query), domain, self._server)
        except OutcomeUnknown as error:
            raise DnsError(f"cannot read {domain} at {self._server}: {error}", mend=error.mend) from error

    def apply(self, change: MxChange) -> None:
        """One signed update. Raises ZoneChanged, OutcomeUnknown, DnsError, SecretError."""
        assert change.expected or is_scratch(change.domain), "the first MX record of a domain is written by a person"
        assert change.desired, "an empty MX set is never written"
        self._send(self._update(change), change.domain)

    def preview(self, change: MxChange) -> tuple[str, ...]:
        """The update's sections (RFC 2136 2.2) as records: the zone, what must hold there, and what is put in its place."""
        update = self._update(change)
        head = f"DNS UPDATE to {self._server} over TCP, signed with the key {self._key[1]}"
        sections = (("zone", update.zone), ("prerequisite", update.prerequisite), ("update", update.update))
        return (
            head,
            *(f"{name}: {line}" for name, sets in sections for each in sets for line in _record_lines(each, update.origin)),
        )

    def clear(self, zone: str, name: str, *, only: MxSet | None = None) -> None:
        """One signed update: what is there goes, and nothing there is fine; with `only`, where exactly that set stands. Raises as `apply`."""
        assert is_scratch(name), f"{name} is no scratch name"
        import dns.name

        update = self._new_update(zone)
        if only is not None:
            update.present(dns.name.from_text(name), "MX", *_values(only))
        update.delete(dns.name.from_text(name), "MX")
        self._send(update, name)

    def protected(self, zone: str, domain: str) -> tuple[str, ...]:  # noqa: ARG002 - the port's signature
        """RFC 2136 knows no locks; what a key may not write is told when it tries."""
        return ()

    def credential_ends(self) -> None:
        """A TSIG key has no end; None."""

    def other_zones(self, zone: str) -> None:
        """RFC 2136 does not tell what a key may write; None."""

    def name_servers(self, zone: str) -> tuple[str, ...]:
        """Those that the zone itself names there. Raises DnsError, SecretError."""
        import dns.flags
        import dns.message
        import dns.rdataclass
        import dns.rdatatype

        query = dns.message.make_query(zone, "NS", flags=dns.flags.Flag(0))
        query.use_tsig(read_tsig_key(*self._key))
        try:
            response = self._exchange(query)
        except OutcomeUnknown as error:
            raise DnsError(f"cannot read the name servers of {zone} at {self._server}: {error}", mend=error.mend) from error
        found = response.get_rrset(response.answer, query.question[0].name, dns.rdataclass.IN, dns.rdatatype.NS)
        if found is None:
            raise DnsError(f"{self._server} names no name servers of {zone}", mend="check `zone` of the domain")
        return tuple(sorted(normal_name(record.target.to_text()) for record in found))

    def scratch(self, zone: str, domain: str) -> Rfc2136Scratch:
        return Rfc2136Scratch(self, zone, scratch_name(PROOF, domain))

    def _send(self, update: dns.update.UpdateMessage, domain: str) -> None:
        import dns.rcode

        response = self._exchange(update)
        rcode = response.rcode()
        if rcode == dns.rcode.NOERROR:
            return
        name = dns.rcode.to_text(rcode)
        if rcode in (dns.rcode.NXRRSET, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN):
            raise ZoneChanged(
                f"{domain} does not hold what the plan was made for ({self._server} says {name}); nothing was written"
            )
        if rcode == dns.rcode.SERVFAIL:
            raise OutcomeUnknown(f"{self._server} answers SERVFAIL to the update of {domain}")
        raise DnsError(
            f"{self._server} refuses to update {domain}: {name}",
            mend=f"a configuration error, not an outage: let this key update the MX records of {domain} (BIND update-policy, Knot acl)",
            transient=False,
        )

    def _new_update(self, zone: str) -> dns.update.UpdateMessage:
        import dns.update

        key = read_tsig_key(*self._key)
        return dns.update.UpdateMessage(zone, keyring={key.name: key}, keyname=key.name, keyalgorithm=key.algorithm)

    def _update(self, change: MxChange) -> dns.update.UpdateMessage:
        import dns.name

        update = self._new_update(change.zone)
        name = dns.name.from_text(change.domain)
        if change.expected:
            update.present(name, "MX", *_values(change.expected))
        else:
            update.absent(name, "MX")
        found = (change.desired.ttl_seconds, change.expected.ttl_seconds, self._ttl_seconds, FALLBACK_TTL_SECONDS)
        update.replace(name, next(ttl for ttl in found if ttl is not None), "MX", *_values(change.desired))
        return update

    def _exchange(self, message: dns.message.Message) -> dns.message.Message:
        """Sends one message and reads its answer within the deadline."""
        import dns.exception
        import dns.query
        import dns.rcode
        import dns.tsig

        with self._connect() as connection:
            connection.setblocking(False)  # noqa: FBT003 - the standard library's signature
            try:
                expiration = time.time() + self._answer_seconds  # dnspython's own deadlines are wall time
                dns.query.send_tcp(connection, message, expiration)
                response, _ = dns.query.receive_tcp(connection, expiration, keyring=message.keyring, request_mac=message.mac)
            except dns.tsig.PeerError as error:
                _explain(self._server, error)
            except (dns.exception.DNSException, OSError, EOFError) as error:
                raise OutcomeUnknown(f"{self._server} gave no usable answer: {type(error).__name__} {error}") from error
        if not message.is_response(response):
            raise OutcomeUnknown(f"{self._server} answered something else")
        if response.rcode() == dns.rcode.NOERROR and not response.had_tsig:
            raise OutcomeUnknown(f"{self._server} answered without a signature", mend="configure the same TSIG key on both sides")
        return response

    def _connect(self) -> socket.socket:
        """Nothing has been sent when this fails, so it is never an unknown outcome."""
        reason: OSError | None = None
        for address in addresses_of(self._host, self._port):
            try:
                return socket.create_connection(address, timeout=CONNECT_SECONDS)
            except OSError as error:
                reason = error
        raise DnsError(
            f"cannot connect to the name server {self._server}: {reason}", mend="check that it runs and that TCP passes"
        ) from reason


class Rfc2136Scratch:
    """ports.ScratchRecord: an MX set of ours whose preference is the number."""

    def __init__(self, server: Rfc2136Zone, zone: str, name: str) -> None:
        self._server, self._zone, self.name = server, zone, name

    def read(self) -> tuple[int, ...]:
        """Records of others are none of ours: a wildcard's are seen here too, and do not stand in the way."""
        return tuple(record.preference for record in self._found()[0].records)

    def ttl_seconds(self) -> int | None:
        return self._server.read(self._zone, self.name).ttl_seconds

    def write(self, expected: int | None, number: int) -> None:
        old, new = MxSet(()) if expected is None else _scratch(expected), _scratch(number)
        try:
            self._server.apply(MxChange(self.name, self._zone, old, new, ""))
        except ZoneChanged:
            self._refuse_foreign(self._found()[1])
            raise

    def clear(self) -> None:
        """Only what is ours, and only while nothing else stands there: the server itself compares."""
        ours, foreign = self._found()
        if ours:
            self._refuse_foreign(foreign)
            self._server.clear(self._zone, self.name, only=ours)

    def _found(self) -> tuple[MxSet, MxSet]:
        """What is ours, and what is not."""
        found = self._server.read(self._zone, self.name).records
        ours = tuple(record for record in found if record.exchange == PROOF_EXCHANGE)
        return MxSet(ours), MxSet(tuple(record for record in found if record not in ours))

    def _refuse_foreign(self, foreign: MxSet) -> None:
        if foreign:
            raise not_ours("MX", self.name, describe(foreign))


def _scratch(number: int) -> MxSet:
    return MxSet.of((number, PROOF_EXCHANGE), ttl_seconds=Rfc2136Zone.promises.minimum_ttl_seconds)


def _record_lines(found: dns.rrset.RRset, origin: dns.name.Name | None) -> list[str]:
    """With whole names, so that nobody has to know what they are relative to."""
    return str(found.to_text(origin=origin, relativize=False)).splitlines()


def _values(found: MxSet) -> list[str]:
    return [f"{record.preference} {record.exchange}." for record in found.records]


def _explain(server: str, error: Exception) -> NoReturn:
    """The server rejected our signature: nothing was written, and it is nobody's outage."""
    import dns.tsig

    if isinstance(error, dns.tsig.PeerBadTime):
        mend = "set this machine's clock (TSIG allows 300 s of difference): timedatectl set-ntp true"
        raise DnsError(f"{server} rejects our signature because the clocks differ (BADTIME)", mend=mend) from error
    mend = "a configuration error, not an outage: key_name, key_algorithm and key_file must be what the server has"
    raise DnsError(f"{server} rejects our key ({type(error).__name__})", mend=mend, transient=False) from error
