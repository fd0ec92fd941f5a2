"""Whether our own connection works: TCP connections to several unrelated references, asked at the same time.

One reference is itself unreliable, so a majority counts (`OwnLine.up`). Nothing is sent to them.

A captive portal (a hotel's, a provider's after an unpaid bill) answers every connection, so that every server seems to misbehave. Before that is believed,
the references are looked at closely: what speaks TLS on a port for it, and is who it should be, answered. A certificate that does not verify here, on
an old machine, say, still counts where no other reference showed the same one: a portal has one for everybody.
"""

from __future__ import annotations

import functools
import hashlib
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from failsafe.adapters.sockets import (
    Address,
    ConnectFailed,
    Deadline,
    LookupFailed,
    connect,
    cut_after,
    look_up,
    split_address,
    verifying_context,
)
from failsafe.model import OwnLine

REFERENCES_ASKED = 9  # more would be a scan, and says no more
TLS_PORTS = frozenset({443, 465, 636, 853, 993, 995})
UNVERIFIED = "unverified"
PATIENCE_SECONDS = 5.0  # five times the slowest round trip of an ordinary line, satellites included


def patience_within(interval: timedelta) -> float:
    """Shorter where probes are frequent: evidence is stale after three intervals, and each look is framed by two of these rounds."""
    return min(PATIENCE_SECONDS, max(1.0, interval.total_seconds() / 2))


class OwnLineCheck:
    """Asks the references "host:port". `patience` bounds one round as a whole, in seconds."""

    def __init__(self, references: Sequence[str], *, patience: float = PATIENCE_SECONDS) -> None:
        self._references = tuple(split_address(reference, 443) for reference in references)[:REFERENCES_ASKED]
        self._patience = patience

    def look(self, now: datetime, *, closely: bool = False) -> OwnLine:
        """Asks all of them once; never raises. `closely`: whether they are who they should be, too."""
        deadline = Deadline(self._patience)
        answered: list[_Answer] = []
        context = _context() if closely else None
        askers = [
            threading.Thread(target=_ask, args=(host, port, deadline, context, answered), name=f"reference {host}", daemon=True)
            for host, port in self._references
        ]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join(deadline.left + 0.5)
        return OwnLine(now, _count(tuple(answered)), len(self._references))


@dataclass(frozen=True, slots=True)
class _Answer:
    """`leaf` is the digest of a certificate that could not be verified, or ""."""

    host: str
    leaf: str = ""


def _count(answers: tuple[_Answer, ...]) -> int:
    hosts = {leaf: {each.host for each in answers if each.leaf == leaf} for leaf in {each.leaf for each in answers}}
    return sum(not each.leaf or len(hosts[each.leaf]) == 1 for each in answers)


def _ask(host: str, port: int, deadline: Deadline, context: ssl.SSLContext | None, answered: list[_Answer]) -> None:
    try:
        for address in look_up(host, port, deadline):
            try:
                connection = connect(address, deadline)
            except ConnectFailed:
                continue
            leaf: str | None = ""
            with connection:
                if context is not None and port in TLS_PORTS:
                    leaf = _leaf(connection, host, context, deadline)
            if leaf == UNVERIFIED:
                leaf = _shown(address, deadline)
            if leaf is not None:
                answered.append(_Answer(host, leaf))
                return
    except LookupFailed:
        return


def _leaf(connection: socket.socket, host: str, context: ssl.SSLContext, deadline: Deadline) -> str | None:
    """Empty where it is verified, UNVERIFIED where it is not, None where there is no TLS."""
    connection.settimeout(max(deadline.left, 0.001))
    try:
        with cut_after(connection, deadline.left), context.wrap_socket(connection, server_hostname=host):
            return ""
    except ssl.SSLCertVerificationError:
        return UNVERIFIED
    except ssl.SSLError as error:
        return (
            "" if "ALERT" in (error.reason or "") else None
        )  # it refuses in the words of TLS: a server that wants to be called by name
    except (OSError, ValueError):
        return None


def _shown(address: Address, deadline: Deadline) -> str | None:
    """The digest of whatever certificate is shown there; None where that did not come."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with connect(address, deadline) as connection:
            connection.settimeout(max(deadline.left, 0.001))
            with cut_after(connection, deadline.left), context.wrap_socket(connection) as secured:
                return hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()
    except (OSError, ConnectFailed, ValueError):
        return None


@functools.cache
def _context() -> ssl.SSLContext:
    """The system's authorities are many: they are read once."""
    return verifying_context(None)
