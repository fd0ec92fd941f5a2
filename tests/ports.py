"""Free ports for servers of the tests."""

from __future__ import annotations

import random
import socket
from contextlib import ExitStack

# Below those that Linux gives to outgoing connections (32768 and up by default): one of those would take a port between our look and the server's start.
LOWEST, HIGHEST = 10_240, 32_000
TRIES = 200
_dice = random.SystemRandom()  # workers of one run must not draw the same


def free_port() -> int:
    """A port of 127.0.0.1 that is free for both TCP and UDP."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """All different."""
    found: list[int] = []
    for _ in range(TRIES * count):
        if len(found) == count:
            return found
        port = _dice.randrange(LOWEST, HIGHEST)
        if port not in found and _is_free(port):
            found.append(port)
    raise AssertionError(f"no {count} free ports between {LOWEST} and {HIGHEST}")


def _is_free(port: int) -> bool:
    with ExitStack() as stack:
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                stack.enter_context(socket.socket(type=kind)).bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
