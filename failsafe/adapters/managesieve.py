"""A mailbox's active filter script by ManageSieve (RFC 5804), with sockets of the standard library. It reads; nothing is ever changed.

Written here, since the library that speaks it also trusts any certificate and has no bound on what it reads.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from failsafe.adapters.sockets import (
    Address,
    CannotLook,
    ConnectFailed,
    Deadline,
    LookupFailed,
    connect,
    cut_after,
    look_up,
    verifying_context,
)
from failsafe.errors import MailError
from failsafe.mail.replies import printable
from failsafe.mail.sieve.parse import SCRIPT_BYTES
from failsafe.model import Endpoint
from failsafe.secrets import Secret

SECONDS = 60.0  # for a whole session
LINE_BYTES = 8192
LINES = 2_000  # of one answer: capabilities, or a person's scripts
_LITERAL = re.compile(rb"\{(\d{1,9})\+?\}\Z")
_NAMED = re.compile(rb'"((?:\\.|[^"\\])*)"(?:\s+(ACTIVE))?\s*\Z', re.IGNORECASE)


def active_script(endpoint: Endpoint, user: str, password: Secret, *, seconds: float = SECONDS) -> str | None:
    """The script's text; None where none is active. Raises MailError (`credential` where the login is refused)."""
    where = f"{endpoint.host}:{endpoint.port}"
    line = _open(endpoint, where, Deadline(seconds))
    try:
        line.log_in(user, password)
        name = line.active_name()
        return None if name is None else line.script(name)
    finally:
        line.close()


def _open(endpoint: Endpoint, where: str, deadline: Deadline) -> _Line:
    """Greeted, and in TLS where it is to be."""
    try:
        addresses = look_up(endpoint.host, endpoint.port, deadline)
        context = _context(endpoint)
        line = _Line(_reach(addresses, deadline), where, deadline)
    except (CannotLook, ConnectFailed, LookupFailed) as error:
        raise MailError(f"cannot reach the filter rules (ManageSieve) at {where}: {error}") from error
    try:
        if endpoint.tls == "implicit":
            line.wrap(context, endpoint)
        line.answer("greet")
        if endpoint.tls == "starttls":
            line.ask(b"STARTTLS", "begin TLS")
            line.wrap(context, endpoint)
            line.answer("greet again")
    except BaseException:
        line.close()
        raise
    return line


def _reach(addresses: tuple[Address, ...], deadline: Deadline) -> socket.socket:
    failure: ConnectFailed | None = None
    for address in addresses:
        try:
            return connect(address, deadline)
        except ConnectFailed as error:
            failure = error
    raise failure or ConnectFailed("it has no address")


def _context(endpoint: Endpoint) -> ssl.SSLContext:
    if endpoint.certificate_sha256 is None:
        return verifying_context(endpoint.ca_file)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@dataclass(slots=True)
class _Line:
    _socket: socket.socket
    _where: str
    _deadline: Deadline
    _buffer: bytes = b""

    def log_in(self, user: str, password: Secret) -> None:
        told = base64.b64encode(f"\0{user}\0{password.reveal()}".encode()).decode()
        try:
            self.ask(f'AUTHENTICATE "PLAIN" "{told}"'.encode(), f"log in as {user}")
        except MailError as error:
            if error.transient:
                raise
            raise MailError(
                f"the filter rules (ManageSieve) at {self._where} are not shown to {user}: the login is refused",
                mend="the login of `deliver` must be let in there too",
                transient=False,
                credential=True,
            ) from None

    def active_name(self) -> bytes | None:
        """As the server quotes it."""
        for row in self.ask(b"LISTSCRIPTS", "list scripts"):
            found = _NAMED.match(row)
            if found is not None and found[2]:
                return found[1]
        return None

    def script(self, name: bytes) -> str:
        rows = self.ask(b'GETSCRIPT "' + name + b'"', "read a script")
        return b"".join(rows[:1]).decode("utf-8", "replace")

    def ask(self, command: bytes, doing: str) -> list[bytes]:
        self._guarded(lambda: self._socket.sendall(command + b"\r\n"), doing)
        return self.answer(doing)

    def answer(self, doing: str) -> list[bytes]:
        """The rows before OK; a literal is one row. Raises MailError for NO and BYE."""
        rows: list[bytes] = []
        for _ in range(LINES):
            row = self._row(doing)
            literal = _LITERAL.search(row)
            if literal is not None:
                data = self._literal(int(literal[1]), doing)
                self._row(doing)  # what is left of its line
                if row[:2].upper() in (b"NO", b"BY"):
                    raise self._refused(doing, data)
                rows.append(data)
                continue
            word = row.split(b" ", 1)[0].upper()
            if word == b"OK":
                return rows
            if word in (b"NO", b"BYE"):
                raise self._refused(doing, row)
            rows.append(row)
        raise MailError(f"cannot {doing}: {self._where} answers with more than {LINES} lines", transient=False)

    def _refused(self, doing: str, said: bytes) -> MailError:
        return MailError(
            f"cannot {doing}: the ManageSieve server {self._where} says: {printable(said.decode('utf-8', 'replace'))[:300]}",
            transient=False,
        )

    def wrap(self, context: ssl.SSLContext, endpoint: Endpoint) -> None:
        """What came in plain text before is thrown away. Raises MailError."""
        self._buffer = b""

        def handshake() -> None:
            left = max(self._deadline.left, 0.001)
            self._socket.settimeout(left)
            with cut_after(self._socket, left):
                self._socket = context.wrap_socket(self._socket, server_hostname=endpoint.host)

        self._guarded(handshake, "begin TLS")
        pin = endpoint.certificate_sha256
        assert isinstance(self._socket, ssl.SSLSocket)
        if pin is not None and hashlib.sha256(self._socket.getpeercert(binary_form=True) or b"").hexdigest() != pin:
            raise MailError(
                f"{self._where} shows another certificate than the one in certificate_sha256",
                mend="compare its fingerprint, and correct certificate_sha256",
                transient=False,
            )

    def _row(self, doing: str) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > LINE_BYTES:
                raise MailError(f"cannot {doing}: {self._where} sends a line of more than {LINE_BYTES} bytes", transient=False)
            self._receive(doing)
        row, _, self._buffer = self._buffer.partition(b"\n")
        return row.rstrip(b"\r")

    def _literal(self, size: int, doing: str) -> bytes:
        if size > SCRIPT_BYTES:
            raise MailError(
                f"cannot {doing}: {self._where} announces {size} bytes; at most {SCRIPT_BYTES} are read", transient=False
            )
        while len(self._buffer) < size:
            self._receive(doing)
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _receive(self, doing: str) -> None:
        def receive() -> None:
            self._socket.settimeout(max(self._deadline.left, 0.001))
            data = self._socket.recv(1 << 16)
            if not data:
                raise EOFError
            self._buffer += data

        self._guarded(receive, doing)

    def _guarded(self, act: Callable[[], object], doing: str) -> None:
        try:
            act()
        except ssl.SSLCertVerificationError as error:
            raise MailError(
                f"cannot {doing} with the ManageSieve server {self._where}: {error.verify_message}",
                mend="the certificate must be for this host and trusted here; name its authority in ca_file",
                transient=False,
            ) from error
        except (OSError, EOFError, ValueError) as error:
            said = getattr(error, "strerror", None) or str(error) or "it hung up"
            raise MailError(f"cannot {doing} with the ManageSieve server {self._where}: {said}") from error

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.settimeout(1)
            self._socket.sendall(b"LOGOUT\r\n")
        with contextlib.suppress(OSError):
            self._socket.close()
