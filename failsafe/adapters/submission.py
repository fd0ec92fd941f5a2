"""Hands one message to a submission server (RFC 6409), as a mail program does: verified TLS, a login, one message, goodbye.

It speaks through the bounded wire of the probes. The password crosses no unverified connection and stands in no transcript.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl

from failsafe.adapters.smtp_wire import SmtpWire, TlsFault, Transcript, WireFault
from failsafe.adapters.sockets import CannotLook, ConnectFailed, Deadline, connect, cut_after, look_up, verifying_context
from failsafe.errors import MailError
from failsafe.mail.replies import Reply, printable
from failsafe.model import Endpoint
from failsafe.secrets import Secret

WHOLE_SECONDS = 60.0
CONNECT_SECONDS = 15.0
REPLY_SECONDS = 30.0
CREDENTIAL_CODES = frozenset({530, 534, 535, 538})  # RFC 4954 section 6


class Submission:
    """One account at a submission server. `helo` None says our address in brackets."""

    def __init__(
        self, endpoint: Endpoint, user: str, password: Secret, *, helo: str | None = None, whole: float = WHOLE_SECONDS
    ) -> None:
        self._at, self._user, self._password, self._helo, self._whole = endpoint, user, password, helo, whole

    def send(self, sender: str, recipient: str, message: bytes) -> str:
        """What the server said when it took the message. Raises MailError; `credential` where the login is refused."""
        where = f"{self._at.host}:{self._at.port}"
        deadline = Deadline(self._whole)
        try:
            wire = self._connect(deadline)
            try:
                return self._converse(wire, sender, recipient, message)
            finally:
                wire.close()
        except (CannotLook, ConnectFailed) as error:
            raise MailError(f"{where} cannot be reached: {error}") from error
        except TlsFault as error:
            mend = (
                "the certificate must be for this host and trusted here; name its authority in ca_file"
                if error.certificate
                else ""
            )
            raise MailError(f"{where}: {error}", mend=mend, transient=not error.certificate) from error
        except WireFault as error:
            raise MailError(f"{where}: {error}") from error

    def _connect(self, deadline: Deadline) -> SmtpWire:
        context = verifying_context(self._at.ca_file)
        failures: list[ConnectFailed] = []
        for address in look_up(self._at.host, self._at.port, deadline.sooner(10)):
            try:
                connection: socket.socket = connect(address, deadline.sooner(CONNECT_SECONDS))
            except ConnectFailed as error:
                failures.append(error)
                continue
            if self._at.tls == "implicit":
                connection = _secured(connection, context, self._at.host)
            return SmtpWire(connection, Transcript(), deadline)
        raise ConnectFailed("; ".join(map(str, failures)) or "it has no address")

    def _converse(self, wire: SmtpWire, sender: str, recipient: str, message: bytes) -> str:
        self._take(wire.read_reply(REPLY_SECONDS), "greeting")
        helo = f"EHLO {self._helo or _literal(wire.own_ip)}"
        hello = self._say(wire, helo)
        if self._at.tls == "starttls":
            self._say(wire, "STARTTLS")
            wire.start_tls(verifying_context(self._at.ca_file), self._at.host, REPLY_SECONDS)
            hello = self._say(wire, helo)
        self._log_in(wire, hello)
        self._say(wire, f"MAIL FROM:<{sender}>")
        self._say(wire, f"RCPT TO:<{recipient}>")
        self._say(wire, "DATA", 354)
        taken = self._take(wire.send_message(message, REPLY_SECONDS), "message")
        with contextlib.suppress(WireFault):
            wire.command("QUIT", REPLY_SECONDS)
        return printable(taken.said)

    def _log_in(self, wire: SmtpWire, hello: Reply) -> None:
        """PLAIN, else LOGIN, which some large providers still ask for."""
        secret = self._password.reveal()
        offered = next((line.upper() for line in hello.lines if line.upper().startswith("AUTH ")), "")
        if " LOGIN" in offered and " PLAIN" not in offered:
            self._say(wire, "AUTH LOGIN", 334, what="AUTH")
            self._say(wire, _base64(self._user.encode()), 334, what="AUTH")
            self._say(wire, _base64(secret.encode()), what="AUTH")
        else:
            self._say(wire, f"AUTH PLAIN {_plain_login(self._user, secret)}", what="AUTH")

    def _say(self, wire: SmtpWire, command: str, code: int | None = None, *, what: str = "") -> Reply:
        return self._take(wire.command(command, REPLY_SECONDS), what or command.partition(":")[0], code)

    def _take(self, reply: Reply, what: str, code: int | None = None) -> Reply:
        if reply.code == code if code is not None else reply.good:
            return reply
        refused = what == "AUTH" and reply.code in CREDENTIAL_CODES
        raise MailError(
            f"{self._at.host}:{self._at.port} answers {what} with {self._masked(printable(reply.said))}",
            transient=reply.code < 500,
            credential=refused,
        )

    def _masked(self, text: str) -> str:
        """A server may repeat what it heard."""
        secret = self._password.reveal()
        for form in (_plain_login(self._user, secret), _base64(secret.encode()), secret):
            text = text.replace(form, "…")
        return text


def _plain_login(user: str, secret: str) -> str:
    """RFC 4616."""
    return _base64(b"\0".join((b"", user.encode(), secret.encode())))


def _secured(connection: socket.socket, context: ssl.SSLContext, host: str) -> socket.socket:
    try:
        with cut_after(connection, connection.gettimeout() or WHOLE_SECONDS):
            return context.wrap_socket(connection, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        connection.close()
        raise TlsFault(error.verify_message, certificate=True) from error
    except (OSError, ValueError) as error:
        connection.close()
        raise TlsFault(f"the TLS handshake failed: {error}") from error


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _literal(ip: str) -> str:
    return f"[IPv6:{ip}]" if ":" in ip else f"[{ip}]"
