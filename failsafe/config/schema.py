"""The tables of the configuration file, as frozen pydantic models. Unknown keys are errors. No default needs explaining twice:
`failsafe config schema` prints all of this."""

from __future__ import annotations

import re
import socket
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, field_validator, model_validator

from failsafe.config.homecomings import Homecoming
from failsafe.config.secondaries import secondary_servers
from failsafe.config.servers import LOOPBACK, EndpointTable, ImapTable, MailServer, Table
from failsafe.config.types import (
    AbsolutePath,
    Address,
    ClockTime,
    DailyWindow,
    DnsName,
    Duration,
    HostPort,
    Rate,
    Share,
    Within,
)
from failsafe.config.urls import PlainUrl, holds_password
from failsafe.config.vantages import Vantage
from failsafe.failover.domain_checks.block_lists import DOMAIN_LISTS, LISTS
from failsafe.model import Endpoint, Mode, Strategy

__all__ = ["Config", "EndpointTable", "ImapTable", "MailServer", "Table"]


Selector = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]


class Controller(Table):
    id: str = Field(default_factory=socket.gethostname, pattern=r"^[A-Za-z0-9._-]{1,63}$")
    state_dir: AbsolutePath = Path("/var/lib/failsafe")
    database: str = "sqlite"
    database_password_file: AbsolutePath | None = None
    time_zone: str | None = None
    network: str | None = Field(default=None, min_length=1)
    limit_download: Rate | None = None
    limit_upload: Rate | None = None
    erase_after: Duration = timedelta(days=90)
    public_resolvers: tuple[Address, ...] = (HostPort("1.1.1.1", 53), HostPort("8.8.8.8", 53), HostPort("9.9.9.9", 53))

    @field_validator("database")
    @classmethod
    def _no_password_in_url(cls, value: str) -> str:
        if value == "sqlite":
            return value
        if not value.startswith("postgresql+psycopg://"):
            raise ValueError('must be "sqlite" or "postgresql+psycopg://user@host/failsafe"')
        if holds_password(value) or re.match(r"postgresql\+psycopg://[^/@:]*:[^@?]*@", value):
            raise ValueError("holds a password; put it into a file and name that in database_password_file")
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ZoneInfo(value)
            except (ZoneInfoNotFoundError, ValueError):
                raise ValueError(f'{value!r} is not a time zone; write it as "Europe/Warsaw"') from None
        return value


class Web(Table):
    listen: Address = HostPort("127.0.0.1", 8025)
    password_file: AbsolutePath | None = None
    certificate_file: AbsolutePath | None = None
    key_file: AbsolutePath | None = None
    behind_proxy: bool = False

    @model_validator(mode="after")
    def _closed_to_strangers(self) -> Web:
        guarded = self.password_file is not None and (
            self.behind_proxy or (self.certificate_file is not None and self.key_file is not None)
        )
        if self.listen.host not in LOOPBACK and not guarded:
            raise ValueError(
                "listen is not on loopback: set password_file, and either certificate_file with key_file, or behind_proxy = true"
            )
        return self


class Keep(Table):
    within: Within | None = None
    last: int | None = Field(default=None, gt=0)
    hourly: int | None = Field(default=None, gt=0)
    daily: int | None = Field(default=None, gt=0)
    weekly: int | None = Field(default=None, gt=0)
    monthly: int | None = Field(default=None, gt=0)
    yearly: int | None = Field(default=None, gt=0)


class CheckPlan(Table):
    every: Duration = timedelta(days=7)
    share: Share = 12


class RepositoryTable(Table):
    url: str = Field(min_length=1)
    password_file: AbsolutePath
    environment_file: AbsolutePath | None = None
    ssh_key: AbsolutePath | None = None
    known_hosts: AbsolutePath | None = None
    maintenance: Literal["here", "elsewhere"] = "here"
    maintenance_environment_file: AbsolutePath | None = None
    restore_environment_file: AbsolutePath | None = None
    keep: Keep | None = None
    every: Duration | None = None
    check: CheckPlan = CheckPlan()
    drill_every: Duration = timedelta(days=7)
    window: DailyWindow | None = None
    limit_upload: Rate | None = None
    limit_download: Rate | None = None

    @property
    def is_path(self) -> bool:
        """A folder on this machine, not a place across a network."""
        return re.match(r"(?i)^(sftp|s3|rest|rclone|b2|azure|gs|swift):", self.url) is None

    @model_validator(mode="after")
    def _ssh_is_for_sftp(self) -> RepositoryTable:
        if not self.url.lower().startswith("sftp:") and (self.ssh_key is not None or self.known_hosts is not None):
            raise ValueError("ssh_key and known_hosts go with an sftp: URL")
        return self

    @field_validator("url")
    @classmethod
    def _no_password_in_url(cls, value: str) -> str:
        if holds_password(value):
            names = (
                "RESTIC_REST_USERNAME and RESTIC_REST_PASSWORD"
                if value.lower().startswith("rest:")
                else "the backend's variables"
            )
            raise ValueError(f"holds a password; put {names} into environment_file")
        if re.match(r"(?i)^(sftp|s3|rest|rclone|b2|azure|gs|swift):", value) is None and not Path(value).is_absolute():
            raise ValueError(f"{value!r} is neither a restic URL (s3:…, sftp:…, rest:…) nor a whole path")
        return value


class Dns(Table):
    provider: Literal["cloudflare", "route53", "rfc2136"]
    token_file: AbsolutePath | None = None
    zone_id: str | None = None
    base_url: PlainUrl = None
    server: Address | None = None
    key_name: str | None = None
    key_algorithm: Literal["hmac-sha256", "hmac-sha384", "hmac-sha512"] = "hmac-sha256"
    key_file: AbsolutePath | None = None
    hosted_zone_id: str | None = None
    credentials_file: AbsolutePath | None = None
    profile: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _amazon_keeps_credentials_in_one_place(cls, value: object) -> object:
        """Named here, so that the file's mode is checked, and a recovery kit carries it."""
        if isinstance(value, dict) and value.get("provider") == "route53":
            return {"credentials_file": str(Path("~/.aws/credentials").expanduser()), **value}
        return value

    @model_validator(mode="after")
    def _enough_to_reach_it(self) -> Dns:
        needed = {
            "cloudflare": ("token_file", "zone_id"),
            "rfc2136": ("server", "key_name", "key_file"),
            "route53": (),  # the zone can be found by its name
        }
        missing = [key for key in needed[self.provider] if getattr(self, key) is None]
        if missing:
            raise ValueError(f"provider {self.provider} needs {', '.join(missing)}")
        return self


def _one_or_more(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or len(set(names)) != len(names) or len(names) > 10:
        raise ValueError("needs one to ten different names")
    return names


class Domain(Table):
    server: str
    primary: Annotated[tuple[DnsName, ...], AfterValidator(_one_or_more)]
    secondary: Annotated[tuple[DnsName, ...], AfterValidator(_one_or_more)]
    strategy: Strategy
    dns: str | None = None
    zone: DnsName | None = None
    ttl: Duration | None = None
    mode: Mode = Mode.OBSERVE
    quorum: int = Field(default=2, ge=1, le=9)
    down_for: Duration = timedelta(minutes=15)
    up_for: Duration = timedelta(minutes=30)
    failback: Literal["auto", "manual"] = "auto"
    when_lying: Literal["strategy", "replace"] = "strategy"
    verify_for: Duration = timedelta(minutes=5)
    min_dwell: Duration = timedelta(hours=1)
    flips_per_day: int = Field(default=3, ge=1, le=100)
    nameservers: tuple[Address, ...] = ()
    dkim_selectors: tuple[Selector, ...] | None = None
    secondary_spf: tuple[DnsName, ...] | None = None
    secondary_dkim: tuple[Selector, ...] | None = None
    homecoming: Homecoming | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Domain:
        both = set(self.primary) & set(self.secondary)
        if both:
            raise ValueError(f"{', '.join(sorted(both))} is both primary and secondary")
        if self.strategy is Strategy.SWAP and self.homecoming is None:
            raise ValueError(
                'strategy "swap" lets mail reach the secondary in peace time too, so it needs a [domain."…".homecoming]; or use "on-demand"'
            )
        return self


MailAddress = Annotated[str, Field(pattern=r"^[!-;=?A-~]+@[A-Za-z0-9.-]+$", max_length=254)]


class Canary(Table):
    every: Duration = timedelta(minutes=15)
    smtp: Address
    ca_file: AbsolutePath | None = None
    user: str
    password_file: AbsolutePath
    from_: MailAddress = Field(alias="from")
    to: MailAddress

    def endpoint(self) -> Endpoint:
        """Port 465 begins with TLS, all others with STARTTLS; never without."""
        tls = "implicit" if self.smtp.port == 465 else "starttls"
        return Endpoint(self.smtp.host, self.smtp.port, tls, None if self.ca_file is None else str(self.ca_file))


class ProbeImap(EndpointTable):
    user: str
    password_file: AbsolutePath


class Probe(Table):
    every: Duration = timedelta(minutes=1)
    smtp: tuple[Address, ...] = ()
    recipient: str | None = None
    sender: str = ""
    helo: str | None = None
    imap: ProbeImap | None = None
    submission: tuple[EndpointTable, ...] = Field(default=(), max_length=4)
    submission_login: bool = True
    spare_refusals: bool = True
    ca_file: AbsolutePath | None = None


class OwnLine(Table):
    references: tuple[Address, ...] = (HostPort("1.1.1.1", 443), HostPort("9.9.9.9", 443), HostPort("208.67.222.222", 443))


class Doctor(Table):
    resolver: Address | None = None
    block_lists: tuple[DnsName, ...] = LISTS
    domain_lists: tuple[DnsName, ...] = DOMAIN_LISTS
    registry: PlainUrl = "https://data.iana.org/rdap/dns.json"


class Notify(Table):
    urls_file: AbsolutePath | None = None
    heartbeat_url_file: AbsolutePath | None = None
    digest_at: ClockTime | None = None


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]


class Config(Table):
    controller: Controller = Controller()
    web: Web | None = None
    mail_server: dict[Name, MailServer] = Field(default_factory=dict)
    repository: dict[Name, RepositoryTable] = Field(default_factory=dict)
    dns: dict[Name, Dns] = Field(default_factory=dict)
    domain: dict[DnsName, Domain] = Field(default_factory=dict)
    canary: dict[Name, Canary] = Field(default_factory=dict)
    probe: dict[Name, Probe] = Field(default_factory=dict)
    vantage: dict[Name, Vantage] = Field(default_factory=dict)
    own_line: OwnLine = OwnLine()
    doctor: Doctor = Doctor()
    notify: Notify = Notify()

    @property
    def archived(self) -> dict[str, MailServer]:
        """Everything that has an archive of its own: the mail servers and, as "DOMAIN:secondary", what homecomings read."""
        return {**self.mail_server, **secondary_servers(self.domain)}
