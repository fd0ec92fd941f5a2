"""The IMAP probe: a real login over verified TLS, INBOX opened read-only, NOOP, logout.

It logs in for real, since a connection that comes and goes without a login is what fail2ban's stricter filters count. The password never crosses an
unverified connection. The library bounds neither the whole nor what it collects, so it is handed our own connected socket: a watchdog cuts that when
the probe takes too long, and what is read is counted.
"""

from __future__ import annotations

import contextlib
import imaplib
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from failsafe.adapters.sockets import CannotLook, ConnectFailed, Deadline, connect, look_up, verifying_context
from failsafe.adapters.turns import turn
from failsafe.errors import SecretError
from failsafe.mail.replies import CERTIFICATE_FAULT, printable
from failsafe.model import Axis, Endpoint, Evidence, ProbeClass, Sign
from failsafe.secrets import Secret, read_secret

if TYPE_CHECKING:
    from imapclient import IMAPClient

WHOLE_SECONDS = 40.0
CONNECT_SECONDS = 15.0
READ_BYTES = 256 * 1024  # a whole probe reads about 2 KB
# RFC 5530: the login failed for a reason that is not the password.
_NOT_OUR_PASSWORD = re.compile(
    r"\[(UNAVAILABLE|INUSE|SERVERBUG|LIMIT|CONTACTADMIN)\]|temporar|internal error|try again", re.IGNORECASE
)


class _Seen(Exception):
    """The probe is decided."""

    def __init__(self, seen: ProbeClass, text: str, *signs: Sign) -> None:
        super().__init__(text)
        self.seen, self.text, self.signs = seen, text, frozenset(signs)


class ImapProbe:
    """Looks at one mailbox as its owner would. `password_file` is read at every look."""

    def __init__(
        self,
        server: str,
        endpoint: Endpoint,
        user: str,
        password_file: str,
        *,
        vantage: str = "here",
        whole: float = WHOLE_SECONDS,
    ) -> None:
        assert endpoint.tls in {"implicit", "starttls", "none"}, endpoint.tls
        self._server, self._vantage = server, vantage
        self._endpoint, self._user, self._password_file = endpoint, user, password_file
        self._whole = whole

    @property
    def target(self) -> str:
        return f"{self._user} at {self._endpoint.host}:{self._endpoint.port}"

    def probe(self, now: datetime) -> Evidence:
        """One look; never raises for anything that a server or a network can do. A refused login is a sign that `rounds.may_probe` knows."""
        started = time.monotonic()
        steps: list[str] = []
        try:
            self._look(steps)
            found = _Seen(ProbeClass.UP, "logged in and opened INBOX")
        except _Seen as decided:
            found = decided
        seconds = round(time.monotonic() - started, 3)
        told = "\n".join(steps)
        return Evidence(
            self._server, self._vantage, Axis.ACCESS, found.seen, now, found.text, self.target, seconds, told, found.signs
        )

    def _look(self, steps: list[str]) -> None:
        try:
            password = read_secret(self._password_file)
            context = verifying_context(self._endpoint.ca_file)
        except (SecretError, CannotLook) as error:
            raise _Seen(ProbeClass.UNKNOWN, f"cannot look: {error}") from error
        deadline = Deadline(self._whole)
        with turn(f"{self._vantage} {self._endpoint.host}:{self._endpoint.port}", deadline) as mine:
            if not mine:
                raise _Seen(ProbeClass.UNKNOWN, "another look was connected all the time")
            self._open_inbox(password, context, deadline, steps)

    def _open_inbox(self, password: Secret, context: ssl.SSLContext, deadline: Deadline, steps: list[str]) -> None:
        with _Line(self._connect(deadline, steps), deadline) as line, self._talking(line, context, steps) as client:
            self._log_in(client, password.reveal(), steps)
            with _told(ProbeClass.DOWN, "logged in, but INBOX cannot be opened"):
                client.select_folder("INBOX", readonly=True)
                steps.append("EXAMINE INBOX: OK")
                client.noop()
                steps.append("NOOP: OK")

    def _connect(self, deadline: Deadline, steps: list[str]) -> socket.socket:
        """The first address that answers, as a mail client does."""
        try:
            addresses = look_up(self._endpoint.host, self._endpoint.port, deadline.sooner(10))
        except CannotLook as error:
            raise _Seen(ProbeClass.UNKNOWN, str(error)) from error
        failures: list[ConnectFailed] = []
        for address in addresses:
            steps.append(f"connecting to {address}")
            try:
                return connect(address, deadline.sooner(CONNECT_SECONDS))
            except ConnectFailed as error:
                failures.append(error)
        ours = all(failure.ours for failure in failures)
        raise _Seen(ProbeClass.UNKNOWN if ours else ProbeClass.DOWN, printable("; ".join(map(str, failures))))

    @contextlib.contextmanager
    def _talking(self, line: _Line, context: ssl.SSLContext, steps: list[str]) -> Iterator[IMAPClient]:
        at = self._endpoint
        with _told(ProbeClass.DOWN, f"no IMAP at {at.host}:{at.port}"):
            if at.tls == "implicit":
                line.socket = context.wrap_socket(line.socket, server_hostname=at.host)
            client = _client(line, at.host)
        steps.append(f"greeting: {printable(repr(client.welcome))}")
        try:
            self._secure(client, context, steps)
            line.socket = client.socket()
            yield client
        finally:
            with contextlib.suppress(*_library_errors()):
                client.logout()
                steps.append("LOGOUT: BYE")

    def _secure(self, client: IMAPClient, context: ssl.SSLContext, steps: list[str]) -> None:
        if self._endpoint.tls == "starttls":
            with _told(ProbeClass.DOWN, "STARTTLS failed"):
                client.starttls(context)
            steps.append("STARTTLS: OK")

    def _log_in(self, client: IMAPClient, password: str, steps: list[str]) -> None:
        from imapclient.exceptions import LoginError

        from failsafe.adapters.imap_answers import broke_off

        try:
            with _told(ProbeClass.DOWN, "the login broke off", leave=(LoginError,)):
                client.login(self._user, password)
        except LoginError as error:
            said = printable(str(error).replace(password, "…"))
            steps.append(f"LOGIN {self._user}: {said}")
            if broke_off(error):
                raise _Seen(ProbeClass.DOWN, f"the login broke off: {said}") from None
            if _NOT_OUR_PASSWORD.search(said):
                raise _Seen(ProbeClass.DEGRADED, f"logins are put off: {said}") from None
            text = f"login refused for {self._user}: {said}; check the probe's password_file"
            raise _Seen(ProbeClass.UNKNOWN, text, Sign.LOGIN_REFUSED) from None
        steps.append(f"LOGIN {self._user}: OK")


@contextlib.contextmanager
def _told(seen: ProbeClass, what: str, leave: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turns every failure of the library inside the block into the decision `seen`."""
    try:
        yield
    except leave:
        raise
    except ssl.SSLCertVerificationError as error:
        # People still read their mail after clicking a warning away, so this is not down; the password stayed here.
        raise _Seen(ProbeClass.DEGRADED, f"{CERTIFICATE_FAULT}: {error.verify_message}", Sign.BAD_CERTIFICATE) from error
    except TimeoutError as error:
        raise _Seen(seen, f"{what}: no answer in time") from error
    except _library_errors() as error:
        raise _Seen(
            seen, f"{what}: {printable(str(getattr(error, 'strerror', None) or error) or type(error).__name__)}"
        ) from error


def _library_errors() -> tuple[type[Exception], ...]:
    """What imapclient and the imaplib below it raise when a server misbehaves (wrong bytes surface as ValueError and its like)."""
    from imapclient.exceptions import IMAPClientError

    return (IMAPClientError, OSError, ValueError, AttributeError, IndexError, KeyError, TypeError, AssertionError, RecursionError)


class _Line:
    """Our own socket under the library, cut by a watchdog when the probe takes too long."""

    def __init__(self, connection: socket.socket, deadline: Deadline) -> None:
        self.socket = connection
        self._below = connection.dup()  # TLS takes `socket` its descriptor away, and its handshake may never come back
        self._watchdog = threading.Timer(deadline.left, self._cut)
        self._watchdog.daemon = True
        connection.settimeout(max(deadline.left, 0.001))

    def __enter__(self) -> _Line:
        self._watchdog.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.cancel()
        self._below.close()
        with contextlib.suppress(OSError):
            self.socket.close()

    def _cut(self) -> None:
        with contextlib.suppress(OSError):
            self._below.shutdown(socket.SHUT_RDWR)


def _client(line: _Line, host: str) -> IMAPClient:
    """An IMAPClient on our socket, which reads at most READ_BYTES. Both hooks are where the libraries themselves put their TLS sockets in."""
    from imapclient import IMAPClient

    class Bounded(imaplib.IMAP4):
        _bytes = 0

        def _create_socket(self, timeout: float | None = None) -> socket.socket:  # noqa: ARG002 - the library's signature
            return line.socket

        def readline(self) -> bytes:
            got = super().readline()
            self._count(len(got))
            return got

        def read(self, size: int) -> bytes:
            self._count(size)  # before it is read: a server may promise a literal of 10 GB
            return super().read(size)

        def _count(self, size: int) -> None:
            self._bytes += size
            if self._bytes > READ_BYTES:
                raise self.abort(f"more than {READ_BYTES} bytes in one session")

    class Client(IMAPClient):  # type: ignore[misc]  # the library has no types
        def _create_IMAP4(self) -> imaplib.IMAP4:  # noqa: N802 - the library's name
            return Bounded(host)

    return Client(host, ssl=False)
