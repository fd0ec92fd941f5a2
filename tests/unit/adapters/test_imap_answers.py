"""IMAP's answers, as imaplib leaves them, made into values."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from failsafe.adapters.imap_answers import fetched, listed, quoted, statuses, vanished


def test_folders_are_listed_with_names_that_look_like_something_else() -> None:
    data = [
        b'(\\HasNoChildren \\Subscribed) "/" INBOX',
        b'() "." 2026',
        b'() NIL "NIL"',
        (b'(\\Noselect) "/" {8}', b'odd\r\n"&x'),
        b"",
        b'() "/" "with \\"quotes\\" and \\\\" ("OLDNAME" ("before"))',
        b'() "/" Entw&APw-rfe',
    ]
    assert list(listed(data)) == [
        (frozenset({b"\\hasnochildren", b"\\subscribed"}), b"/", b"INBOX"),
        (frozenset(), b".", b"2026"),
        (frozenset(), b"", b"NIL"),
        (frozenset({b"\\noselect"}), b"/", b'odd\r\n"&x'),
        (frozenset(), b"/", b'with "quotes" and \\'),
        (frozenset(), b"/", b"Entw&APw-rfe"),
    ]


def test_states_are_told_by_the_servers_own_names() -> None:
    data = [
        b"2026 (MESSAGES 3 uidnext 9 UIDVALIDITY 1 HIGHESTMODSEQ 18446744073709551)",
        b'"a b" (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 2)',
    ]
    assert statuses(data) == {
        b"2026": {"MESSAGES": 3, "UIDNEXT": 9, "UIDVALIDITY": 1, "HIGHESTMODSEQ": 18446744073709551},
        b"a b": {"MESSAGES": 0, "UIDNEXT": 1, "UIDVALIDITY": 2},
    }


def test_messages_are_told_by_uid_with_bodies_that_look_like_answers() -> None:
    body = b"9 (UID 9 FLAGS ())\r\n)\r\n"
    data = [
        (b"1 (UID 11 BODY[] {%d}" % len(body), body),
        b")",
        (b"2 (BODY[] {0}", b""),
        b" UID 12)",
        b'3 (UID 13 RFC822.SIZE 5 INTERNALDATE "28-Mar-2021 02:30:59 +0200" FLAGS (\\Seen 2026))',
    ]
    found = fetched(data)
    assert {uid: answer.get(b"BODY[]") for uid, answer in found.items()} == {11: body, 12: b"", 13: None}
    assert found[13][b"INTERNALDATE"].astimezone(UTC) == datetime(2021, 3, 28, 0, 30, 59, tzinfo=UTC)
    assert found[13][b"FLAGS"] == (b"\\Seen", 2026)


def test_what_is_told_by_number_alone_is_nobodys_answer() -> None:
    """The parser would take the sequence number for a UID."""
    assert fetched([b"12 (FLAGS (\\Deleted))", b"1 (UID 12 FLAGS ())"])[12][b"FLAGS"] == ()


def test_half_an_answer_costs_no_other() -> None:
    """Dovecot's, for a message that is expunged while it is asked for."""
    data = [b"1 (UID 16 RFC822.SIZE 3 FLAGS () X-GUID )", b"2 (UID 17 FLAGS (\\Seen))", b"3 (UID 18 FLAGS (", None]
    assert list(fetched(data)) == [17]


def test_uids_that_vanished_come_as_ranges() -> None:
    assert vanished([b"(EARLIER) 1:3,7", b"9"]) == ((1, 3), (7, 7), (9, 9))
    with pytest.raises(ValueError, match="UID"):
        vanished([b"(EARLIER) 1:*"])


def test_a_name_is_sent_as_it_came_or_not_at_all() -> None:
    assert quoted(b'a "b" \\ c') == b'"a \\"b\\" \\\\ c"'
    with pytest.raises(ValueError, match="line end"):
        quoted(b"a\r\nb")
