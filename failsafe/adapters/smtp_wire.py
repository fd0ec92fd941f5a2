"""One SMTP connection with hard bounds on every read: time, bytes a line, lines a reply, bytes a session.

Why not `smtplib`: its timeout is one for each `recv`, so a server that sends a byte every few seconds holds it for hours, and it collects the lines
of a reply without a limit. A prober meets broken servers by profession, so it reads with its own small reader and shares nothing else with a mail client.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import ssl
from collections.abc import Sequence

from failsafe.adapters.sockets import Deadline, cut_after
from failsafe.mail.replies import Reply, ReplyFault, parse_line, printable

LINE_BYTES = 4096  # RFC 5321 4.5.3.1.5 allows 512; real servers pass that
REPLY_LINES = 100
SESSION_BYTES = 64 * 1024
TRANSCRIPT_CHARACTERS = 4096
TEASER = 220  # postscreen begins its greeting with "220-", waits, and then may still refuse this client with another code


class WireFault(Exception):
    """The connection is of no more use; the text says what the server did."""


class TlsFault(WireFault):
    """The TLS handshake failed; `certificate` where everything but the certificate was good."""

    def __init__(self, text: str, *, certificate: bool = False) -> None:
        super().__init__(text)
        self.certificate = certificate


class NotMail(WireFault):
    """What answers is a web server: a captive portal, or a proxy, stands in between."""


class Transcript:
    """What was said, for a person; bounded. What is in `secrets` is never in it."""

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        self._lines: list[str] = []
        self._left = TRANSCRIPT_CHARACTERS
        self._secrets = tuple(secret for secret in secrets if secret)

    def without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "…")
        return text

    def note(self, who: str, text: str) -> None:
        line = f"{who}: {printable(self.without_secrets(text))}"
        if len(line) + 1 > self._left:
            if self._left > 0:
                self._lines.append("…")
            self._left = 0
            return
        self._left -= len(line) + 1
        self._lines.append(line)

    def __str__(self) -> str:
        return "\n".join(self._lines)


class SmtpWire:
    """Reads whole replies and sends one command at a time. Never sends before it is told to: speaking early gets a client banned."""

    def __init__(self, connection: socket.socket, transcript: Transcript, session: Deadline) -> None:
        self._socket = connection
        self._transcript = transcript
        self._session = session
        self._buffer = bytearray()
        self._read = 0

    def read_reply(self, seconds: float) -> Reply:
        """The next whole reply, however many lines it has. Raises WireFault."""
        deadline = self._session.sooner(seconds)
        lines: list[str] = []
        first = 0
        while True:
            raw = self._read_line(deadline)
            self._transcript.note("S", raw.decode("utf-8", "replace").rstrip("\r\n"))
            try:
                code, more, text = parse_line(raw)
            except ReplyFault as fault:
                words = self._transcript.without_secrets(str(fault))
                raise (NotMail if _WEB.match(raw) else WireFault)(words) from None
            if first == TEASER and code >= 400:
                first, lines = code, []
            first = first or code
            if code != first:
                raise WireFault(f"one reply with two codes: {first} and {code}")
            lines.append(text)
            if not more:
                return Reply(code, tuple(lines))
            if len(lines) >= REPLY_LINES:
                raise WireFault(f"a reply of more than {REPLY_LINES} lines")

    def command(self, text: str, seconds: float, shown: str | None = None) -> Reply:
        """Sends one command and reads its reply; the transcript has it as `shown`. Raises WireFault."""
        assert "\r" not in text and "\n" not in text, "one command at a time"
        self._transcript.note("C", text if shown is None else shown)
        deadline = self._session.sooner(seconds)
        self._socket.settimeout(max(deadline.left, 0.001))
        try:
            self._socket.sendall(text.encode("ascii") + b"\r\n")
        except OSError as error:
            raise WireFault(f"the connection broke while we spoke: {_reason(error)}") from error
        return self.read_reply(deadline.left)

    def start_tls(self, context: ssl.SSLContext, host: str, seconds: float) -> None:
        """The handshake after a 220 to STARTTLS, or before the greeting. Raises TlsFault.

        What came in plain text after the 220 is thrown away: it is not protected (CVE-2011-0411).
        """
        self._buffer.clear()
        left = max(self._session.sooner(seconds).left, 0.001)
        self._socket.settimeout(left)
        try:
            with cut_after(self._socket, left):
                self._socket = context.wrap_socket(self._socket, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            raise TlsFault(error.verify_message or _reason(error), certificate=True) from error
        except (OSError, ValueError) as error:
            raise TlsFault(f"the TLS handshake failed: {_reason(error)}") from error
        self._transcript.note("-", f"now in {self._tls.version() or 'TLS'}")

    @property
    def _tls(self) -> ssl.SSLSocket:
        assert isinstance(self._socket, ssl.SSLSocket)
        return self._socket

    @property
    def own_ip(self) -> str:
        """Our end's address, as the server may see it (not behind NAT)."""
        return str(self._socket.getsockname()[0])

    def certificate_end(self) -> str:
        """The `notAfter` of the verified certificate; "" where it was not verified."""
        certificate = self._tls.getpeercert() or {}
        return str(certificate.get("notAfter", ""))

    def leaf(self) -> str:
        """The digest of the certificate that the server showed, verified or not; "" where there is none."""
        shown = self._socket.getpeercert(binary_form=True) if isinstance(self._socket, ssl.SSLSocket) else None
        return hashlib.sha256(shown).hexdigest() if shown else ""

    def certificate(self) -> bytes:
        """What the server shows, in DER, verified or not. Raises WireFault where it shows none."""
        found = self._tls.getpeercert(binary_form=True)
        if found is None:
            raise WireFault("it shows no certificate")
        return found

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()

    def send_message(self, message: bytes, seconds: float) -> Reply:
        """A whole message with CRLF after a 354 to DATA; dots at the beginnings of lines are doubled (RFC 5321 4.5.2). Raises WireFault."""
        dotted = b"\r\n".join(b"." + line if line.startswith(b".") else line for line in message.split(b"\r\n"))
        ending = b".\r\n" if dotted.endswith(b"\r\n") else b"\r\n.\r\n"
        deadline = self._session.sooner(seconds)
        self._socket.settimeout(max(deadline.left, 0.001))
        try:
            self._socket.sendall(dotted + ending)
        except OSError as error:
            raise WireFault(f"the connection broke while we spoke: {_reason(error)}") from error
        return self.read_reply(deadline.left)

    def _read_line(self, deadline: Deadline) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > LINE_BYTES:
                raise WireFault(f"a line of more than {LINE_BYTES} bytes")
            self._receive(deadline)
        line, _, rest = bytes(self._buffer).partition(b"\n")
        if len(line) > LINE_BYTES:
            raise WireFault(f"a line of more than {LINE_BYTES} bytes")
        self._buffer = bytearray(rest)
        return line

    def _receive(self, deadline: Deadline) -> None:
        if deadline.left <= 0:
            raise WireFault("silence: no whole answer in time")
        self._socket.settimeout(deadline.left)
        try:
            data = self._socket.recv(LINE_BYTES)
        except TimeoutError:
            raise WireFault("silence: no whole answer in time") from None
        except OSError as error:
            raise WireFault(f"the connection broke: {_reason(error)}") from error
        if not data:
            raise WireFault("the server hung up in the middle of the session")
        self._read += len(data)
        if self._read > SESSION_BYTES:
            raise WireFault(f"more than {SESSION_BYTES} bytes in one session")
        self._buffer += data


_WEB = re.compile(rb"HTTP/\d|\s*<(!doctype|html)", re.IGNORECASE)


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error) or type(error).__name__
