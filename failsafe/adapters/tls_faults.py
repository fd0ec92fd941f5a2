"""Remembers with whom TLS went wrong: a handshake that is broken off is a line in the server's log that strict filters count, so it is not
repeated at every look. The first fault is looked at again after an hour, then ever more rarely: five times in a week."""

from __future__ import annotations

from dataclasses import dataclass

from failsafe.adapters.smtp_wire import TlsFault
from failsafe.adapters.sockets import Address, Deadline

FIRST_MEMORY = 3600.0  # seconds
LATER = 6  # each memory lasts so many times as long as the one before
LONGEST_MEMORY = 84 * 3600.0


@dataclass(frozen=True, slots=True)
class _Memory:
    fault: TlsFault
    until: Deadline
    seconds: float
    leaf: str = ""  # digest of the certificate that was shown


class TlsFaults:
    """What one probe remembers, by address."""

    def __init__(self) -> None:
        self._known: dict[Address, _Memory] = {}
        self._forgotten: set[Address] = set()
        self._told: TlsFault | None = None

    def tell(self, fault: TlsFault) -> None:
        """What was found before this process began; it counts for every address of which nothing else is known."""
        self._told = fault

    def recall(self, address: Address) -> TlsFault | None:
        """The fault, as long as it is not time to look again."""
        if address not in self._known and address not in self._forgotten:
            return self._told
        return self._known[address].fault if self.waits(address) > 0 else None

    def keep(self, address: Address, fault: TlsFault) -> None:
        """After a handshake that went wrong."""
        before = self._known.get(address)
        seconds = FIRST_MEMORY if before is None else min(before.seconds * LATER, LONGEST_MEMORY)
        self._known[address] = _Memory(fault, Deadline(seconds), seconds)

    def waits(self, address: Address) -> float:
        """Seconds until it is time to look again."""
        known = self._known.get(address)
        return 0.0 if known is None else known.until.left

    def forget(self, address: Address) -> None:
        """After a handshake that went well."""
        self._known.pop(address, None)
        self._forgotten.add(address)

    def note_leaf(self, address: Address, leaf: str) -> None:
        """After a handshake with any certificate: another one than before is worth a look at the next time."""
        known = self._known.get(address)
        if known is None or not leaf:
            return
        if known.leaf and known.leaf != leaf:
            self.forget(address)
        elif not known.leaf:
            self._known[address] = _Memory(known.fault, known.until, known.seconds, leaf)
