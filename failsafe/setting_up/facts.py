"""What the conversation may ask about: a protocol, so that it can be held with values alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from failsafe.secondaries.provider import SecondaryProvider
from failsafe.setting_up.choice import HostKeyChoice
from failsafe.setting_up.sight import Disk, DomainSight, SecondarySight, ServerSight


class Facts(Protocol):
    """Every answer is bounded in time; what cannot be found out is in the answer, never an exception."""

    def domain(self, domain: str) -> DomainSight: ...
    def providers(self) -> Sequence[SecondaryProvider]:
        """Places that can be a secondary, in the order in which they are offered."""
        ...

    def secondary(self, provider: SecondaryProvider, exchanges: Sequence[str], seen: DomainSight) -> SecondarySight: ...
    def host_key(self, host: str, port: int) -> HostKeyChoice | str:
        """What the server shows now; why it shows nothing."""
        ...

    def pinned(self, name: str) -> tuple[str, ...]:
        """Fingerprints that are known of this host, by the file beside the configuration."""
        ...

    def known_elsewhere(self, name: str, fingerprint: str) -> bool:
        """Whether this person's own ~/.ssh/known_hosts has the same key."""
        ...

    def look(self, login: str, folders: Sequence[str], key: HostKeyChoice | None) -> ServerSight:
        """`login`: user@host:port, or "" for this machine."""
        ...

    def disk(self, path: str) -> Disk: ...
    def roomiest(self) -> Sequence[Disk]:
        """Local file systems that data may lie on, the one with the most room first."""
        ...

    def fault_of(self, path: str) -> str:
        """Why a folder cannot be made there; "" where it can, or is there."""
        ...

    def accounts_fault(self, file: str) -> str: ...
    def zone_id(self, token_file: str, domain: str) -> str:
        """Cloudflare's id of the zone, where the token tells; ""."""
        ...

    def is_there(self, file: str) -> bool: ...
