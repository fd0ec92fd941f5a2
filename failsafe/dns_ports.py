"""What the core asks of DNS: a provider that is written to, and the authoritative servers that the world asks. Part of `ports`."""

from __future__ import annotations

from typing import Protocol

from failsafe.model import MxChange, MxSet, ServerAnswer, ZonePromises


class DnsZone(Protocol):
    """A DNS provider: read, then apply if unchanged. Raises DnsError, ZoneChanged, OutcomeUnknown."""

    @property
    def promises(self) -> ZonePromises: ...
    def read(self, zone: str, domain: str) -> MxSet:
        """The provider's own word on the RRset. An answer that cannot be trusted is a DnsError, never an empty set."""
        ...

    def apply(self, change: MxChange) -> None:
        """One atomic write where the provider can. Nothing is ever deleted before its replacement stands.

        `expected` may be empty only at a scratch name (failover.scratch): the set is then written if there is none.
        """

    def clear(self, zone: str, name: str) -> None:
        """Removes the MX records of a scratch name, if there are any; of no other name, ever (an AssertionError)."""


class Authorities(Protocol):
    """Every authoritative server of a zone, asked one by one (RD=0)."""

    def mx(self, domain: str) -> tuple[ServerAnswer, ...]:
        """One answer per server address; silent servers are in it with their error. Raises DnsError if no server is known."""
        ...
