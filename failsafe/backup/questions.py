"""What is asked about a mail server itself, not about its mail: clock, vitals, names as its resolver knows them, bans."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from failsafe.dns_ports import Lookup
from failsafe.errors import ServerSideError


class Questions(ABC):
    """The part of a session that a server's vitals come through."""

    @abstractmethod
    def _ask(self, *fields: str) -> Iterator[tuple[bytes, bytes]]:
        """Sends one request and yields its frames to the last, which is of kind E."""

    def _answer_to(self, *fields: str) -> dict[str, Any]:
        return next(parse_object(data) for kind, data in list(self._ask(*fields)) if kind == b"E")

    def clock(self) -> int:
        """The server's clock, ns. Unlike `vitals` it starts no program there."""
        return int(self._answer_to("vitals", "clock")["now"])

    def vitals(self) -> dict[str, Any]:
        """Disk and inodes of the roots, load, clock (ns), Postfix's queue length (None: unknown)."""
        return self._answer_to("vitals")

    def lookups(self, names: Sequence[str]) -> dict[str, Lookup]:
        """A records through the server's own resolver; of names that it did not get to, an error. Raises ServerSideError, also from an older helper."""
        found = self._answer_to("vitals", "lookups", *names).get("lookups")
        if not isinstance(found, dict):
            raise ServerSideError("the helper on the server is older than this", mend="install it anew")
        return {
            str(name): Lookup(tuple(sorted(map(str, row[0]))), str(row[1]))
            for name, row in found.items()
            if isinstance(row, list) and len(row) == 2 and isinstance(row[0], list)
        }

    def bans(self, container: str, addresses: Sequence[str]) -> dict[str, Any]:
        """What fail2ban says of these addresses and of ours, in that container or ("") on the server itself (failover/bans.py)."""
        return self._answer_to("vitals", "bans", container, *addresses)

    def all_vitals(self, log_position: str, awaited: Sequence[str]) -> dict[str, Any]:
        """File systems, queue, services, certificates, what the mail log says since `log_position`; failover/vitals.py reads it.

        `awaited`: addresses of which is told how many messages of the queue are for them. An older program there says less.
        """
        return self._answer_to("vitals", "all", json.dumps({"log": log_position, "awaited": list(awaited)}))


def parse_object(data: bytes) -> dict[str, Any]:
    """Raises ServerSideError."""
    try:
        row = json.loads(data)
    except ValueError as error:
        raise ServerSideError(f"an answer that is not JSON: {error}") from error
    if not isinstance(row, dict):
        raise ServerSideError("an answer that is not an object")
    return row
