"""Names, flags, folders, uidlist and keywords of Maildir."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from failsafe.mail.maildir import (
    decode_component,
    encode_component,
    flags_of,
    folder_directory,
    folder_name,
    keywords_of,
    parse_keywords,
    parse_subscriptions,
    parse_uidlist,
    split_name,
    text,
)

component = st.text(st.characters(exclude_characters="/.\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
fs_component = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


def test_the_base_name_ends_before_the_info_part() -> None:
    assert split_name("1700000000.M1P2.host,S=10,W=11:2,FSab") == ("1700000000.M1P2.host,S=10,W=11", "FSab")


def test_a_name_in_new_has_no_letters() -> None:
    assert split_name("1700000000.M1P2.host") == ("1700000000.M1P2.host", "")


def test_flags_are_sorted_once_each_and_keywords_are_none() -> None:
    assert flags_of("SaFSbZ") == "FS"


def test_letters_become_the_names_that_the_folder_gives_them() -> None:
    assert keywords_of("Sbac", ("Work", "", "$Junk")) == ("$Junk", "Work")


def test_a_letter_beyond_the_table_says_nothing() -> None:
    assert keywords_of("z", ("Work",)) == ()


@given(st.text(string.ascii_letters, max_size=40))
def test_flags_and_keywords_never_fail(letters: str) -> None:
    assert list(flags_of(letters)) == sorted(set(flags_of(letters)))
    assert list(keywords_of(letters, ("a", "b"))) == sorted(set(keywords_of(letters, ("a", "b"))))


def test_keywords_keep_their_places_also_with_gaps() -> None:
    assert parse_keywords(b"0 Work\n2 $Forwarded\nrubbish\n99 far\n") == ("Work", "", "$Forwarded")


def test_a_uidlist_of_version_3_is_read() -> None:
    data = b"3 V1700000000 N9 Ge3b0c44298fc1c149afbf4c8996fb924\n4 :a.host,S=1\n8 W120 :b.host:2,S\n"
    listed = parse_uidlist(data)
    assert listed is not None
    assert (listed.uid_validity, listed.uid_next, listed.guid) == (1700000000, 9, "e3b0c44298fc1c149afbf4c8996fb924")
    assert tuple(listed.uids) == (("a.host,S=1", 4), ("b.host", 8))


def test_a_name_with_a_colon_and_a_space_survives_the_uidlist() -> None:
    listed = parse_uidlist(b"3 V1 N3\n1 :odd :name\n")
    assert listed is not None
    assert tuple(listed.uids) == (("odd :name", 1),)


def test_a_last_line_without_its_end_is_left_out() -> None:
    listed = parse_uidlist(b"3 V1 N9\n1 :a\n2 :half-writ")
    assert listed is not None
    assert tuple(listed.uids) == (("a", 1),)


def test_the_old_uidlist_is_read_and_another_is_not() -> None:
    old = parse_uidlist(b"1 1700000000 5\n1 a.host\n")
    assert old is not None
    assert (old.uid_validity, tuple(old.uids)) == (1700000000, (("a.host", 1),))
    assert parse_uidlist(b"9 what\n1 a\n") is None
    assert parse_uidlist(b"") is None


@given(st.lists(st.integers(1, 60), unique=True, max_size=30), st.integers(1, 70), st.booleans())
def test_what_is_new_in_a_uidlist_is_read_from_its_end(uids: list[int], since: int, half_written: bool) -> None:
    lines = "".join(f"{uid} {'W7 ' if uid % 3 else ''}:m{uid}.host{':2,S' if uid % 2 else ''}\n" for uid in sorted(uids))
    listed = parse_uidlist(f"3 V1 N99\n{lines}{'98 :half' if half_written else ''}".encode())
    assert listed is not None
    assert listed.uids
    assert list(listed.uids.since(since)) == [(name, uid) for name, uid in reversed(list(listed.uids)) if uid >= since]


@given(st.binary(max_size=200))
def test_no_bytes_break_the_readers(data: bytes) -> None:
    parse_keywords(data)
    parse_subscriptions(data)
    listed = parse_uidlist(b"3 V1 N1\n" + data)
    assert listed is not None
    assert all(0 < uid < 2**32 for _, uid in listed.uids)


@given(component)
def test_a_folder_component_comes_back(name: str) -> None:
    assert decode_component(encode_component(name)) == name


def test_known_names_in_modified_utf7() -> None:
    assert decode_component("Entw&APw-rfe") == "Entwürfe"
    assert decode_component("R&-D") == "R&D"
    assert encode_component("日本語") == "&ZeVnLIqe-"


def test_what_is_not_modified_utf7_stays_as_it_is() -> None:
    assert decode_component("Entwürfe") == "Entwürfe"
    assert decode_component("R&D") == "R&D"
    assert decode_component("&AGE-") == "&AGE-"  # plain letters must not be coded: another folder may have that name


@given(st.binary(min_size=1, max_size=30))
def test_any_bytes_have_a_folder_name(raw: bytes) -> None:
    name = folder_name("." + text(raw))
    assert name.encode("utf-8", "surrogateescape") is not None


@given(st.lists(component, min_size=1, max_size=4))
def test_maildir_plus_plus_directories_come_back(parts: list[str]) -> None:
    name = "/".join(parts)
    if name != "INBOX":
        assert folder_name(folder_directory(name, "maildir++")) == name


@given(st.lists(fs_component.filter(lambda part: not part.startswith(".")), min_size=1, max_size=4))
def test_nested_directories_come_back(parts: list[str]) -> None:
    name = "/".join(parts)
    if name != "INBOX":
        assert folder_name(folder_directory(name, "fs")) == name


def test_subscriptions_of_both_versions() -> None:
    assert parse_subscriptions(b"V\t2\n\nSent\nArchive\t2026\nEntw&APw-rfe\n") == {"Sent", "Archive/2026", "Entwürfe"}
    assert parse_subscriptions(b"Sent\nArchive.2026\n") == {"Sent", "Archive/2026"}
