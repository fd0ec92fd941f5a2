"""Looks up an MX exchange as a sender would: does it have addresses, is it an alias?"""

from __future__ import annotations

import socket
import threading
from dataclasses import dataclass

DEADLINE_SECONDS = 10.0  # the system's resolver tries for up to 30 s by itself


@dataclass(frozen=True, slots=True)
class ExchangeSight:
    """`alias_of` is not empty where the name is a CNAME, which an exchange must not be (RFC 2181 section 10.3).

    `unknown`: our resolver gave no answer, so nothing is said of the name.
    """

    exchange: str
    addresses: tuple[str, ...]
    alias_of: str = ""
    error: str = ""
    unknown: bool = False


def look_at_exchange(exchange: str) -> ExchangeSight:
    """Never raises."""
    found: list[ExchangeSight] = []
    thread = threading.Thread(target=lambda: found.append(_ask(exchange)), name=f"look up {exchange}", daemon=True)
    thread.start()
    thread.join(DEADLINE_SECONDS)
    return found[0] if found else ExchangeSight(exchange, (), error=f"no answer within {DEADLINE_SECONDS:g} s", unknown=True)


def _ask(exchange: str) -> ExchangeSight:
    try:
        answers = socket.getaddrinfo(exchange, 25, type=socket.SOCK_STREAM, flags=socket.AI_CANONNAME)
    except (OSError, UnicodeError) as error:
        unknown = isinstance(error, socket.gaierror) and error.errno in (socket.EAI_AGAIN, socket.EAI_FAIL)
        return ExchangeSight(exchange, (), error=str(getattr(error, "strerror", None) or error), unknown=unknown)
    canonical = next((answer[3] for answer in answers if answer[3]), exchange).rstrip(".").lower()
    addresses = tuple(sorted({str(answer[4][0]) for answer in answers}))
    return ExchangeSight(exchange, addresses, "" if canonical == exchange.lower() else canonical)
