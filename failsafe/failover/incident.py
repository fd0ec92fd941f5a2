"""Domains of one server flip as one incident: what is to be said of several of them alike is said in one notice. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from failsafe.model import Notice

HOLD = timedelta(seconds=20)  # a notice waits so long for those of the other domains: each is decided and verified by itself
NAMED = 3  # domains in a subject; a phone shows little more
_HERE = "\0"  # stands for the domain's name


@dataclass(frozen=True, slots=True)
class Waiting:
    number: int
    notice: Notice
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Bundle:
    """One notice to send, for the waiting ones of these numbers."""

    numbers: tuple[int, ...]
    notice: Notice


def bundle_notices(waiting: Iterable[Waiting], servers: Mapping[str, str], now: datetime) -> tuple[Bundle, ...]:
    """What to send now, in the order of the oldest of each. `servers`: the mail server of every domain."""
    groups: dict[object, list[tuple[str, Waiting]]] = {}
    for each in waiting:
        domain = each.notice.thread.partition(":")[0]
        key = _alike(each.notice, domain, servers[domain]) if domain in servers else each.number
        known = groups.setdefault(key, [])
        if any(other == domain for other, _ in known):  # the same said twice of one domain is two notices
            groups[each.number] = [(domain, each)]
        else:
            known.append((domain, each))
    return tuple(_bundle(group, servers) for group in groups.values() if _is_ready(group, servers, now))


def _alike(notice: Notice, domain: str, server: str) -> tuple[object, ...]:
    said = (notice.subject, notice.losing_mail, notice.mail_goes, notice.must_do)
    return (server, notice.severity, *(text.replace(domain, _HERE) for text in said))


def _is_ready(group: list[tuple[str, Waiting]], servers: Mapping[str, str], now: datetime) -> bool:
    domain = group[0][0]
    together = sum(server == servers[domain] for server in servers.values()) if domain in servers else 1
    newest = max(each.created_at for _, each in group)
    return len(group) >= together or not timedelta(0) <= now - newest < HOLD


def _bundle(group: list[tuple[str, Waiting]], servers: Mapping[str, str]) -> Bundle:
    numbers = tuple(each.number for _, each in group)
    if len(group) == 1:
        return Bundle(numbers, group[0][1].notice)
    by_name = dict(sorted((domain, each.notice) for domain, each in group))
    names, first = list(by_name), next(iter(by_name.values()))
    begun = [notice.since for notice in by_name.values() if notice.since is not None]
    thread = min(notice.thread.partition(":")[2] for notice in by_name.values())
    return Bundle(
        numbers,
        replace(
            first,
            subject=first.subject.replace(names[0], _listed(names)),
            must_do=_command(first.must_do, names),
            since=min(begun, default=None),
            thread=f"{servers[names[0]]}:{thread}",
            details=_details(by_name),
        ),
    )


def _listed(names: list[str]) -> str:
    shown = names if len(names) <= NAMED else [*names[: NAMED - 1], f"{len(names) - NAMED + 1} more"]
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def _command(must_do: str, names: list[str]) -> str:
    """Verbs take several domains; a person's word about what is true is given for each."""
    if names[0] not in must_do:
        return must_do
    if "acknowledge" in must_do:
        return "; ".join(must_do.replace(names[0], name) for name in names)
    return must_do.replace(names[0], " ".join(names))


def _details(by_name: Mapping[str, Notice]) -> str:
    if len({notice.details.replace(name, _HERE) for name, notice in by_name.items()}) == 1:
        return next(iter(by_name.values())).details
    return "\n".join(f"{name}:\n{notice.details}" for name, notice in by_name.items() if notice.details)
