"""Mail comes home from a secondary that forwards and keeps nothing: a real Postfix sends all on to one mailbox at a third place, where it is read."""

from __future__ import annotations

import os
import shutil
import smtplib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.dovecot import PASSWORD, Dovecot, look, running
from tests.contract.gathering import DOMAIN, Away
from tests.contract.mail_servers import Postfix
from tests.contract.test_homecoming import World, _deliver
from tests.ports import free_port
from tests.support import wait_until

pytestmark = pytest.mark.timeout(240)

ANN, BOB, EVERYTHING = f"ann@{DOMAIN}", f"bob@{DOMAIN}", "everything@third.example"
# The forwarder notes whom a message was for, as forwarders do, and rewrites the recipient; to two of them it sends one copy.
FORWARDING = """
virtual_mailbox_domains =
virtual_mailbox_maps =
virtual_alias_domains = {domain}
virtual_alias_maps = static:{everything}
transport_maps = inline:{{ third.example=lmtp:inet:127.0.0.1:{port} }}
smtpd_recipient_restrictions = check_recipient_access regexp:{folder}/noted
"""
LMTP = """
protocols = imap lmtp
service lmtp {
  inet_listener lmtp {
    address = 127.0.0.1
    port = PORT
  }
}
protocol lmtp {
  postmaster_address = postmaster@third.example
}
"""


@pytest.fixture
def forwarder() -> Iterator[tuple[Postfix, Dovecot]]:
    """(what takes mail for the domain, where it forwards to)."""
    if os.geteuid() != 0 or not Path("/usr/sbin/postfix").exists() or not Path("/usr/lib/dovecot/lmtp").exists():
        pytest.skip("Postfix and Dovecot's LMTP start only as root, where they are installed (Debian: postfix, dovecot-lmtpd)")
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="failsafe-forwarder-"))
    folder.chmod(0o755)
    more = FORWARDING.format(domain=DOMAIN, everything=EVERYTHING, port=port, folder=folder)
    with running([EVERYTHING], more=LMTP.replace("PORT", str(port))) as third:
        postfix = Postfix(folder, {"good": ()}, more)
        (folder / "noted").write_text("/^(.+)$/ PREPEND X-Forwarded-To: $1\n")
        with (folder / "master.cf").open("a") as programs:
            programs.write("lmtp unix - - n - - lmtp\n")
        try:
            postfix.start()
            yield postfix, third
        finally:
            postfix.stop()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def primary() -> Iterator[Dovecot]:
    with running([ANN, BOB, f"postmaster@{DOMAIN}"]) as server:
        yield server


def letter(token: str, to: str) -> bytes:
    return (
        f"Message-ID: <{token}@sender.example>\r\nFrom: x@sender.example\r\nTo: {to}\r\nDate: Sun, 22 Nov 2026 15:00:00 +0000\r\n"
        f"Subject: {token}\r\n\r\ntext of {token}\r\n"
    ).encode()


def send(postfix: Postfix, token: str, *people: str, to: str = "") -> None:
    with smtplib.SMTP("127.0.0.1", postfix.ports["good"], timeout=30) as line:
        line.sendmail("x@sender.example", people, letter(token, to or ", ".join(people)))


def subjects(primary: Dovecot, person: str) -> dict[str, list[str]]:
    box = primary.open(person)
    try:
        return {
            folder: sorted(message.message_id.partition("@")[0] for message in box.messages(folder))
            for folder in box.folders()
            if box.messages(folder)
        }
    finally:
        box.close()


def test_forwarded_mail_comes_home_to_whom_the_envelope_named_and_once(
    forwarder: tuple[Postfix, Dovecot], primary: Dovecot, tmp_path: Path
) -> None:
    postfix, third = forwarder
    (tmp_path / "home.password").touch(mode=0o600)
    (tmp_path / "home.password").write_text(PASSWORD + "\n")
    for person in ("ann", "bob"):
        (tmp_path / "mail" / DOMAIN / person / "cur").mkdir(parents=True)
    away = Away(tmp_path, third, {}, catch_all=EVERYTHING, repository=True)
    away.configure(deliver=_deliver(primary, tmp_path), accounts="")
    away.run("backup", "vps")
    world = World(away, primary, 0)
    assert world.homecoming()["home"] == 0  # from now on mail there is of the homecoming

    send(postfix, "to-ann", ANN)
    send(postfix, "blind", BOB, to="somebody@else.example")
    send(postfix, "both", ANN, BOB)
    send(postfix, "nobody", f"nobody@{DOMAIN}")
    wait_until(lambda: sum(map(len, look(third, EVERYTHING).values())) == 4, 60, "all four were forwarded")
    answer = world.homecoming()

    assert (answer["home"], answer["waiting"]) == (5, [])
    assert subjects(primary, ANN) == {"INBOX": ["both", "to-ann"]}
    assert subjects(primary, BOB) == {"INBOX": ["blind", "both"]}
    assert subjects(primary, f"postmaster@{DOMAIN}") == {"Unrouted": ["nobody"]}
    assert world.counts() == (0, 5, 0)
