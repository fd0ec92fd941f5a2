"""Everybody that mail for a domain may be addressed to."""

from __future__ import annotations

from failsafe.mail.accounts import Account, Accounts, Alias
from failsafe.mail.recipients import recipients_of

ACCOUNTS = Accounts(
    mailboxes=(Account("anna@example.org"), Account("gone@example.org", active=False), Account("bob@other.example")),
    aliases=(
        Alias("info@example.org", ("anna@example.org",)),
        Alias("old@example.org", ("anna@example.org",), active=False),
        Alias("@example.org", ("anna@example.org",), "catch-all"),
        Alias("/^sales-.*@example\\.org$/", ("anna@example.org",), "pattern"),
        Alias("@example.net", ("@example.org",), "domain"),
        Alias("root", ("anna@example.org",), "local"),
    ),
)


def test_mailboxes_accounts_and_aliases_of_the_domain_are_asked_each_once() -> None:
    addresses, _ = recipients_of("example.org", ["Anna@example.org", "carl@example.org", "x@other.example"], ACCOUNTS)
    assert addresses == ("anna@example.org", "carl@example.org", "info@example.org")


def test_a_pattern_and_a_catch_all_are_no_address_and_are_named() -> None:
    _, others = recipients_of("example.org", [], ACCOUNTS)
    assert others == ("/^sales-.*@example\\.org$/", "@example.org")


def test_a_domain_that_leads_to_another_has_all_names_of_that() -> None:
    addresses, _ = recipients_of("example.net", [], ACCOUNTS)
    assert addresses == ("anna@example.net", "info@example.net")


def test_without_a_list_of_accounts_the_mailboxes_are_what_is_known() -> None:
    assert recipients_of("example.org", ["a@example.org"], None) == (("a@example.org",), ())
