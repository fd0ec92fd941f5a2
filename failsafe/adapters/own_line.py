"""Whether our own connection works: TCP connections to several unrelated references, asked at the same time.

One reference is itself unreliable, so a majority counts (`OwnLine.up`). Nothing is sent to them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta

from failsafe.adapters.sockets import ConnectFailed, Deadline, LookupFailed, connect, look_up, split_address
from failsafe.model import OwnLine

REFERENCES_ASKED = 9  # more would be a scan, and says no more
PATIENCE_SECONDS = 5.0  # five times the slowest round trip of an ordinary line, satellites included


def patience_within(interval: timedelta) -> float:
    """Shorter where probes are frequent: evidence is stale after three intervals, and each look is framed by two of these rounds."""
    return min(PATIENCE_SECONDS, max(1.0, interval.total_seconds() / 2))


class OwnLineCheck:
    """Asks the references "host:port". `patience` bounds one round as a whole, in seconds."""

    def __init__(self, references: Sequence[str], *, patience: float = PATIENCE_SECONDS) -> None:
        self._references = tuple(split_address(reference, 443) for reference in references)[:REFERENCES_ASKED]
        self._patience = patience

    def look(self, now: datetime) -> OwnLine:
        """Asks all of them once; never raises."""
        deadline = Deadline(self._patience)
        answered: list[str] = []
        askers = [
            threading.Thread(target=_ask, args=(host, port, deadline, answered), name=f"reference {host}", daemon=True)
            for host, port in self._references
        ]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join(deadline.left + 0.5)
        return OwnLine(now, len(answered), len(self._references))


def _ask(host: str, port: int, deadline: Deadline, answered: list[str]) -> None:
    try:
        for address in look_up(host, port, deadline):
            try:
                connect(address, deadline).close()
            except ConnectFailed:
                continue
            answered.append(f"{host}:{port}")
            return
    except LookupFailed:
        return
