"""Notices that would fail together with the mail they report on."""

from __future__ import annotations

import pytest

from failsafe.backup.notify_paths import Watched, dependence, dependent

WATCHED = Watched(frozenset({"example.org"}), frozenset({"mail.example.org", "vps.example.net"}))


@pytest.mark.parametrize(
    "url",
    [
        "mailto://me:secret-word@example.org",
        "mailto://me:secret-word@EXAMPLE.org?smtp=smtp.example.com",
        "mailtos://user:secret-word@gmail.example?to=anna@example.org",
        "mailtos://user:secret-word@gmail.example/anna@example.org/bob@example.org",
        "mailtos://user:secret-word@gmail.example/anna%40example.org",
        "mailtos://smtp.example.com?user=me%40example.org&pass=secret-word&to=anna@example.org",
        "mailtos://me%40example.org:secret-word@smtp.example.com",
        "mailtos://user:secret-word@mail.example.org?to=me@elsewhere.example",
        "mailtos://user:secret-word@elsewhere.example?smtp=mail.example.org",
        "ntfy://vps.example.net/topic",
        "jsons://mail.example.org/hook",
    ],
)
def test_a_path_through_the_mail_it_reports_on_is_told_without_its_secret(url: str) -> None:
    why = dependence(url, WATCHED)
    assert why
    assert "secret-word" not in why


@pytest.mark.parametrize(
    "url",
    [
        "mailtos://user:secret-word@gmail.example",
        "mailtos://user:secret-word@gmail.example?to=me@elsewhere.example",
        "mailtos://user:secret-word@gmail.example/me@elsewhere.example/anna@example.org",  # one of both arrives
        "ntfys://ntfy.example.com/topic",
        "tgram://123456:token/42",
        "pover://user@token",
        "mailto://[broken",
    ],
)
def test_a_path_that_needs_neither_that_mail_nor_its_server_is_well(url: str) -> None:
    assert dependence(url, WATCHED) == ""


def test_every_address_gets_its_own_word() -> None:
    assert [bool(why) for why in dependent(["ntfys://ntfy.example.com/t", "mailto://me:x@example.org"], WATCHED)] == [False, True]
