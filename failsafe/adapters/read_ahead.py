"""A socket that is asked for much at once: Paramiko asks for the four bytes of a length and then for one packet, and gives up Python's lock each time."""

from __future__ import annotations

import socket
from typing import Any

ROOM = 1 << 18  # bytes: eight packets of OpenSSH's


class ReadAhead:
    """In all but `recv` the socket that it was made of. For one reader."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._room = memoryview(bytearray(ROOM))
        self._at = self._end = 0  # in `_room`: what came and was not asked for yet

    def recv(self, count: int) -> bytes:
        """As a socket's: waits only where nothing is there, and gives at most so many bytes; none at the connection's end."""
        if self._at == self._end:
            self._at = self._end = 0  # `recv_into` may raise
            self._end = self._sock.recv_into(self._room)
        piece = bytes(self._room[self._at : min(self._end, self._at + count)])
        self._at += len(piece)
        return piece

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)
