"""Whether a message came in from outside, by what its Received fields say. Pure, bounded, never raises.

The topmost fields are the server's own word, whoever wrote the message. Hops inside the machine (delivery by LMTP, a filter that hands a message back over
loopback) lie above the one that tells how it came in; below that one nothing is believed. A fetch job, a person who submits with a password,
and a program on the machine are no proof that strangers reach it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address, ip_network

from failsafe.mail.headers import HEAD_BYTES, fields_of, parse_date

HOPS = 4  # looked at, from the top
FIELD_BYTES = 4_000
FROM_STRANGERS = frozenset(
    {"smtp", "esmtp", "esmtps", "smtps", "utf8smtp", "utf8smtps"}
)  # RFC 3848 and 6531, those without a login
HANDED_ON = frozenset({"lmtp", "lmtps", "utf8lmtp", "utf8lmtps"})
INSIDE = tuple(
    ip_network(text)
    for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10", "::1/128", "fc00::/7", "fe80::/10")
)  # fmt: skip
_COMMENT = re.compile(r"\([^()]*\)")
_ADDRESS = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f:.]{2,45})\]", re.IGNORECASE)
_CLAIMED = re.compile(r"helo=[^\s)]*", re.IGNORECASE)
_NAMED = re.compile(r"\(([A-Za-z0-9._-]+) \[")
_BY = re.compile(r"\bby\s+(\S+)", re.IGNORECASE)
_WITH = re.compile(r"\bwith\s+([A-Za-z0-9-]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Arrival:
    """`at`: when the server says that it took the message; `peer`: the address it came from."""

    at: datetime
    peer: str


@dataclass(frozen=True, slots=True)
class _Hop:
    peer: str  # address; "" where there is none
    name: str  # the peer's name as the server looked it up
    by: str
    protocol: str
    at: datetime | None
    authenticated: bool


def judge_arrival(head: bytes, own: Collection[str]) -> Arrival | None:
    """How the message with this head came to a server that calls itself one of `own`, or something in the same domain; None unless from outside by SMTP."""
    received = (value for name, value in fields_of(head[:HEAD_BYTES]) if name == b"received")
    for _, value in zip(range(HOPS), received, strict=False):
        hop = _read(value)
        if hop.authenticated or not _is_own(hop.by, own):
            return None
        if hop.protocol in HANDED_ON or (hop.protocol in FROM_STRANGERS and _is_inside(hop)):
            continue
        if hop.protocol not in FROM_STRANGERS or hop.at is None or not hop.peer:
            return None
        return Arrival(hop.at, hop.peer)
    return None


def _read(value: bytes) -> _Hop:
    text = " ".join(value[:FIELD_BYTES].decode("latin-1").split())
    clauses, _, date = text.rpartition(";")
    bare = clauses
    for _ in range(4):  # comments in comments
        bare = _COMMENT.sub(" ", bare)
    by, protocol = _BY.search(bare), _WITH.search(bare)
    source = _CLAIMED.sub("", clauses[: clauses.find(" by ")] if " by " in clauses else "")
    addresses = _ADDRESS.findall(source) if source.lower().startswith("from ") else []
    named = _NAMED.search(source)
    return _Hop(
        peer=addresses[-1] if addresses else "",
        name=named.group(1).lower() if named else "",
        by=by.group(1).rstrip(".").lower() if by else "",
        protocol=protocol.group(1).lower() if protocol else "",
        at=parse_date(date.strip()),
        authenticated="authenticated sender" in clauses.lower(),
    )


def _is_own(by: str, own: Collection[str]) -> bool:
    """A name without a dot is a container's."""
    ours = {name.lower().rstrip(".") for name in own}
    return bool(by) and ("." not in by or by in ours or _parent(by) in {_parent(name) for name in ours})


def _parent(name: str) -> str:
    return ".".join(name.split(".")[-2:])


def _is_inside(hop: _Hop) -> bool:
    if hop.name and hop.name == hop.by:
        return True
    try:
        address = ip_address(hop.peer)
    except ValueError:
        return True
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in INSIDE if network.version == address.version)
