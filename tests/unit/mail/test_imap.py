"""What IMAP says, as pure functions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.mail.imap import (
    entry_name,
    folder_directory_among,
    header_of,
    is_delivered,
    is_random,
    parse_uid_set,
    split_flags,
    uid_sets,
)
from failsafe.mail.maildir import keyword_letter, keywords_of


def test_system_flags_become_letters_and_others_keywords() -> None:
    assert split_flags(["\\Seen", "\\ANSWERED", "\\Recent", "Work", "$Forwarded", "\\Odd"]) == (
        "RS",
        {"Work", "$Forwarded"},
        {"\\Odd"},
    )


@given(st.lists(st.integers(1, 2**32 - 1) | st.integers(1, 60), max_size=80), st.integers(1, 40), st.integers(5, 100))
def test_sets_name_every_uid_once_and_none_besides(uids: list[int], count: int, characters: int) -> None:
    sets = list(uid_sets(uids, count, characters))
    named = [uid for text, _ in sets for first, last in parse_uid_set(text) for uid in range(first, last + 1)]
    assert named == sorted(set(uids)) == [uid for _, listed in sets for uid in listed]
    assert all(len(listed) <= count for _, listed in sets)


def test_a_run_of_uids_is_one_range() -> None:
    assert [text for text, _ in uid_sets([5, 1, 2, 3, 9], 100)] == ["1:3,5,9"]


@pytest.mark.parametrize("text", ["", "0", "1:*", "a", "1,,2", "-1", "4294967296", "1:4294967296"])
def test_what_is_no_set_of_uids_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="UID"):
        parse_uid_set(text)


@pytest.mark.parametrize(
    ("guid", "kind"),
    [
        ("0955e2381ec4066b5141000083ecc375", "random"),
        ("1795605531.M950886P16691.vm,S=14,W=17", "delivered"),
        ("1700000000.Vfd01I1234M567890.host", "delivered"),
        ("1000.import", "neither"),
        ("1600000000.cal", "neither"),
        ("12", "neither"),
        ("", "neither"),
    ],
)
def test_what_a_guid_is_worth_as_a_proof(guid: str, kind: str) -> None:
    assert (is_random(guid), is_delivered(guid)) == (kind == "random", kind == "delivered")


@pytest.mark.parametrize(
    ("message", "header"),
    [(b"A: b\r\n\r\nbody\r\n\r\n", b"A: b\r\n\r\n"), (b"A: b\r\n", b"A: b\r\n"), (b"\r\n", b"\r\n"), (b"", b"")],
)
def test_a_header_ends_with_the_first_empty_line(message: bytes, header: bytes) -> None:
    assert header_of(message) == header


@pytest.mark.parametrize(
    ("name", "taken", "directory"),
    [
        ("INBOX", (), ""),
        ("Archive/2026", (), ".Archive.2026"),
        ("Entwürfe", (), ".Entw&APw-rfe"),
        ("v1.2", (), ".v1_2"),
        ("v1.2", (".v1_2",), ".v1_2-2"),
        ("a//b", (), ".a._.b"),
    ],
)
def test_a_folder_gets_a_directory_that_a_maildir_can_have(name: str, taken: tuple[str, ...], directory: str) -> None:
    assert folder_directory_among(name, taken) == directory


def test_a_messages_name_says_which_it_is() -> None:
    assert entry_name(1_600_000_000, 7, 12) == "1600000000.V7U12.imap"


@given(st.sets(st.integers(0, 200), max_size=60))
def test_any_number_of_keywords_has_letters(places: set[int]) -> None:
    names = tuple(f"word{place:03d}" for place in range(201))
    letters = "".join(keyword_letter(place) for place in places)
    assert len(set(letters)) == len(places)
    assert set(keywords_of(letters + "DFPRST", names)) == {names[place] for place in places}
