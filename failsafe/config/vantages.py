"""The tables of other places to look from, and which of them look at which mail server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Protocol

from pydantic import AfterValidator, Field, model_validator

from failsafe.config.servers import MailServer, Table
from failsafe.config.types import AbsolutePath, Address, SshAddress
from failsafe.config.urls import WebUrl
from failsafe.failover.bans import MAILCOW_BANS, Stack
from failsafe.failover.up_when import parse_condition

HERE = "here"  # the vantage that always exists
SHALLOW = ("uptimerobot", "http")  # somebody else's monitor: it sees that a port answers, not whether mail is taken
NEEDED = {"ssh": ("ssh",), "uptimerobot": ("key_file", "monitor"), "http": ("url", "up_when")}
OWN_KEYS = {
    "ssh": ("ssh", "ssh_key", "known_hosts", "helo", "references"),
    "uptimerobot": ("key_file", "monitor", "url"),
    "http": ("url", "up_when", "down_when", "key_file"),
}


def _condition(text: str | None) -> str | None:
    if text is not None:
        parse_condition(text)
    return text


Condition = Annotated[str | None, AfterValidator(_condition)]


class Vantage(Table):
    """Another place to look from. `server`: whose way in a monitor watches; left out where only one mail server has a [probe]."""

    kind: Literal["ssh", "uptimerobot", "http"]
    server: str | None = None
    network: str | None = Field(default=None, min_length=1)
    ssh: SshAddress | None = None
    ssh_key: AbsolutePath | None = None
    known_hosts: AbsolutePath | None = None
    helo: str | None = None
    references: tuple[Address, ...] | None = None
    key_file: AbsolutePath | None = None
    monitor: str | None = Field(default=None, pattern=r"^[0-9]{1,20}$")
    url: WebUrl = None
    up_when: Condition = None
    down_when: Condition = None

    @model_validator(mode="after")
    def _enough_to_ask_it(self) -> Vantage:
        missing = [key for key in NEEDED[self.kind] if getattr(self, key) is None]
        if missing:
            raise ValueError(f"kind {self.kind} needs {', '.join(missing)}")
        of_others = {key for keys in OWN_KEYS.values() for key in keys} - set(OWN_KEYS[self.kind])
        foreign = sorted(key for key in of_others if getattr(self, key) is not None)
        if foreign:
            raise ValueError(f"kind {self.kind} does not know {', '.join(foreign)}; it has {', '.join(OWN_KEYS[self.kind])}")
        return self

    @property
    def is_shallow(self) -> bool:
        """Whether its "up" says no more than that something answers."""
        return self.kind in SHALLOW


class Configured(Protocol):
    """What of a configuration says who looks at what."""

    @property
    def vantage(self) -> Mapping[str, Vantage]: ...
    @property
    def probe(self) -> Mapping[str, object]: ...


def vantages_of(config: Configured, server: str) -> tuple[str, ...]:
    """The names of all that look at the way in of a mail server, "here" first; none where it has no [probe]."""
    if server not in config.probe:
        return ()
    others = (name for name, table in config.vantage.items() if looks_at(config, table, server))
    return (HERE, *sorted(others))


def looks_at(config: Configured, table: Vantage, server: str) -> bool:
    """Another machine looks at every server that has a [probe]; a monitor at the one that it watches."""
    if table.server is not None:
        return table.server == server
    return table.kind == "ssh" or set(config.probe) == {server}


def near(config: Configured, table: MailServer, controller_network: str | None) -> frozenset[str]:
    """Those in the mail server's own network."""
    if table.network is None:
        return frozenset()
    here = {HERE} if controller_network == table.network else set()
    return frozenset(here | {name for name, other in config.vantage.items() if other.network == table.network})


def vantage_faults(config: Configured) -> list[tuple[str, str]]:
    """Monitors of which nobody can tell what they watch."""
    faults = []
    for name, table in config.vantage.items():
        if table.server is not None and table.server not in config.probe:
            faults.append((f"vantage.{name}.server", f"there is no [probe.{table.server}]"))
        elif table.server is None and table.kind != "ssh" and len(config.probe) > 1:
            servers = ", ".join(sorted(config.probe))
            faults.append((f"vantage.{name}.server", f"say which mail server this monitor watches: {servers}"))
    if HERE in config.vantage:
        faults.append((f"vantage.{HERE}", '"here" always exists and cannot be configured'))
    return faults


def stack_of(table: MailServer) -> Stack:
    """What kind of server its fail2ban belongs to; in docker-mailserver it runs inside the container, mailcow keeps a list of its own in Redis."""
    if table.layout == "mailcow":
        return Stack(table.layout, MAILCOW_BANS)
    return Stack(table.layout, (table.container or "mailserver") if table.layout == "docker-mailserver" else "")
