"""What a server's fail2ban says of our address, and the words that let it in again."""

from __future__ import annotations

import pytest

from failsafe.failover.bans import BanList, Jail, Stack, ignore_words, is_within, let_in, parse_bans, unban_words

HOME = "203.0.113.7"
DMS, PLAIN = Stack("docker-mailserver", "mailserver"), Stack("maildir")


def test_a_ban_names_its_jails() -> None:
    known = parse_bans(
        {
            "bans": {
                "client": HOME,
                "jails": [{"name": "postfix", "banned": [HOME], "ignored": []}, {"name": "dovecot"}],
                "error": "",
            }
        }
    )

    assert known == BanList(HOME, (Jail("postfix", (HOME,)), Jail("dovecot")))
    assert known.banning(HOME) == ("postfix",)


def test_an_address_that_is_mapped_into_ipv6_is_the_same_address() -> None:
    assert parse_bans({"bans": {"client": f"::ffff:{HOME}"}}).ours == HOME


def test_an_older_program_on_the_server_means_that_nobody_knows() -> None:
    assert "older" in parse_bans({"now": 1, "load": []}).error


@pytest.mark.parametrize(
    ("ignored", "within"),
    [
        (("127.0.0.0/8", "203.0.113.0/24"), True),
        ((HOME,), True),
        (("127.0.0.0/8", "::1"), False),
        (("home.example.org",), False),
        ((), False),
    ],
)
def test_an_ignore_list_holds_addresses_and_networks(ignored: tuple[str, ...], within: bool) -> None:
    assert is_within(HOME, ignored) is within


def test_the_jails_that_may_ban_us_one_day_are_those_that_do_not_ignore_us() -> None:
    known = BanList(HOME, (Jail("postfix", (), (HOME,)), Jail("dovecot", (), ("127.0.0.1/8",))))

    assert known.not_ignoring(HOME) == ("dovecot",)


def test_with_docker_mailserver_the_words_are_those_of_its_setup() -> None:
    assert unban_words(DMS, HOME) == f"docker exec mailserver setup fail2ban unban {HOME}"
    assert "docker-data/dms/config/fail2ban-jail.cf" in ignore_words(DMS, HOME)


def test_on_a_plain_server_they_are_fail2bans_own() -> None:
    assert unban_words(PLAIN, HOME, "postfix") == f"fail2ban-client set postfix unbanip {HOME}"
    assert "/etc/fail2ban/jail.local" in ignore_words(PLAIN, HOME)


def test_the_ignore_line_keeps_what_is_ignored_already() -> None:
    assert "ignoreip = 127.0.0.1/8 ::1 192.0.2.0/24 203.0.113.7" in ignore_words(PLAIN, HOME, ["192.0.2.0/24", "::1"])


def test_what_a_person_does_is_both_for_now_and_for_good() -> None:
    words = let_in(PLAIN, HOME, ["postfix", "dovecot"])

    assert f"set postfix unbanip {HOME}" in words
    assert f"set dovecot unbanip {HOME}" in words
    assert "ignoreip" in words
