"""Whether a mail server's fail2ban shuts our probes out, and the exact words that let them in again. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MAILCOW_BANS = "service=redis-mailcow"  # stands for a container: whichever has that label
ADDRESS = "OUR-ADDRESS"  # stands in the commands where our address, as the server sees it, is not known


@dataclass(frozen=True, slots=True)
class Stack:
    """Of which kind a mail server is: its layout, and the container that its list of bans is in ("": none)."""

    layout: str
    container: str = ""


@dataclass(frozen=True, slots=True)
class Jail:
    """One of fail2ban's jails: which of the addresses asked about it bans, and what it never bans (addresses and networks)."""

    name: str
    banned: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BanList:
    """What fail2ban said. `ours`: our address as the server sees it; `error`: why nobody knows, "" if it was asked."""

    ours: str = ""
    jails: tuple[Jail, ...] = ()
    error: str = ""

    def banning(self, address: str) -> tuple[str, ...]:
        return tuple(jail.name for jail in self.jails if address in jail.banned)

    def not_ignoring(self, address: str) -> tuple[str, ...]:
        """The jails that may ban the address one day."""
        return tuple(jail.name for jail in self.jails if not is_within(address, jail.ignored))


def parse_bans(row: Mapping[str, Any]) -> BanList:
    """The server's side's answer to `vitals bans`; an older one there answers something else."""
    found = row.get("bans")
    if not isinstance(found, Mapping):
        return BanList(error="the program installed there is older and does not ask fail2ban")
    jails = tuple(
        Jail(str(jail.get("name", "")), _texts(jail.get("banned")), _texts(jail.get("ignored")))
        for jail in found.get("jails") or ()
        if isinstance(jail, Mapping)
    )
    return BanList(_plain(str(found.get("client", ""))), jails, str(found.get("error", "")))


def is_within(address: str, ignored: Iterable[str]) -> bool:
    """Whether an address stands in a list of addresses and networks; what is neither (a name) is passed over."""
    try:
        wanted = ipaddress.ip_address(address)
    except ValueError:
        return False
    for entry in ignored:
        try:
            if wanted in ipaddress.ip_network(entry, strict=False):
                return True
        except ValueError:
            continue
    return False


def unban_words(stack: Stack, address: str, jail: str = "JAIL") -> str:
    """The command that lets an address in again, on the server."""
    if stack.layout == "docker-mailserver":
        return f"docker exec {stack.container or 'mailserver'} setup fail2ban unban {address}"
    if stack.layout == "mailcow":
        return f"in mailcow's panel (System, Configuration, Options, Fail2ban parameters) unban {address}"
    if stack.layout == "mailu":
        return (
            f"Mailu limits logins by address and has no list: wait, and add {address}/32 to AUTH_RATELIMIT_EXEMPTION in mailu.env"
        )
    return f"fail2ban-client set {jail} unbanip {address}"


def ignore_words(stack: Stack, address: str, ignored: Iterable[str] = ()) -> str:
    """The line that keeps it from being banned again, and where it stands. `ignored`: what the jail ignores already, kept in the line."""
    known = " ".join(dict.fromkeys(["127.0.0.1/8", "::1", *ignored]))
    line = f"ignoreip = {known} {address}"
    if stack.layout == "docker-mailserver":
        return f"under [DEFAULT] in docker-data/dms/config/fail2ban-jail.cf: {line}; then restart the container"
    if stack.layout == "mailcow":
        return f"in the same panel, in the allowlist: {address}"
    if stack.layout == "mailu":
        return f"AUTH_RATELIMIT_EXEMPTION in mailu.env: {address}/32"
    return f"under [DEFAULT] in /etc/fail2ban/jail.local: {line}; then: fail2ban-client reload"


def let_in(stack: Stack, address: str, jails: Iterable[str] = (), ignored: Iterable[str] = ()) -> str:
    """Both, for now and for good: what a person does about a ban."""
    named = list(jails) or ["JAIL"]
    commands = dict.fromkeys(unban_words(stack, address, jail) for jail in named)
    return f"on the server: {'; '.join(commands)}. So that it stays so: {ignore_words(stack, address, ignored)}"


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(entry) for entry in value) if isinstance(value, (list, tuple)) else ()


def _plain(address: str) -> str:
    """An IPv4 address as itself, where a socket for both kinds shows it mapped into IPv6 ("::ffff:192.0.2.1")."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return ""
    mapped = known.ipv4_mapped if isinstance(known, ipaddress.IPv6Address) else None
    return str(mapped or known)
