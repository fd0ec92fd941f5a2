"""Who gets mail for an address, by the tables of a snapshot."""

from __future__ import annotations

import pytest

from failsafe.homecoming.people import Addresses, Reached
from failsafe.mail.accounts import Account, Accounts, Alias

ANNA, BOB = "anna@example.org", "Bob@example.org"


def table(*aliases: Alias, delimiters: str = "") -> Addresses:
    accounts = Accounts((Account("carl@example.org"),), aliases, ("example.org", "example.com"), delimiters)
    return Addresses("example.org", (ANNA, BOB, "dave"), accounts)


def test_a_mailbox_is_reached_by_its_name_in_any_case_and_with_an_extension() -> None:
    people = table()

    assert people.reach(ANNA) == Reached((ANNA,))
    assert people.reach("bob@example.org") == Reached((BOB,))
    assert people.reach("anna+shop@example.org") == Reached((ANNA,))
    assert people.reach("carl@example.org") == Reached(("carl@example.org",))
    assert people.reach("dave@example.org") == Reached(("dave",))
    assert people.reach("nobody@example.org") == Reached()
    assert table(delimiters="-.").reach("anna.shop-2@example.org") == Reached((ANNA,))


def test_an_alias_leads_to_all_of_its_targets_through_other_aliases() -> None:
    people = table(
        Alias("team@example.org", ("anna@example.org", "staff@example.org")),
        Alias("staff@example.org", ("BOB@example.org", "eve@elsewhere.test", "|command", "team@example.org")),
    )

    assert people.reach("team@example.org") == Reached((ANNA, BOB), ("eve@elsewhere.test",), ("|command",))
    assert people.reach("team+x@example.org").mailboxes == (ANNA, BOB)


def test_an_alias_of_a_mailboxs_name_leads_away_unless_it_names_itself() -> None:
    assert table(Alias(ANNA, ("bob@example.org",))).reach(ANNA) == Reached((BOB,))
    assert table(Alias(ANNA, (ANNA, "bob@example.org"))).reach(ANNA) == Reached((ANNA, BOB))


def test_a_domain_alias_leads_to_the_same_name_there() -> None:
    people = table(Alias("@example.com", ("@example.org",), "domain"), Alias("info@example.org", (ANNA,)))

    assert people.reach("bob@example.com") == Reached((BOB,))
    assert people.reach("info@example.com") == Reached((ANNA,))
    assert people.reach("nobody@example.com") == Reached()


def test_what_catches_all_comes_last() -> None:
    people = table(Alias("@example.org", (ANNA,), "catch-all"))

    assert people.reach("bob@example.org") == Reached((BOB,))
    assert people.reach("anybody@example.org") == Reached((ANNA,))


def test_local_aliases_are_those_of_the_domain() -> None:
    people = table(Alias("postmaster", ("root",), "local"), Alias("root", ("anna",), "local"))

    assert people.reach("postmaster@example.org") == Reached((ANNA,))


@pytest.mark.parametrize(
    ("pattern", "address", "target", "reached"),
    [
        ("/^sales-.*@example\\.org$/", "Sales-de@example.org", ANNA, (ANNA,)),
        ("/^(bob)-(.*)@example\\.org$/", "bob-x@example.org", "$1@example.org", (BOB,)),
        ("/^(bob)-(.*)@example\\.org$/", "bob-x@example.org", "${1}@example.org", (BOB,)),
        ("!/@example\\.org$/", "x@example.com", ANNA, (ANNA,)),
        ("shop-%@example.org", "shop-1@example.org", ANNA, (ANNA,)),
        ("/^(a+)+@example.org$/", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.com", ANNA, ()),
        ("/^(unclosed@example.org$/", "unclosed@example.org", ANNA, ()),
        ("/^x$/", "y@example.org", ANNA, ()),
    ],
)
def test_patterns_are_followed_as_far_as_they_can_be_understood(
    pattern: str, address: str, target: str, reached: tuple[str, ...]
) -> None:
    assert table(Alias(pattern, (target,), "pattern")).reach(address.lower()).mailboxes == reached


def test_an_alias_that_is_turned_off_is_none() -> None:
    assert table(Alias("x@example.org", (ANNA,), active=False)).reach("x@example.org") == Reached()


def test_a_ring_of_aliases_ends() -> None:
    ring = [
        Alias(f"a{number}@example.org", (f"a{number + 1}@example.org", f"a{number + 2}@example.org")) for number in range(2_000)
    ]

    assert table(*ring, Alias("a2000@example.org", ("a0@example.org",))).reach("a0@example.org") == Reached()
