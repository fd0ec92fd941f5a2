"""What the core asks of DNS: a provider that is written to, and the authoritative servers that the world asks. Part of `ports`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from failsafe.model import MxChange, MxSet, ServerAnswer, ZonePromises


class DnsZone(Protocol):
    """A DNS provider: read, then apply if unchanged. Raises DnsError, ZoneChanged, OutcomeUnknown."""

    @property
    def promises(self) -> ZonePromises: ...
    def read(self, zone: str, domain: str) -> MxSet:
        """The provider's own word on the RRset. An answer that cannot be trusted is a DnsError, never an empty set."""
        ...

    def preview(self, change: MxChange) -> tuple[str, ...]:
        """Exactly the request that `apply` would send now, in the provider's own words and without credentials. Writes nothing. Raises as `apply`."""
        ...

    def apply(self, change: MxChange) -> None:
        """One atomic write where the provider can. Nothing is ever deleted before its replacement stands.

        `expected` may be empty only at a scratch name (failover.scratch): the set is then written if there is none.
        """

    def clear(self, zone: str, name: str) -> None:
        """Removes the MX records of a scratch name, if there are any; of no other name, ever (an AssertionError)."""


class ScratchRecord(Protocol):
    """A record at a scratch name, on which a provider shows what it promises. Raises DnsError, ZoneChanged, OutcomeUnknown.

    The adapter compares nothing itself here: what refuses a stale expectation is the provider.
    """

    @property
    def name(self) -> str: ...
    def read(self) -> tuple[int, ...]:
        """The numbers that it holds: none, or one, or more where a stale write was accepted."""
        ...

    def ttl_seconds(self) -> int | None:
        """The TTL that it has there; None where it holds nothing. It is written with the least one that the provider promises."""
        ...

    def write(self, expected: int | None, number: int) -> None:
        """Puts `number` in the place of `expected` (None: where there is none), by the means that protect a flip, in one request.

        `expected` is a number that this object has read before.
        """

    def clear(self) -> None:
        """Takes away whatever of ours is there."""


class ProviderZone(DnsZone, Protocol):
    """A DNS provider as the doctor sees it, too."""

    def protected(self, zone: str, domain: str) -> tuple[str, ...]:
        """Records of the domain that the provider refuses to change, each with its reason. Raises DnsError, SecretError."""
        ...

    def credential_ends(self) -> datetime | None:
        """When the credential ends; None if never. Raises DnsError where the provider does not tell, SecretError."""
        ...

    def other_zones(self, zone: str) -> tuple[str, ...] | None:
        """Zones beside this one that the credential reaches; None where the provider does not tell. Raises DnsError, SecretError."""
        ...

    def name_servers(self, zone: str) -> tuple[str, ...]:
        """The names of the servers on which the provider publishes this zone. Raises DnsError, SecretError."""
        ...

    def scratch(self, zone: str, domain: str) -> ScratchRecord: ...


@dataclass(frozen=True, slots=True)
class Lookup:
    """What a name server says of one name and one type of record.

    `records` in presentation format (TXT: the text itself; names lower case, without the final dot). None there, and no `error`: there is no
    such record, and `exists` says whether the name has others. With an `error` nothing is known.
    """

    records: tuple[str, ...] = ()
    error: str = ""
    exists: bool = True
    aliases: tuple[str, ...] = ()  # CNAMEs that were followed
    validated: bool = False  # our resolver says that it checked the signatures (AD)

    @property
    def unknown(self) -> bool:
        return bool(self.error)


class Lookups(Protocol):
    """Asks as the world does. Bounded in time and number; never raises."""

    def ask(self, name: str, kind: str) -> Lookup: ...


class Authorities(Protocol):
    """Every authoritative server of a zone, asked one by one (RD=0)."""

    def mx(self, domain: str) -> tuple[ServerAnswer, ...]:
        """One answer per server address; silent servers are in it with their error. Raises DnsError if no server is known."""
        ...
