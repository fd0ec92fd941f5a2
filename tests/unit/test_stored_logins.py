"""Which logins that lie here could write on a mail server."""

from __future__ import annotations

from pathlib import Path

from failsafe.app import App
from failsafe.checkup.logins import stored_logins
from failsafe.config.load import parse_config
from tests.contract.configs import MAIL_HERE, domain_table

HOMECOMING = """
[domain."example.org".homecoming]
host = "imap.away.example"
port = 993
accounts = [{{ mailbox = "anna@example.org", user = "anna", password_file = "{folder}/anna" }}]
deliver = {{ host = "mail.example.org", port = 993, master_user = "home", password_file = "{folder}/home" }}
"""
MASTER = """
imap = {{ host = "mail.example.org", port = 993, master_user = "admin", password_file = "{folder}/admin" }}
"""


def app_of(folder: Path, text: str) -> App:
    return App(parse_config(text.format(folder=folder).encode(), "failsafe.toml"), folder / "failsafe.toml")


def test_what_a_homecoming_delivers_with_is_named_as_one(tmp_path: Path) -> None:
    found = stored_logins(app_of(tmp_path, MAIL_HERE + domain_table("example.org") + HOMECOMING), "vps")

    assert (found.reading, found.unused) == ((), ())
    delivers, fetches = found.homecoming
    assert 'the master user home with which [domain."example.org".homecoming] delivers to mail.example.org' in delivers
    assert fetches == "1 login(s) at imap.away.example, with which it fetches"


def test_a_master_user_is_needed_where_mail_is_read_over_imap_and_nowhere_else(tmp_path: Path) -> None:
    named = ("the IMAP master user admin in [mail_server.vps]",)
    over_imap = MAIL_HERE.replace('"maildir"\npath = "{folder}/mail"', '"imap"\nmailboxes = ["a@example.org"]') + MASTER

    assert stored_logins(app_of(tmp_path, over_imap), "vps").reading == named
    assert stored_logins(app_of(tmp_path, MAIL_HERE + MASTER), "vps").unused == named
