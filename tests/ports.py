"""Free ports for servers of the tests."""

from __future__ import annotations

import itertools
import os
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack

# Below those that Linux gives to outgoing connections (32768 and up by default): one of those would take a port between our look and the server's start.
LOWEST, HIGHEST = 10_240, 32_000
TRIES = 200


def free_port() -> int:
    """A port of 127.0.0.1 that is free for both TCP and UDP, and that nobody else is given while its server starts, or starts again."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """All different."""
    found = list(itertools.islice(filter(_is_free, itertools.islice(_ours, TRIES * count)), count))
    if len(found) < count:
        raise AssertionError(f"no {count} free ports between {LOWEST} and {HIGHEST}")
    return found


def _all_of_this_worker() -> Iterator[int]:
    """One after the other, for ever. Workers of one run have no port in common: a draw of thousands from one range gave two servers the same one."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    width = (HIGHEST - LOWEST) // workers
    begin = random.SystemRandom().randrange(width)
    return (LOWEST + number * width + (begin + step) % width for step in itertools.count())


_ours = _all_of_this_worker()


def _is_free(port: int) -> bool:
    with ExitStack() as stack:
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                stack.enter_context(socket.socket(type=kind)).bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
