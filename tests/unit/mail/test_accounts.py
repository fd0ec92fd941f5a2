"""Accounts and aliases, as each kind of file has them; passwords stay where they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from failsafe.mail.accounts import (
    Account,
    Accounts,
    Alias,
    decode_accounts,
    encode_accounts,
    parse_docker_mailserver_accounts,
    parse_local_aliases,
    parse_mailcow,
    parse_mailu_settings,
    parse_passwd_file,
    parse_patterns,
    parse_postfix_settings,
    parse_virtual_aliases,
    parse_virtual_mailboxes,
    parser_of,
    read_mailu_rows,
)

ANNA, BOB = "anna@example.org", "bob@example.org"
BOTH = (Account(ANNA), Account(BOB))

MAILBOXES = [
    pytest.param(
        parse_docker_mailserver_accounts,
        f"# a comment\n{ANNA}|{{SHA512-CRYPT}}$6$x$y\n\n{BOB}|{{SHA}}z|userdb_quota=1G\n",
        id="dms",
    ),
    pytest.param(parse_docker_mailserver_accounts, f"Anna@Example.org|x\r\n{BOB}|x", id="dms, case and line ends"),
    pytest.param(parse_passwd_file, f"{ANNA}:{{PLAIN}}x:5000:5000::/home::\n{BOB}:::::::\nroot:x:0:0\n", id="passwd-file"),
    pytest.param(parse_virtual_mailboxes, f"{ANNA}  example.org/anna/\n{BOB}\texample.org/bob/\n", id="virtual mailboxes"),
]

ALIASES = [
    pytest.param(parse_virtual_aliases, f"info@example.org {ANNA}", Alias("info@example.org", (ANNA,)), id="address"),
    pytest.param(
        parse_virtual_aliases, f"Info@Example.org\t{ANNA},{BOB}", Alias("info@example.org", (ANNA, BOB)), id="tab, comma"
    ),
    pytest.param(
        parse_virtual_aliases,
        f"info@example.org {ANNA},\n   {BOB}",
        Alias("info@example.org", (ANNA, BOB)),
        id="goes on in the next line",
    ),
    pytest.param(parse_virtual_aliases, f"@example.org {ANNA}", Alias("@example.org", (ANNA,), "catch-all"), id="catch-all"),
    pytest.param(
        parse_virtual_aliases, "@example.net @example.org", Alias("@example.net", ("@example.org",), "domain"), id="domain"
    ),
    pytest.param(parse_virtual_aliases, "root anna", Alias("root", ("anna",), "local"), id="local name"),
    pytest.param(
        parse_patterns,
        f"/^test[0-9]+@example\\.org/ {ANNA}",
        Alias("/^test[0-9]+@example\\.org/", (ANNA,), "pattern"),
        id="regexp",
    ),
    pytest.param(
        parse_patterns, f"/a\\/b/i\t{ANNA}, {BOB}", Alias("/a\\/b/i", (ANNA, BOB), "pattern"), id="escaped slash, flags"
    ),
    pytest.param(parse_patterns, f"|^a/b|  {ANNA}", Alias("|^a/b|", (ANNA,), "pattern"), id="another mark"),
    pytest.param(parse_local_aliases, "postmaster: root", Alias("postmaster", ("root",), "local"), id="aliases"),
    pytest.param(
        parse_local_aliases,
        'bot: "|/usr/bin/bot --password=secret"',
        Alias("bot", ("|command",), "local"),
        id="a command keeps its secret",
    ),
]


@pytest.mark.parametrize(("parse", "text"), MAILBOXES)
def test_accounts_are_found_and_nothing_of_a_password(parse: Callable[[bytes], Accounts], text: str) -> None:
    assert parse(text.encode()).mailboxes == BOTH


@pytest.mark.parametrize(("parse", "text", "alias"), ALIASES)
def test_aliases_are_found(parse: Callable[[bytes], Accounts], text: str, alias: Alias) -> None:
    assert parse(f"# a comment\n{text}\n".encode()).aliases == (alias,)


def test_a_virtual_alias_domain_is_a_domain_not_an_alias() -> None:
    found = parse_virtual_aliases(b"example.com anything\n")
    assert (found.aliases, found.domains) == ((), ("example.com",))


def test_if_blocks_of_a_pattern_table_are_passed_over() -> None:
    assert parse_patterns(b"if /@example/\n/^a/ b@example.org\nendif\n").aliases == (
        Alias("/^a/", ("b@example.org",), "pattern"),
    )


def test_rows_of_mailcow_become_accounts() -> None:
    rows = f'["domain","example.org",1]\n["mailbox","{ANNA}",0,0]\n["alias","@example.org","{ANNA}",1]\n["alias-domain","example.net","example.org",1]\n'
    found = parse_mailcow(rows.encode())
    assert found == Accounts(
        (Account(ANNA, active=False),),
        (Alias("@example.net", ("@example.org",), "domain"), Alias("@example.org", (ANNA,), "catch-all")),
        ("example.net", "example.org"),
    )


def test_output_of_mailcow_that_is_cut_short_is_a_fault() -> None:
    with pytest.raises(ValueError, match="Unterminated"):
        parse_mailcow(b'["domain", "exam')


def test_rows_of_mailu_become_accounts() -> None:
    rows = {
        "user": [(ANNA, 1), (BOB, 0)],
        "alias": [("%@example.org", 1, ANNA), ("x@example.org", 0, None)],
        "domain": [("example.org",)],
    }
    found = read_mailu_rows(rows)
    assert found.mailboxes == (Account(ANNA), Account(BOB, active=False))
    assert found.aliases == (Alias("%@example.org", (ANNA,), "pattern"), Alias("x@example.org", ()))


def test_accounts_and_mailboxes_that_lack_each_other_are_told_apart() -> None:
    accounts = Accounts(BOTH)
    assert accounts.without_mailbox(["Anna@example.org", "old@example.org"]) == (BOB,)
    assert accounts.without_account(["Anna@example.org", "old@example.org"]) == ("old@example.org",)


def test_accounts_survive_their_file() -> None:
    accounts = Accounts(
        (Account(ANNA, active=False),), (Alias("ä@example.org", (ANNA, BOB), "address", active=False),), ("example.org",)
    )
    assert decode_accounts(encode_accounts(accounts, ["srv/x"])) == accounts
    assert b"delimiters" not in encode_accounts(accounts, [])
    assert decode_accounts(encode_accounts(replace(accounts, delimiters="-+"), [])).delimiters == "-+"


@pytest.mark.parametrize(
    ("parse", "text", "delimiters"),
    [
        (
            parse_postfix_settings,
            "myhostname = x\nrecipient_delimiter = +\n#recipient_delimiter = _\nrecipient_delimiter=-+\n",
            "-+",
        ),
        (parse_postfix_settings, "recipient_delimiter =\nrelayhost = +\n", ""),
        (parse_postfix_settings, "recipient_delimiter = $x\n", ""),
        (parse_postfix_settings, "recipient_delimiter = and\n", ""),
        (parse_mailu_settings, "SECRET_KEY=x\nRECIPIENT_DELIMITER='+-'\r\n", "+-"),
    ],
)
def test_what_begins_an_extension_is_what_the_servers_settings_say(
    parse: Callable[[bytes], Accounts], text: str, delimiters: str
) -> None:
    assert parse(text.encode()) == Accounts(delimiters=delimiters)
    assert Accounts().joined(parse(text.encode())).joined(Accounts()).delimiters == delimiters


def test_a_file_of_another_format_is_refused() -> None:
    with pytest.raises(ValueError, match="format 2"):
        decode_accounts(b'{"format": 2}')


@pytest.mark.parametrize(
    ("path", "parse"),
    [
        ("srv/dms/config/postfix-accounts.cf", parse_docker_mailserver_accounts),
        ("commands/mailcow-accounts.jsonl", parse_mailcow),
        ("etc/postfix/virtual", parse_virtual_aliases),
        ("etc/postfix/vmailbox", parse_virtual_mailboxes),
        ("etc/dovecot/users", parse_passwd_file),
        ("etc/aliases", parse_local_aliases),
        ("etc/postfix/main.cf", parse_postfix_settings),
        ("srv/dms/config/postfix-main.cf", parse_postfix_settings),
        ("opt/mailcow/data/conf/postfix/extra.cf", parse_postfix_settings),
        ("mailu/mailu.env", parse_mailu_settings),
        ("etc/passwd", None),
        ("etc/nginx/users", None),
        ("etc/postfix/virtual.db", None),
    ],
)
def test_files_are_known_by_the_names_that_handbooks_give_them(path: str, parse: object) -> None:
    assert parser_of(path) is parse
