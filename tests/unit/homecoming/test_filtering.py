"""Which of the primary's folders a rule means, whatever separator and prefix the server has."""

from __future__ import annotations

import pytest

from failsafe.homecoming.filtering import folder_named, head_of

LISTING = frozenset({"INBOX", "Work/2026", "Lists", "a.b"})


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("Lists", "Lists"), ("INBOX.Lists", "Lists"), ("INBOX/Lists", "Lists"), ("Work.2026", "Work/2026"), ("INBOX.Work.2026", "Work/2026"),
        ("a.b", "a.b"), ("inbox", "INBOX"), ("lists", None), ("Elsewhere", None),
    ],
)  # fmt: skip
def test_a_rule_s_folder_is_found_by_its_name(name: str, folder: str | None) -> None:
    assert folder_named(name, LISTING) == folder


def test_only_the_header_is_read_of_a_message() -> None:
    pieces = iter([b"Subject: x\r\n", b"\r\nbody", b"more"])

    assert head_of(pieces) == b"Subject: x\r\n\r\nbody"
    assert next(pieces) == b"more"
