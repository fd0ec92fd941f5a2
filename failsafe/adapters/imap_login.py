"""Where a backup's IMAP sessions come from: logins with passwords from files, or Dovecot's own programs on the server."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from failsafe.adapters.imap_line import Meter, connect, connect_over, faults, hang_up, words_of
from failsafe.adapters.imap_source import ImapSource
from failsafe.errors import ExternalError, MailError, ProcessError
from failsafe.model import Endpoint
from failsafe.ports import Channel, MailHost
from failsafe.secrets import Secret, read_secret

LISTED_BYTES = 16 << 20  # of `doveadm user '*'`
PASSING = ("[UNAVAILABLE]", "[INUSE]", "[LIMIT]", "[SERVERBUG]")
_MAILBOX = re.compile(
    r"(?!-)[^\s\0/@\\'\"]+(@[^\s\0/@\\'\"]+)?\Z"
)  # nothing that a program could take for an option, a path or a quote


@dataclass(frozen=True, slots=True)
class Login:
    """The password is read at every login, so that replacing the file changes it."""

    user: str
    password_file: Path


class LoginSource:
    """MailSource that logs in to each mailbox. `mend` is what to check where a login is refused."""

    def __init__(
        self, name: str, endpoint: Endpoint, logins: Callable[[], Mapping[str, Login]], *, limit: int | None, mend: str
    ) -> None:
        self._name, self._endpoint, self._logins, self._limit, self._mend = name, endpoint, logins, limit, mend

    @property
    def name(self) -> str:
        return self._name

    def mailboxes(self) -> tuple[str, ...]:
        return tuple(self._logins())

    def open(self, mailbox: str) -> ImapSource:
        login = self._logins()[mailbox]
        where = f"{self._name}: {self._endpoint.host}:{self._endpoint.port}"
        password = read_secret(login.password_file)
        return log_in(self._endpoint, login.user, password, where, limit=self._limit, mend=self._mend)


class DoveadmSource:
    """MailSource on a Dovecot whose server lets us run `doveadm` there: no password, and every store format. `prefix`: words before `doveadm`."""

    def __init__(self, host: MailHost, prefix: Sequence[str] = (), mailboxes: Sequence[str] = ()) -> None:
        self._host, self._prefix, self._mailboxes = host, tuple(prefix), tuple(mailboxes)

    @property
    def name(self) -> str:
        return self._host.name

    def mailboxes(self) -> tuple[str, ...]:
        """Those that were named; else as `doveadm user '*'` lists them: the userdb must be able to (SQL, LDAP and passwd-file are)."""
        if self._mailboxes:
            return self._mailboxes
        channel = self._host.open([*self._prefix, "doveadm", "user", "*"])
        try:
            names = _all(channel, self.name).decode("utf-8", "replace").split("\n")
        except ProcessError as error:
            raise ProcessError(
                f"{self.name}: doveadm does not list the mailboxes: {error}",
                mend="name them in mailboxes = […], or give the userdb an iterate_query",
                transient=error.transient,
            ) from error
        finally:
            channel.close()
        found = sorted({name.strip() for name in names} - {""})
        odd = [name for name in found if not _MAILBOX.match(name)]
        if odd:
            raise ProcessError(
                f"{self.name}: doveadm lists {odd[0]!r}, which is no mailbox",
                mend="name those that are to be backed up in mailboxes = […]",
                transient=False,
            )
        return tuple(found)

    def open(self, mailbox: str) -> ImapSource:
        if not _MAILBOX.match(mailbox):
            raise MailError(f"{self.name}: {mailbox!r} is no mailbox", transient=False)
        channel = self._host.open([*self._prefix, "doveadm", "exec", "imap", "-u", mailbox])
        return log_in_over(channel, f"{self.name}: {mailbox}")


def log_in(
    endpoint: Endpoint, user: str, password: Secret, where: str, *, limit: int | None = None, mend: str = ""
) -> ImapSource:
    """Connects and logs in. Raises MailError (`credential` where the login is refused)."""
    meter = Meter(limit)
    with faults(where, "connect"):
        client = connect(endpoint, meter)
    try:
        with faults(where, f"log in as {user}"):
            client.login(user, password.reveal())
    except MailError as error:
        hang_up(client)
        if error.transient:
            raise
        said = words_of(error.__cause__)
        if is_passing(said):
            raise MailError(f"{where} does not let {user} in just now: {said}") from None
        raise MailError(f"{where} does not let {user} in: {said}", mend=mend, transient=False, credential=True) from None
    except BaseException:
        hang_up(client)
        raise
    return ImapSource(client, meter, where)


def is_passing(said: str) -> bool:
    """Whether the server refused a login for reasons of its own (RFC 5530 and 9051), and not for the password."""
    return said.upper().startswith(PASSING)


def log_in_over(channel: Channel, where: str) -> ImapSource:
    """Over a channel to a program that speaks IMAP for one mailbox. Raises MailError, and what the channel raises."""
    meter = Meter()
    try:
        with faults(where, "start"):
            client = connect_over(channel, meter)
    except ExternalError:
        channel.close()
        raise
    return ImapSource(client, meter, where)


def _all(channel: Channel, name: str) -> bytes:
    data = b""
    while piece := channel.receive(65536):
        data += piece
        if len(data) > LISTED_BYTES:
            raise ProcessError(f"{name}: doveadm lists more than {LISTED_BYTES >> 20} MiB of mailboxes")
    return data
