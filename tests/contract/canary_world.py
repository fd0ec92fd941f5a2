"""A real Postfix and Dovecot that a canary passes through: submission with TLS and a login, a queue, LMTP, a mailbox over IMAP, all on loopback.

The third party and the primary are one Postfix: what is accepted at its submission goes through its queue to Dovecot's LMTP, or is lost on the way.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.mail_servers import POSTFIX_ALONE, POSTFIX_PROGRAMS, answers, make_certificates
from tests.ports import free_port
from tests.support import wait_until

PROBE = "failsafe-probe@example.org"
SENDER = "sender@third.example"
PASSWORD = "correct horse"

DOVECOT = """\
base_dir = {folder}/dovecot-run
state_dir = {folder}/dovecot-run
log_path = {folder}/dovecot.log
protocols = imap lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{folder}/good.pem
ssl_key = <{folder}/good.pem
auth_failure_delay = 0 secs
mail_location = maildir:~/Maildir
first_valid_uid = 1
service imap-login {{
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
"""

MAIN_CF = (
    POSTFIX_ALONE
    + """\
virtual_mailbox_domains = example.org
virtual_mailbox_maps = inline:{{ {probe}=here }}
virtual_transport = {transport}
smtpd_tls_chain_files = {folder}/good.pem
smtpd_sasl_type = dovecot
smtpd_sasl_path = {folder}/auth
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
"""
)

MASTER_CF = (
    POSTFIX_PROGRAMS
    + """\
127.0.0.1:{inbound} inet n - n - - smtpd
127.0.0.1:{submission} inet n - n - - smtpd
  -o smtpd_tls_security_level=encrypt
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
discard unix - - n - - discard
lmtp unix - - n - - lmtp
showq unix n - n - - showq
"""
)


class CanaryWorld:
    """`deliver`, `lose` and `hold` say what becomes of mail that was accepted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificates = make_certificates(folder)
        self.inbound, self.submission, self.imaps, self.lmtp = free_port(), free_port(), free_port(), free_port()
        for name in ("spool", "data", "dovecot-run", "home", "other"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        homes = {PROBE: folder / "home", SENDER: folder / "other"}
        for home in homes.values():
            os.chown(home, 5000, 5000)
        lines = [f"{user}:{{PLAIN}}{PASSWORD}:5000:5000::{home}::\n" for user, home in homes.items()]
        (folder / "users").write_text("".join(lines))
        (folder / "dovecot.conf").write_text(DOVECOT.format(folder=folder, imaps=self.imaps, lmtp=self.lmtp))
        (folder / "master.cf").write_text(MASTER_CF.format(inbound=self.inbound, submission=self.submission))
        self._transport(f"lmtp:inet:127.0.0.1:{self.lmtp}")
        self.password = folder / "password"
        self.password.write_text(PASSWORD + "\n")
        self.password.chmod(0o600)

    @property
    def mailbox(self) -> Path:
        return self.folder / "home" / "Maildir"

    def mails(self) -> list[Path]:
        """What lies in INBOX, read or not."""
        return [file for sub in ("new", "cur") for file in sorted((self.mailbox / sub).glob("*"))]

    def deliver(self) -> None:
        self._switch(f"lmtp:inet:127.0.0.1:{self.lmtp}")

    def lose(self) -> None:
        self._switch("discard:")

    def hold(self) -> None:
        """Delivery refuses connections, as a Dovecot that has died does."""
        self._switch(f"lmtp:inet:127.0.0.1:{free_port()}")

    def flush(self) -> None:
        self._run("/usr/sbin/postqueue", "-c", str(self.folder), "-f")

    def empty_queue(self) -> None:
        self._run("/usr/sbin/postsuper", "-c", str(self.folder), "-d", "ALL")

    def queue(self) -> str:
        return self._run("/usr/sbin/postqueue", "-c", str(self.folder), "-j")

    def log(self) -> str:
        file = self.folder / "mail.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def start(self) -> None:
        self._run("/usr/sbin/dovecot", "-c", str(self.folder / "dovecot.conf"))
        wait_until(lambda: answers(self.imaps) and answers(self.lmtp), 30, "Dovecot listens")
        self._run("/usr/sbin/postfix", "-c", str(self.folder), "start")
        wait_until(lambda: answers(self.submission), 30, "Postfix listens")

    def stop(self) -> None:
        for words in (
            ("/usr/sbin/postfix", "-c", str(self.folder)),
            ("/usr/sbin/dovecot", "-c", str(self.folder / "dovecot.conf")),
        ):
            with contextlib.suppress(AssertionError):
                self._run(*words, "stop")

    def _transport(self, transport: str) -> None:
        (self.folder / "main.cf").write_text(MAIN_CF.format(folder=self.folder, probe=PROBE, transport=transport))

    def _switch(self, transport: str) -> None:
        self._transport(transport)
        self._run("/usr/sbin/postfix", "-c", str(self.folder), "reload")

    def _run(self, *words: str) -> str:
        """Output into a file: daemons keep what they are born with."""
        out = self.folder / "said"
        with out.open("wb") as log:
            done = subprocess.run(words, check=False, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=60)
        said = out.read_text(errors="replace")
        assert done.returncode == 0, f"{' '.join(words)}: {said}{self.log()[-2000:]}"
        return said


@contextmanager
def canary_world() -> Iterator[CanaryWorld]:
    """Not below pytest's own folder: that one is closed to the servers' unprivileged users."""
    folder = Path(tempfile.mkdtemp(prefix="failsafe-canary-"))
    folder.chmod(0o755)
    world = CanaryWorld(folder)
    try:
        world.start()
        yield world
    finally:
        world.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def world() -> Iterator[CanaryWorld]:
    if os.geteuid() != 0:
        pytest.skip("Postfix and Dovecot start only as root")
    with canary_world() as made:
        yield made
