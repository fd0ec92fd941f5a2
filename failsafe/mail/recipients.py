"""Everybody that mail for a domain may be addressed to: mailboxes, and aliases as far as they are addresses. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from failsafe.mail.accounts import Accounts


def recipients_of(domain: str, mailboxes: Iterable[str], accounts: Accounts | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(addresses in lower case, aliases that are none: patterns and what catches all), both sorted."""
    here = f"@{domain.lower()}"
    addresses = {name.lower() for name in mailboxes if name.lower().endswith(here)}
    others: set[str] = set()
    if accounts is not None:
        everyone = {account.address.lower() for account in accounts.mailboxes if account.active}
        aliases = [alias for alias in accounts.aliases if alias.active]
        everyone |= {alias.address.lower() for alias in aliases if alias.kind == "address"}
        addresses |= {address for address in everyone if address.endswith(here)}
        for alias in aliases:
            if alias.kind == "domain" and alias.address.lower() == here:  # all names of another domain
                addresses |= {
                    address.rpartition("@")[0] + here
                    for address in everyone
                    for target in alias.targets
                    if address.endswith(target.lower())
                }
            elif alias.kind == "pattern" or (alias.kind == "catch-all" and alias.address.lower() == here):
                others.add(alias.address)
    return tuple(sorted(addresses)), tuple(sorted(others))
