"""From which address, and under which name, a mail server's own mail leaves, by the settings of its Postfix. Pure.

A server that receives at one address may send from another: `smtp_bind_address`, of all of Postfix or of one service in master.cf; and a Postfix that listens
at one address alone sends from it (postconf(5), inet_interfaces). What receivers look up is the address that mail comes from.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from failsafe.failover.domain_checks.sending import is_public

LONGEST = 255  # characters of a name
BIND = {4: "smtp_bind_address", 6: "smtp_bind_address6"}
SMTP = "smtp/unix/"  # the service in master.cf that mail usually leaves by
ADDRESSES = 8


@dataclass(frozen=True, slots=True)
class SendsFrom:
    """`addresses`: to which it binds itself; of a family without one the system chooses. `relay`: who it hands all mail to, "" where it delivers itself.

    `helo`: the name that it says then, "" where that is not known.
    """

    addresses: tuple[str, ...] = ()
    relay: str = ""
    helo: str = ""

    @property
    def public(self) -> tuple[str, ...]:
        """Those that receivers see as they are; a private one is translated on its way, and nobody here can tell to what."""
        return tuple(each for each in self.addresses if is_public(each))

    def instead_of(self, receiving: Sequence[str]) -> tuple[str, ...]:
        """The addresses that mail leaves from, as far as is known: where nothing is bound, those that it is received at."""
        families = {ipaddress.ip_address(each).version for each in self.public}
        return tuple(
            dict.fromkeys((*self.public, *(each for each in receiving if ipaddress.ip_address(each).version not in families)))
        )


def parse_sends_from(row: Any) -> SendsFrom | None:
    """The answer of the program there, settings by name; None where it is too old to tell, or there is no Postfix. Never raises."""
    if not isinstance(row, Mapping) or BIND[4] not in row:
        return None
    told = {str(name): str(value).strip()[:LONGEST] for name, value in row.items()}
    found = [*_bound(told, 4), *_bound(told, 6), *_of_other_services(told)]
    helo = told.get(f"{SMTP}smtp_helo_name") or told.get("smtp_helo_name", "")
    return SendsFrom(tuple(dict.fromkeys(found))[:ADDRESSES], told.get("relayhost", ""), helo.rstrip(".").lower())


def _bound(told: Mapping[str, str], family: int) -> Iterator[str]:
    name = BIND[family]
    given = told.get(f"{SMTP}{name}", told.get(name, ""))
    if given:
        yield from _one(given, family)
    else:
        yield from _listens_at_one(told.get("inet_interfaces", ""), family)


def _listens_at_one(interfaces: str, family: int) -> Iterator[str]:
    """The only address of that family, where it is no loopback. Names say nothing: only the server itself knows what it takes them for."""
    found = [_address(each.strip("[]")) for each in interfaces.replace(",", " ").split()]
    alike = [each for each in found if each is not None and each.version == family]
    if None not in found and len(alike) == 1 and not alike[0].is_loopback:
        yield str(alike[0])


def _of_other_services(told: Mapping[str, str]) -> Iterator[str]:
    """Of further services in master.cf, to which some mail is routed."""
    for name, value in sorted(told.items()):
        service, _, setting = name.rpartition("/")
        if service and f"{service}/" != SMTP and setting in BIND.values():
            yield from _one(value, 4 if setting == BIND[4] else 6)


def _one(text: str, family: int) -> Iterator[str]:
    found = _address(text.strip("[]"))
    if found is not None and found.version == family and not found.is_unspecified:
        yield str(found)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
