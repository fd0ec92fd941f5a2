"""Name look-up and connecting with deadlines, for the probes. Standard library only.

`socket.getaddrinfo` has no deadline of its own (a dead resolver holds it for 30 s and more), so it runs in a daemon thread that
is given up on.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CONTEXT_SECONDS = 3600.0  # the system's authorities may be renewed while we run
ADDRESSES_TRIED = 5  # as many as Postfix tries for one message (smtp_mx_address_limit)


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a host, as a sender would try it."""

    family: socket.AddressFamily
    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if self.family is socket.AddressFamily.AF_INET6 else f"{self.ip}:{self.port}"


class CannotLook(Exception):
    """Something on our side keeps us from looking, so nothing is known about the server."""


class LookupFailed(CannotLook):
    """The name gave no address; that may be our resolver's fault."""


class ConnectFailed(Exception):
    """No connection; `ours` where this machine has no route at all, which says nothing about the server either."""

    def __init__(self, text: str, *, ours: bool = False) -> None:
        super().__init__(text)
        self.ours = ours


class Deadline:
    """A moment on the monotonic clock; several bounds can be combined."""

    __slots__ = ("_end",)

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds, never below zero."""
        return max(0.0, self._end - time.monotonic())

    def sooner(self, seconds: float) -> Deadline:
        return Deadline(min(seconds, self.left))


def split_address(text: str, default_port: int = 0) -> tuple[str, int]:
    """("mail.example.org", 25) of "mail.example.org:25", "[2001:db8::1]:25" or a bare name. Raises ValueError."""
    host, separator, port = text.rpartition(":")
    if not separator or (host.count(":") and not host.startswith("[")) or (text.startswith("[") and text.endswith("]")):
        host, port = text, str(default_port)
    if not host or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def own_name(ip: str) -> str:
    """How a client without a name introduces itself: its address in brackets (RFC 5321 4.1.3)."""
    return f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"


def look_up(host: str, port: int, deadline: Deadline) -> tuple[Address, ...]:
    """The addresses of `host` in the system's order of preference (RFC 6724), at most ADDRESSES_TRIED. Raises LookupFailed."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return _look_up_name(host, port, deadline)
    family = socket.AddressFamily.AF_INET6 if ip.version == 6 else socket.AddressFamily.AF_INET
    return (Address(family, str(ip), port),)


def _look_up_name(host: str, port: int, deadline: Deadline) -> tuple[Address, ...]:
    found: list[Address] = []
    failure: list[str] = []

    def ask() -> None:
        try:
            for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
                found.append(Address(family, str(address[0]), port))
        except (OSError, UnicodeError) as error:
            failure.append(str(getattr(error, "strerror", None) or error))

    asker = threading.Thread(target=ask, name=f"look-up {host}", daemon=True)
    asker.start()
    asker.join(deadline.left)
    if asker.is_alive():
        raise LookupFailed(f"the resolver did not answer for {host} in time")
    if failure or not found:
        raise LookupFailed(f"{host} has no address: {failure[0] if failure else 'nothing found'}")
    return tuple(dict.fromkeys(found))[:ADDRESSES_TRIED]


def verifying_context(ca_file: str | None) -> ssl.SSLContext:
    """Trusts the system's authorities and those in `ca_file`; checks the name. Raises CannotLook where the file is of no use."""
    try:
        changed = 0 if ca_file is None else Path(ca_file).stat().st_mtime_ns
        return _verifying_context(ca_file, changed, int(time.monotonic() // CONTEXT_SECONDS))
    except (OSError, ssl.SSLError) as error:
        raise CannotLook(f"cannot use ca_file {ca_file}: {error.strerror or error}") from error


@functools.lru_cache(maxsize=8)
def _verifying_context(ca_file: str | None, _changed: int, _hour: int) -> ssl.SSLContext:
    """Kept for a while: to read the system's authorities takes longer than to speak with a server."""
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def any_certificate() -> ssl.SSLContext:
    """Encrypts to whoever answers, and checks nothing; so it need not read the system's authorities."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@contextlib.contextmanager
def cut_after(connection: socket.socket, seconds: float) -> Iterator[None]:
    """For a TLS handshake: ends the connection below it after `seconds`. Raises TimeoutError where it did, and something broke by that.

    The socket's own timeout does not: OpenSSL reads on without coming back as long as bytes come, and a server may send messages that mean nothing
    (HelloRequest) for ever.
    """
    over, below = threading.Event(), connection.dup()  # wrapping takes `connection` its descriptor away

    def cut() -> None:
        over.set()
        with contextlib.suppress(OSError):  # it has ended meanwhile
            below.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(seconds, 0.001), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, ValueError) as error:
        if over.is_set():
            raise TimeoutError("timed out") from error
        raise
    finally:
        timer.cancel()
        below.close()


def connect(address: Address, deadline: Deadline) -> socket.socket:
    """A connected TCP socket. Raises ConnectFailed with a sentence."""
    connection = socket.socket(address.family, socket.SOCK_STREAM)
    connection.settimeout(max(deadline.left, 0.001))
    allowed = deadline.left
    try:
        connection.connect((address.ip, address.port))
    except TimeoutError:
        connection.close()
        raise ConnectFailed(f"{address} did not answer within {allowed:.2g} s") from None
    except OSError as error:
        connection.close()
        if error.errno in {errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
            raise ConnectFailed(f"this machine has no route to {address}", ours=True) from error
        raise ConnectFailed(f"{address}: {error.strerror or error}") from error
    return connection
