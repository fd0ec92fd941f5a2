"""How a probe gets to what it looks at: straight from this machine, or through another one. What it says there is the same."""

from __future__ import annotations

import socket
from typing import Protocol

from failsafe.adapters import sockets
from failsafe.adapters.sockets import Address, Deadline


class Way(Protocol):
    @property
    def vantage(self) -> str:
        """The name of where it begins."""
        ...

    def look_up(self, host: str, port: int, deadline: Deadline) -> tuple[Address, ...]:
        """The addresses of `host` as seen from there. Raises CannotLook."""
        ...

    def connect(self, address: Address, deadline: Deadline) -> socket.socket:
        """A connection from there. Raises ConnectFailed; CannotLook where the other machine itself was lost."""
        ...

    def own_ip(self, connection: socket.socket) -> str:
        """Our end's address, as the server may see it (not behind NAT)."""
        ...


class Direct:
    """From this machine."""

    vantage = "here"

    def look_up(self, host: str, port: int, deadline: Deadline) -> tuple[Address, ...]:
        return sockets.look_up(host, port, deadline)

    def connect(self, address: Address, deadline: Deadline) -> socket.socket:
        return sockets.connect(address, deadline)

    def own_ip(self, connection: socket.socket) -> str:
        return str(connection.getsockname()[0])


DIRECT = Direct()
