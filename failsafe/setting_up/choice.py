"""What was decided, as frozen values: everything that the configuration is written from. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from failsafe.model import Strategy
from failsafe.setting_up.sight import Size


@dataclass(frozen=True, slots=True)
class HostKeyChoice:
    """A host key that a person has compared, to be pinned. `line`: "" where it could not be fetched, or is pinned already."""

    name: str  # as known_hosts writes host and port
    line: str = ""
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class ServerChoice:
    """`ssh`: user@host:port, "" where the mail lies on this machine or is read over IMAP alone. `imap`: host and port, None where left out."""

    name: str
    layout: str
    path: str = ""
    container: str = ""
    ssh: str = ""
    host_key: HostKeyChoice | None = None
    look_as: str = ""  # who may do everything there, for the commands that are printed
    imap: tuple[str, int] | None = None
    mailboxes: tuple[str, ...] = ()
    accounts_file: str = ""
    size: Size | None = None


@dataclass(frozen=True, slots=True)
class DnsChoice:
    """A DNS provider that is written to; `name` of its table. Of its files, what is not there yet is made: a TSIG secret anew, others empty."""

    name: str
    provider: str
    token_file: str = ""
    zone_id: str = ""
    server: str = ""
    key_name: str = ""
    key_file: str = ""
    credentials_file: str = ""


@dataclass(frozen=True, slots=True)
class HomecomingChoice:
    """Where mail that landed at the secondary is fetched, with one login."""

    host: str
    port: int
    user: str
    password_file: str


@dataclass(frozen=True, slots=True)
class DomainChoice:
    """`secondary` (): backups only; the domain then stands in comments. `dns` is the name of a [dns.…] table, "" without one."""

    domain: str
    server: str
    primary: tuple[str, ...]
    secondary: tuple[str, ...] = ()
    secondary_name: str = ""
    strategy: Strategy = Strategy.ON_DEMAND
    why: str = ""
    dns: str = ""
    homecoming: HomecomingChoice | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """`folder` is where the configuration lies, and keys and secrets beside it."""

    folder: str
    controller: str
    time_zone: str
    server: ServerChoice
    domain: DomainChoice
    state_dir: str
    repository: str
    offsite: str = ""
    dns: DnsChoice | None = None
    probe: str = ""
    resolver: str = ""
