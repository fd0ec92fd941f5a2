"""Judges what receivers look up of a mail server that sends: the names of its addresses, and the name it says. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from failsafe.model import Finding, Severity

CODES = {
    "ptr": (False, "every public address that the mail server sends from has a name that leads back to it"),
    "helo": (False, "the name with which the mail server sends (where that is not known: greets) is a full one, and leads to it"),
}
_HOME = tuple(
    ipaddress.ip_network(each)
    for each in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "::1/128",
        "fe80::/10",
        "fc00::/7",
    )
)


@dataclass(frozen=True, slots=True)
class AddressName:
    """`names`: PTR records; `back`: those of them that lead to the address again. An error says why that is not known."""

    address: str
    names: tuple[str, ...] = ()
    back: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class HeloSeen:
    """`said`: the name in the greeting; "" where no greeting was seen. `leads_to`: its addresses; `server`: those that the mail server sends from.

    `sends`: it is the name that the server says when it sends, by its own settings, and not that of a greeting.
    """

    said: str = ""
    leads_to: tuple[str, ...] = ()
    error: str = ""
    server: tuple[str, ...] = ()
    sends: bool = False

    @property
    def so(self) -> str:
        return f"it {'sends' if self.sends else 'greets'} as {self.said}"


NO_GREETING = HeloSeen()


def is_public(address: str) -> bool:
    """Whether the world can know it. Addresses for documentation count as public: they are looked up as any other."""
    found = ipaddress.ip_address(address)
    return not any(found in network for network in _HOME if network.version == found.version)


def judge_ptr(
    server: str, seen: Sequence[AddressName], helo: str = "", *, elsewhere: Sequence[str] = (), relay: str = ""
) -> Finding:
    """`elsewhere`: those of the addresses at which no mail is received. `relay`: who the server hands all its mail to."""
    if relay:
        text = f"it hands all mail to {relay} (relayhost), whose addresses are what receivers look up"
        return Finding("ptr", Severity.SKIPPED, server, text)
    public = [each for each in seen if is_public(each.address)]
    note = f"; mail leaves from {', '.join(elsewhere)}, and is received at another address" if elsewhere else ""
    if not public:
        return Finding("ptr", Severity.SKIPPED, server, "no public address of it is known")
    example = helo or "mail.DOMAIN"
    nameless = [each.address for each in public if not each.names and not each.error]
    astray = [each for each in public if each.names and not each.back and not each.error]
    if nameless or astray:
        texts = [f"{address} has no name (PTR)" for address in nameless]
        texts += [f"{each.address} is called {each.names[0]}, which does not lead back to it" for each in astray]
        text = f"{'; '.join(texts)}: large receivers refuse mail from such an address{note}"
        first = nameless[0] if nameless else astray[0].address
        mend = f"at whoever gave you the address (the VPS's panel: reverse DNS), set {first} to {example}, and let that name lead to {first}"
        return Finding("ptr", Severity.FAIL, server, text, mend)
    unknown = [each for each in public if each.error]
    if unknown:
        return Finding("ptr", Severity.SKIPPED, server, f"{unknown[0].address}: {unknown[0].error}")
    good = "; ".join(f"{each.address} is {each.back[0]} and back" for each in public)
    return Finding("ptr", Severity.OK, server, f"{good}{note}")


def judge_helo(server: str, seen: HeloSeen) -> Finding:
    if not seen.said:
        return Finding("helo", Severity.SKIPPED, server, seen.error or "no greeting of it was seen yet")
    mend = "set the server's own name (Postfix: myhostname; docker-mailserver: hostname) to the name of its MX record, in full"
    if seen.sends and seen.server:
        mend = f"set the name that it sends with (Postfix: smtp_helo_name, or myhostname) to one that leads to {seen.server[0]}, in full"
    if "." not in seen.said.strip(".") or seen.said.endswith((".local", ".lan", ".internal", ".localdomain")):
        text = f"{seen.so}, which is no name that the world knows: receivers refuse such a HELO"
        return Finding("helo", Severity.WARN, server, text, mend)
    if seen.error:
        return Finding("helo", Severity.SKIPPED, server, f"{seen.said}: {seen.error}")
    if not seen.leads_to:
        return Finding("helo", Severity.WARN, server, f"{seen.so}, which has no address", mend)
    if seen.server and not set(seen.leads_to) & set(seen.server):
        wanted = f"to {seen.server[0]}, from which it sends" if seen.sends else "to the mail server"
        text = f"{seen.so}, which leads to {seen.leads_to[0]} and not {wanted}"
        return Finding("helo", Severity.WARN, server, text, mend)
    return Finding("helo", Severity.OK, server, f"{seen.so}, which leads to it")
