"""One GET over HTTPS of a small public document: an MTA-STS policy, a registry's answer. Bounded in time and bytes; no cache, no cookies.

The standard library is used because the caller says which addresses stand behind the name (the doctor's own look-ups), and because a policy
must be fetched without following redirects (RFC 8461 section 3.3), which general clients do by themselves.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit

SECONDS = 15.0  # for everything, redirects included
CONNECT_SECONDS = 5.0  # to one address
MOST_BYTES = 256 * 1024
MOST_ADDRESSES = 4

AddressesOf = Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Fetched:
    """`status` 0: there was no answer, and `error` says why. `kind`: the media type without its parameters."""

    status: int
    body: bytes = b""
    kind: str = ""
    error: str = ""
    location: str = ""


def fetch(
    url: str,
    addresses_of: AddressesOf,
    *,
    redirects: int = 0,
    most_bytes: int = MOST_BYTES,
    seconds: float = SECONDS,
    ca_file: str | None = None,
) -> Fetched:
    """Never raises. A body that is longer than `most_bytes` is an error, as is a certificate that does not fit the name."""
    end = time.monotonic() + seconds
    for _ in range(redirects + 1):
        place = urlsplit(url)
        if place.scheme != "https" or not place.hostname:
            return Fetched(0, error=f"{url[:100]} is no https address")
        found = _fetch_one(url, addresses_of, most_bytes, end, ca_file)
        if found.status not in (301, 302, 303, 307, 308) or not found.location or redirects == 0:
            return found
        url = urljoin(url, found.location)
    return Fetched(0, error=f"more than {redirects} redirects")


def _fetch_one(url: str, addresses_of: AddressesOf, most_bytes: int, end: float, ca_file: str | None) -> Fetched:
    place = urlsplit(url)
    host, port = place.hostname or "", place.port or 443
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    error = f"{host} has no address"
    for address in list(addresses_of(host))[:MOST_ADDRESSES]:
        if time.monotonic() >= end:
            return Fetched(0, error=f"{host} gave no whole answer in time")
        try:
            raw = socket.create_connection((address, port), timeout=min(CONNECT_SECONDS, max(0.1, end - time.monotonic())))
        except OSError as refused:
            error = f"no connection to {host} ({address}): {refused.strerror or 'no answer in time'}"
            continue
        return _speak(raw, context, place.path + (f"?{place.query}" if place.query else ""), (host, port), most_bytes, end)
    return Fetched(0, error=error)


def _speak(
    raw: socket.socket, context: ssl.SSLContext, path: str, place: tuple[str, int], most_bytes: int, end: float
) -> Fetched:
    """A server that drips its answer byte by byte is cut off when the time is over: the timer ends the connection under the reader."""
    host, port = place
    left = max(0.1, end - time.monotonic())
    raw.settimeout(left)
    line = context.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)  # `raw` is empty from here on
    over = threading.Event()
    timer = threading.Timer(left, _cut, (line, over))
    timer.daemon = True
    timer.start()
    try:
        with line:
            line.do_handshake()
            connection = http.client.HTTPConnection(host if port == 443 else f"{host}:{port}")
            connection.sock = line
            connection.request("GET", path or "/", headers={"User-Agent": "failsafe", "Connection": "close", "Accept": "*/*"})
            answer = connection.getresponse()
            body = answer.read(most_bytes + 1)
            if over.is_set():
                return Fetched(0, error=f"{host} gave no whole answer in time")
            if len(body) > most_bytes:
                return Fetched(0, error=f"{host} gives more than {most_bytes} bytes")
            kind = (answer.getheader("Content-Type") or "").partition(";")[0].strip().lower()
            return Fetched(answer.status, body, kind, location=answer.getheader("Location") or "")
    except ssl.SSLCertVerificationError as refused:
        return Fetched(0, error=f"the certificate of {host} is not valid: {refused.verify_message}")
    except (OSError, http.client.HTTPException, ValueError) as broken:
        why = "gave no whole answer in time" if over.is_set() or isinstance(broken, TimeoutError) else _reason(broken)
        return Fetched(0, error=f"{host} {why}")
    finally:
        timer.cancel()


def _cut(line: ssl.SSLSocket, over: threading.Event) -> None:
    over.set()
    with suppress(OSError):  # it has ended meanwhile
        socket.socket.shutdown(line, socket.SHUT_RDWR)  # below TLS: the reader still holds its session


def _reason(error: Exception) -> str:
    return f"broke off: {getattr(error, 'reason', None) or getattr(error, 'strerror', None) or type(error).__name__}"
