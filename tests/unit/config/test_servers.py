"""How a mail server's mail may be read, and what is said where it cannot be."""

from __future__ import annotations

import pytest

from failsafe.config.load import parse_config
from failsafe.config.servers import MailServer
from failsafe.errors import ConfigError

MASTER = 'imap = { host = "h", port = 993, master_user = "m", password_file = "/p" }\n'
PLAIN = 'imap = { host = "h", port = 993 }\n'


def server(text: str) -> MailServer:
    return parse_config(f"[mail_server.vps]\n{text}".encode(), "test").mail_server["vps"]


def test_a_master_user_reads_named_mailboxes() -> None:
    found = server('layout = "imap"\nmailboxes = ["a@example.org", "anna"]\n' + MASTER)
    assert found.imap is not None
    assert (found.imap.separator, found.mailboxes) == ("*", ("a@example.org", "anna"))


def test_the_separator_of_a_master_user_can_be_another() -> None:
    found = server('layout = "imap"\nmailboxes = ["a@example.org"]\n' + MASTER.replace("port", 'separator = "%", port'))
    assert found.imap is not None
    assert found.imap.separator == "%"


def test_logins_can_stand_in_a_file() -> None:
    assert server('layout = "imap"\naccounts_file = "/x"\n' + PLAIN).accounts_file is not None


def test_a_container_can_be_read_through_doveadm() -> None:
    assert server('layout = "mailcow"\ncontainer = "c"\nread = "doveadm"\n').read == "doveadm"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('layout = "imap"\n', "needs imap = {"),
        ('layout = "imap"\n' + PLAIN, "either accounts_file"),
        ('layout = "imap"\nmailboxes = ["a@b"]\naccounts_file = "/x"\n' + MASTER, "either accounts_file"),
        ('layout = "imap"\nmailboxes = ["a@b"]\n' + PLAIN, "needs the login of a master user"),
        ('layout = "imap"\nmailboxes = ["a@b"]\nimap = { host = "h", port = 993, master_user = "m" }\n', "go together"),
        ('layout = "imap"\nmailboxes = ["-x"]\n' + MASTER, "is no mailbox"),
        ('layout = "imap"\nmailboxes = ["a/b@c"]\n' + MASTER, "is no mailbox"),
        ('layout = "imap"\naccounts_file = "/x"\npath = "/mail"\n' + PLAIN, "leave path and container out"),
        ('layout = "maildir"\npath = "/mail"\nread = "doveadm"\n', "goes with layout"),
        ('layout = "maildir"\npath = "/mail"\nmailboxes = ["a@b"]\n', "files are read of all mailboxes"),
        ('layout = "maildir"\npath = "/mail"\naccounts_file = "/x"\n', "accounts_file goes with"),
        ('layout = "maildir"\npath = "/mail"\ncontainer = "x"\n', "container goes with"),
        ('layout = "docker-mailserver"\n', 'needs path, .* or container = "mailserver"'),
        ('layout = "mailu"\n', "needs path, .* or container"),
        ('layout = "docker-mailserver"\ncontainer = "-x"\n', "pattern"),
        ('layout = "mailcow"\ncommands = { "mailcow-x" = "y" }\n', "failsafe's own"),
    ],
)
def test_what_cannot_be_read_so_is_a_fault_with_its_mend(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        server(text)


@pytest.mark.parametrize(
    "text",
    ['layout = "docker-mailserver"\npath = "/srv/dms"\n', 'layout = "docker-mailserver"\ncontainer = "mailserver"\n',
     'layout = "mailcow"\n', 'layout = "mailu"\npath = "/mailu"\n', 'layout = "mailu"\ncontainer = "mailu-imap-1"\n'],
)  # fmt: skip
def test_each_layout_of_files_needs_no_more_than_its_place(text: str) -> None:
    assert server(text).read == "files"
