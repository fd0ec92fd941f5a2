"""What a homecoming reads, as a server that is backed up over IMAP: "DOMAIN:secondary". Made from the domain's table; nobody writes it by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from failsafe.config.servers import ImapTable, MailServer, Table
from failsafe.config.types import AbsolutePath

if TYPE_CHECKING:
    from failsafe.config.homecomings import Homecoming
    from failsafe.config.schema import Domain

SECONDARY = ":secondary"  # no [mail_server.NAME] and no domain holds a colon
CATCH_ALL = "catch-all@{}"  # the mailbox under which what a catch-all holds is archived


class SecondaryLogin(Table):
    """One login at the secondary, and the mailbox under which its mail is archived."""

    mailbox: str
    user: str
    password_file: AbsolutePath


class SecondaryServer(MailServer):
    """A secondary as far as its mail is read. Nothing ever writes there through this."""

    layout: Literal["imap"] = "imap"
    domain: str
    logins: tuple[SecondaryLogin, ...]

    def _check_imap(self) -> None:
        """The domain's own table was checked."""


def secondary_of(domain: str) -> str:
    return f"{domain}{SECONDARY}"


def domain_of(server: str) -> str | None:
    """The other way round; None for a mail server."""
    return server.removesuffix(SECONDARY) if server.endswith(SECONDARY) else None


def secondary_servers(domains: Mapping[str, Domain]) -> dict[str, MailServer]:
    """Those of all domains that have a homecoming, by name."""
    return {
        secondary_of(name): _server(name, table.homecoming) for name, table in domains.items() if table.homecoming is not None
    }


def _server(domain: str, home: Homecoming) -> SecondaryServer:
    logins = [SecondaryLogin(mailbox=each.mailbox, user=each.user, password_file=each.password_file) for each in home.accounts]
    if home.catch_all is not None:
        every = home.catch_all
        logins.append(SecondaryLogin(mailbox=CATCH_ALL.format(domain), user=every.user, password_file=every.password_file))
    return SecondaryServer(
        domain=domain,
        imap=ImapTable(
            host=home.host, port=home.port, tls=home.tls, ca_file=home.ca_file, certificate_sha256=home.certificate_sha256
        ),
        logins=tuple(logins),
    )
