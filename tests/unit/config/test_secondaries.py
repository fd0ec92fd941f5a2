"""What a homecoming reads, as a server of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from failsafe.config.load import parse_config
from failsafe.config.schema import Config
from failsafe.config.secondaries import SecondaryServer, domain_of, secondary_of
from failsafe.errors import ConfigError

TABLE = """
[mail_server.vps]
layout = "maildir"
path = "/mail"
[domain."example.org"]
server = "vps"
primary = ["mail.example.org"]
secondary = ["mx.away.example"]
strategy = "on-demand"
[domain."example.org".homecoming]
host = "imap.away.example"
port = 993
"""


def parsed(more: str) -> Config:
    return parse_config((TABLE + more).encode(), "failsafe.toml")


def faults(more: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(more)
    return str(caught.value.faults)


def test_the_secondary_of_a_domain_is_an_archived_server_and_no_mail_server() -> None:
    config = parsed(
        'accounts = [{ mailbox = "ann@example.org", user = "a", password_file = "/a" }]\ncatch_all = { user = "all", password_file = "/b" }'
    )
    assert list(config.mail_server) == ["vps"]
    assert list(config.archived) == ["vps", "example.org:secondary"]
    server = config.archived["example.org:secondary"]
    assert isinstance(server, SecondaryServer)
    assert server.imap is not None
    assert (server.domain, server.layout, server.imap.endpoint().tls) == ("example.org", "imap", "implicit")
    assert [(login.mailbox, login.user, login.password_file) for login in server.logins] == [
        ("ann@example.org", "a", Path("/a")),
        ("catch-all@example.org", "all", Path("/b")),
    ]


def test_a_domain_without_a_homecoming_has_no_archive_of_a_secondary() -> None:
    config = parse_config(TABLE.partition('[domain."example.org".homecoming]')[0].encode(), "failsafe.toml")
    assert list(config.archived) == ["vps"]


def test_a_name_says_whose_secondary_it_is() -> None:
    assert domain_of(secondary_of("example.org")) == "example.org"
    assert domain_of("vps") is None


def test_one_mailbox_is_read_with_one_login() -> None:
    one = '{ mailbox = "ann@example.org", user = "a", password_file = "/a" }'
    assert "ann@example.org stands there twice" in faults(f"accounts = [{one}, {one.replace('ann@', 'ANN@')}]")


def test_no_mailbox_has_the_name_of_a_catch_alls_archive() -> None:
    one = '{ mailbox = "catch-all@example.org", user = "a", password_file = "/a" }'
    assert "catch-all@example.org" in faults(f'accounts = [{one}]\ncatch_all = {{ user = "all", password_file = "/b" }}')
    assert list(parsed(f"accounts = [{one}]").archived) == ["vps", "example.org:secondary"]


def test_a_mailbox_that_is_none_is_refused() -> None:
    assert "is no mailbox" in faults('accounts = [{ mailbox = "../x", user = "a", password_file = "/a" }]')


CATCH_ALL = 'catch_all = { user = "all", password_file = "/b" }\n'


def test_what_delivers_logs_in_as_a_master_user_or_with_a_login_for_each_mailbox() -> None:
    one = parsed(
        CATCH_ALL + 'deliver = { host = "m", port = 993, master_user = "failsafe", password_file = "/m", separator = "%" }'
    )
    each = parsed(CATCH_ALL + 'deliver = { host = "m", port = 993, accounts_file = "/each" }')

    deliver = [config.domain["example.org"].homecoming.deliver for config in (one, each)]  # type: ignore[union-attr]
    assert [(way.master_user, way.separator, str(way.accounts_file)) for way in deliver if way is not None] == [
        ("failsafe", "%", "None"),
        (None, "*", "/each"),
    ]


@pytest.mark.parametrize("way", ["", ', master_user = "x", password_file = "/m", accounts_file = "/e"'])
def test_a_delivery_without_a_way_in_or_with_two_is_refused(way: str) -> None:
    assert "accounts_file" in faults(CATCH_ALL + f'deliver = {{ host = "m", port = 993{way} }}')
