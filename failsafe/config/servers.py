"""The tables of mail servers: where a service listens, and how a server's mail is read. What every table is made of stands here too."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from failsafe.config.types import AbsolutePath, Duration, SshAddress
from failsafe.model import Endpoint

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
READ_BY_DOVEADM = ("docker-mailserver", "mailcow")  # their Dovecot runs in a container that lets us run doveadm
NEEDS_PLACE = {
    "docker-mailserver": 'path, the folder that holds mail-data/ config/ mail-state/, or container = "mailserver", whose mounts are then looked at',
    "mailu": 'path, the folder that holds mail/ data/ dkim/ certs/, or container, the name of one of its containers such as "mailu-imap-1"',
}
_MAILBOX = re.compile(r"(?!-)[^\s/@\\'\"]+(@[^\s/@\\'\"]+)?\Z")


def _mailbox(name: str) -> str:
    if not _MAILBOX.match(name):
        raise ValueError(f'{name!r} is no mailbox; write "a@example.org"')
    return name


MailboxName = Annotated[str, AfterValidator(_mailbox)]


class Table(BaseModel):
    # `defer_build`: validators are made once, in the whole configuration, and not for each table as well
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, defer_build=True)


class EndpointTable(Table):
    """Where a service listens and how it is trusted."""

    host: str
    port: int = Field(gt=0, lt=65536)
    tls: Literal["implicit", "starttls", "none"] | None = None
    ca_file: AbsolutePath | None = None

    @model_validator(mode="after")
    def _no_plain_text_on_a_network(self) -> EndpointTable:
        if self.tls == "none" and self.host not in LOOPBACK:
            raise ValueError('tls = "none" is for loopback only; use "implicit" or "starttls"')
        return self

    def endpoint(self) -> Endpoint:
        """Port 993 and 465 begin with TLS, all others with STARTTLS, unless `tls` says so."""
        tls = self.tls or ("implicit" if self.port in (465, 993) else "starttls")
        return Endpoint(self.host, self.port, tls, None if self.ca_file is None else str(self.ca_file))


def _fingerprint(value: str) -> str:
    """As openssl prints it ("AB:CD:…"), or plain."""
    digits = value.lower().removeprefix("sha256:").replace(":", "")
    if re.fullmatch(r"[0-9a-f]{64}", digits) is None:
        raise ValueError(f"{value!r} is no SHA-256 fingerprint; write it as openssl x509 -noout -fingerprint -sha256 prints it")
    return digits


class PinnedTable(EndpointTable):
    """An IMAP server whose certificate nobody vouches for may be known by its fingerprint, once a person has compared it."""

    certificate_sha256: Annotated[str, AfterValidator(_fingerprint)] | None = None

    @model_validator(mode="after")
    def _a_pin_needs_tls(self) -> PinnedTable:
        if self.certificate_sha256 is not None and self.tls == "none":
            raise ValueError('certificate_sha256 needs TLS: leave tls = "none" out')
        return self

    def endpoint(self) -> Endpoint:
        return replace(super().endpoint(), certificate_sha256=self.certificate_sha256)


class ImapTable(PinnedTable):
    """Where restores go and, with layout "imap", where mail is read. `separator` stands between a mailbox and the master user's name."""

    master_user: str | None = Field(default=None, min_length=1)
    password_file: AbsolutePath | None = None
    separator: str = Field(default="*", min_length=1, max_length=3)

    @model_validator(mode="after")
    def _master_has_a_password(self) -> ImapTable:
        if (self.master_user is None) != (self.password_file is None):
            raise ValueError("master_user and password_file go together: the login of a user who may open every mailbox")
        return self


class MailServer(Table):
    layout: Literal["docker-mailserver", "mailcow", "mailu", "maildir", "imap"]
    path: AbsolutePath | None = None
    container: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$")
    ssh: SshAddress | None = None
    ssh_key: AbsolutePath | None = None
    known_hosts: AbsolutePath | None = None
    network: str | None = Field(default=None, min_length=1)
    backup_every: Duration = timedelta(minutes=15)
    exclude_folders: tuple[str, ...] = ()
    extra_paths: tuple[AbsolutePath, ...] = ()
    commands: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")], str] = Field(default_factory=dict)
    imap: ImapTable | None = None
    mailboxes: tuple[MailboxName, ...] = ()
    accounts_file: AbsolutePath | None = None
    read: Literal["files", "doveadm"] = "files"

    @model_validator(mode="after")
    def _place_is_known(self) -> MailServer:
        if self.layout == "maildir" and self.path is None:
            raise ValueError('layout "maildir" needs path, the folder that holds DOMAIN/USER/ Maildirs')
        if self.layout == "maildir" and self.container is not None:
            raise ValueError('container goes with the layouts docker-mailserver, mailcow and mailu; "maildir" reads path')
        if self.layout in NEEDS_PLACE and self.path is None and self.container is None:
            raise ValueError(f'layout "{self.layout}" needs {NEEDS_PLACE[self.layout]}')
        reserved = sorted({name for name in self.commands if name.startswith("mailcow-")}) if self.layout == "mailcow" else []
        if reserved:
            raise ValueError(
                f"commands: {', '.join(reserved)}: names that begin with mailcow- are failsafe's own with this layout"
            )
        if self.ssh is None and (self.ssh_key is not None or self.known_hosts is not None):
            raise ValueError("ssh_key and known_hosts go with ssh; without it the path is on this machine")
        return self

    @model_validator(mode="after")
    def _mail_can_be_read(self) -> MailServer:
        if self.layout == "imap":
            self._check_imap()
        elif self.accounts_file is not None:
            raise ValueError('accounts_file goes with layout = "imap"')
        if self.read == "doveadm" and self.layout not in READ_BY_DOVEADM:
            raise ValueError(f'read = "doveadm" goes with layout {" or ".join(READ_BY_DOVEADM)}')
        if self.mailboxes and self.layout != "imap" and self.read != "doveadm":
            raise ValueError('mailboxes goes with layout = "imap" or read = "doveadm"; files are read of all mailboxes')
        return self

    def _check_imap(self) -> None:
        if self.imap is None:
            raise ValueError('layout "imap" needs imap = { host = "mail.example.org", port = 993 }')
        if self.path is not None or self.container is not None:
            raise ValueError('layout "imap" reads no files: leave path and container out')
        if bool(self.mailboxes) == (self.accounts_file is not None):
            raise ValueError(
                'layout "imap" needs either accounts_file, with a line USER:PASSWORD_FILE for each mailbox, or mailboxes = ["a@example.org"] '
                "with a master user in imap"
            )
        if self.mailboxes and self.imap.master_user is None:
            raise ValueError(
                'mailboxes needs the login of a master user: imap = { …, master_user = "failsafe", password_file = "…" }; '
                "where the server has none, use accounts_file"
            )
