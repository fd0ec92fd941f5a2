"""Which notification addresses depend on the very mail that they report on. Pure: an Apprise URL in, a reason without any secret out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

_MAIL = frozenset({"mailto", "mailtos"})
_ADDRESS = re.compile(r"[^\s,;<>\"'/]+@([^\s,;<>\"'/@]+)")


@dataclass(frozen=True, slots=True)
class Watched:
    """`domains`: those whose mail fails in an outage; `hosts`: every name of the servers behind them. All in lower case."""

    domains: frozenset[str]
    hosts: frozenset[str]


def dependence(url: str, watched: Watched) -> str:
    """Why a notice by this address would not arrive while the mail server is down; "" where it would."""
    try:
        parts = urlsplit(url)
        host, query = (parts.hostname or "").lower(), parse_qs(parts.query)
        user = unquote(parts.username or "")
    except ValueError:
        return ""  # Apprise does not know it either, and `notify --test` says so
    if parts.scheme.lower() in _MAIL:
        return _of_mail(host, user, unquote(parts.path), query, watched)
    if host in watched.hosts:
        return f"it goes to {host}, which is the mail server itself"
    return ""


def _of_mail(host: str, user: str, path: str, query: dict[str, list[str]], watched: Watched) -> str:
    """mailto://USER:PASSWORD@DOMAIN/TO,TO?to=…&smtp=…: without TO it goes to USER@DOMAIN, without smtp= to DOMAIN's own server."""
    targets = " ".join([path.replace("/", " "), *query.get("to", ())])
    to = {domain.lower() for domain in _ADDRESS.findall(targets)} or {
        host if "@" not in user else user.rpartition("@")[2].lower()
    }
    back = sorted(to & watched.domains)
    if back and to <= watched.domains:
        return f"it is mail to {back[0]}, whose mail it reports on"
    through = [name.lower() for name in query.get("smtp", ())] or [host]
    for name in through:
        if name in watched.hosts or name in watched.domains:
            return f"it is sent through {name}, which is the mail server itself"
    return ""


def dependent(urls: Iterable[str], watched: Watched) -> tuple[str, ...]:
    """One reason for each address that depends on the mail, "" for each that does not."""
    return tuple(dependence(url, watched) for url in urls)
