"""The IMAP probe: a real login over verified TLS, INBOX opened read-only, NOOP, logout.

It logs in for real, since a connection that comes and goes without a login is what fail2ban's stricter filters count. The password never crosses an
unverified connection. Two bounds: each read has a timeout, and a watchdog cuts the connection when the whole takes too long.
"""

from __future__ import annotations

import contextlib
import re
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from failsafe.adapters.sockets import Deadline, LookupFailed, look_up
from failsafe.errors import SecretError
from failsafe.failover.rounds import LOGIN_REFUSED
from failsafe.mail.replies import printable
from failsafe.model import Axis, Endpoint, Evidence, ProbeClass
from failsafe.secrets import read_secret

if TYPE_CHECKING:
    from imapclient import IMAPClient

WHOLE_SECONDS = 40.0
READ_SECONDS = 15.0
# RFC 5530: the login failed for a reason that is not the password.
_NOT_OUR_PASSWORD = re.compile(r"\[(UNAVAILABLE|INUSE|SERVERBUG|LIMIT|CONTACTADMIN)\]|temporar|internal error|try again", re.IGNORECASE)


class _Seen(Exception):
    """The probe is decided."""

    def __init__(self, seen: ProbeClass, text: str) -> None:
        super().__init__(text)
        self.seen = seen
        self.text = text


class ImapProbe:
    """Looks at one mailbox as its owner would. `password_file` is read at every look."""

    def __init__(self, server: str, endpoint: Endpoint, user: str, password_file: str, *, vantage: str = "here", whole: float = WHOLE_SECONDS) -> None:
        assert endpoint.tls in {"implicit", "starttls", "none"}, endpoint.tls
        self._server, self._vantage = server, vantage
        self._endpoint, self._user, self._password_file = endpoint, user, password_file
        self._whole = whole

    @property
    def target(self) -> str:
        return f"{self._user} at {self._endpoint.host}:{self._endpoint.port}"

    def probe(self, now: datetime) -> Evidence:
        """One look; never raises for anything that a server or a network can do. A refused login gives text that `rounds.may_probe` knows."""
        started = time.monotonic()
        steps: list[str] = []
        try:
            self._look(steps)
            seen, text = ProbeClass.UP, "logged in and opened INBOX"
        except _Seen as decided:
            seen, text = decided.seen, decided.text
        seconds = round(time.monotonic() - started, 3)
        return Evidence(self._server, self._vantage, Axis.ACCESS, seen, now, text, self.target, seconds, "\n".join(steps))

    def _look(self, steps: list[str]) -> None:
        try:
            password = read_secret(self._password_file)
        except SecretError as error:
            raise _Seen(ProbeClass.UNKNOWN, f"cannot look: {error}") from error
        deadline = Deadline(self._whole)
        self._reach(deadline, steps)
        with self._connected(deadline, steps) as client:
            self._log_in(client, password.reveal(), steps)
            with _told(ProbeClass.DOWN, "logged in, but INBOX cannot be opened"):
                client.select_folder("INBOX", readonly=True)
                steps.append("EXAMINE INBOX: OK")
                client.noop()
                steps.append("NOOP: OK")

    def _reach(self, deadline: Deadline, steps: list[str]) -> None:
        """Finds out whether the name resolves within our time; connecting is left to the library."""
        try:
            addresses = look_up(self._endpoint.host, self._endpoint.port, deadline.sooner(10))
        except LookupFailed as error:
            raise _Seen(ProbeClass.UNKNOWN, str(error)) from error
        steps.append(f"connecting to {', '.join(map(str, addresses))}")

    @contextlib.contextmanager
    def _connected(self, deadline: Deadline, steps: list[str]) -> Iterator[IMAPClient]:
        client = self._open(deadline, steps)
        watchdog = threading.Timer(deadline.left, lambda: _cut(client))
        watchdog.daemon = True
        watchdog.start()
        try:
            self._secure(client, steps)
            yield client
        finally:
            with contextlib.suppress(*_library_errors()):
                client.logout()
                steps.append("LOGOUT: BYE")
            watchdog.cancel()
            _cut(client)

    def _open(self, deadline: Deadline, steps: list[str]) -> IMAPClient:
        from imapclient import IMAPClient, SocketTimeout

        at = self._endpoint
        implicit = at.tls == "implicit"
        timeout = SocketTimeout(connect=min(READ_SECONDS, deadline.left), read=min(READ_SECONDS, deadline.left))
        with _told(ProbeClass.DOWN, f"no IMAP at {at.host}:{at.port}"):
            client = IMAPClient(at.host, at.port, ssl=implicit, ssl_context=self._context() if implicit else None, timeout=timeout)
        steps.append(f"greeting: {printable(repr(client.welcome))}")
        return client

    def _secure(self, client: IMAPClient, steps: list[str]) -> None:
        if self._endpoint.tls == "starttls":
            with _told(ProbeClass.DOWN, "STARTTLS failed"):
                client.starttls(self._context())
            steps.append("STARTTLS: OK")

    def _log_in(self, client: IMAPClient, password: str, steps: list[str]) -> None:
        from imapclient.exceptions import LoginError

        try:
            with _told(ProbeClass.DOWN, "the login broke off", leave=(LoginError,)):
                client.login(self._user, password)
        except LoginError as error:
            said = printable(str(error).replace(password, "…"))
            steps.append(f"LOGIN {self._user}: {said}")
            if _NOT_OUR_PASSWORD.search(said):
                raise _Seen(ProbeClass.DEGRADED, f"logins are put off: {said}") from None
            raise _Seen(ProbeClass.UNKNOWN, f"{LOGIN_REFUSED} for {self._user}: {said}; check the probe's password_file") from None
        steps.append(f"LOGIN {self._user}: OK")

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._endpoint.ca_file is not None:
            context.load_verify_locations(self._endpoint.ca_file)
        return context


@contextlib.contextmanager
def _told(seen: ProbeClass, what: str, leave: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turns every failure of the library inside the block into the decision `seen`."""
    try:
        yield
    except leave:
        raise
    except ssl.SSLCertVerificationError as error:
        # People still read their mail after clicking a warning away, so this is not down; the password stayed here.
        raise _Seen(ProbeClass.DEGRADED, f"its certificate does not verify: {error.verify_message}") from error
    except TimeoutError as error:
        raise _Seen(seen, f"{what}: no answer in time") from error
    except _library_errors() as error:
        raise _Seen(seen, f"{what}: {printable(str(getattr(error, 'strerror', None) or error) or type(error).__name__)}") from error


def _library_errors() -> tuple[type[Exception], ...]:
    """What imapclient and the imaplib below it raise when a server misbehaves (wrong bytes surface as ValueError and its like)."""
    from imapclient.exceptions import IMAPClientError

    return (IMAPClientError, OSError, ValueError, AttributeError, IndexError, KeyError, TypeError, AssertionError)


def _cut(client: Any) -> None:
    with contextlib.suppress(*_library_errors()):
        client.shutdown()
