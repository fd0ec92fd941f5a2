"""Judges whether anybody on a mail server is forgotten: domains without a [domain], mailboxes that no homecoming fetches for. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from failsafe.model import Finding, Severity

WARN, OK, SKIPPED = Severity.WARN, Severity.OK, Severity.SKIPPED
NAMED = 5


@dataclass(frozen=True, slots=True)
class AccountsSeen:
    """`domains`: those that accounts and aliases of the last snapshot belong to. `fetched`: for each configured domain with a homecoming the
    mailboxes that it fetches for, None where a catch-all fetches for everybody. `exempt`: mailboxes whose mail need not come home."""

    domains: tuple[str, ...] = ()
    fetched: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    exempt: frozenset[str] = frozenset()


def judge_domains(server: str, mailboxes: Iterable[str], configured: Collection[str], seen: AccountsSeen) -> Finding:
    """A domain with mail there that failsafe does not watch would stay behind in a failover."""
    there = {mailbox.rpartition("@")[2].lower() for mailbox in mailboxes} | {name.lower() for name in seen.domains}
    forgotten = sorted(there - {name.lower() for name in configured} - {""})
    if forgotten:
        text = f"accounts of {', '.join(forgotten[:NAMED])} are on the server, but failsafe does not look after the MX there"
        return Finding("domain-missing", WARN, server, text, f'add [domain."{forgotten[0]}"]')
    return Finding("domain-missing", OK, server, "every domain with accounts on the server is configured")


def judge_covered(server: str, mailboxes: Iterable[str], seen: AccountsSeen) -> Finding:
    """Mail that lands at the secondary for somebody whom no homecoming fetches for stays there."""
    if not seen.fetched:
        return Finding("accounts-covered", SKIPPED, server, "no domain of this server has a homecoming")
    left = sorted(
        mailbox
        for mailbox in mailboxes
        if (fetched := seen.fetched.get(mailbox.rpartition("@")[2].lower(), frozenset({mailbox.lower()}))) is not None
        and mailbox.lower() not in fetched | seen.exempt
    )
    if left:
        named = ", ".join(left[:NAMED]) + (f" and {len(left) - NAMED} more" if len(left) > NAMED else "")
        domain = left[0].rpartition("@")[2]
        mend = f'add an account for each of them to [domain."{domain}".homecoming], or a catch_all'
        return Finding("accounts-covered", WARN, server, f"no homecoming fetches what lands at the secondary for {named}", mend)
    return Finding("accounts-covered", OK, server, "a homecoming fetches what lands at the secondary for every mailbox")
