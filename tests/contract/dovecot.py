"""A real Dovecot on loopback whose mailboxes lie in DOMAIN/USER/ Maildirs, as a server that is backed up has them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from failsafe.adapters.imap import ImapMailbox
from failsafe.model import Endpoint
from failsafe.secrets import Secret
from tests.contract.mail_servers import answers, make_certificates
from tests.ports import free_port
from tests.support import wait_until

PASSWORD = "correct horse"
MASTER = "admin"
BY_DOMAIN = "by-domain"  # a store: that of a mailbox is the first part of its domain, as in u@mdbox.example.org

CONF = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{folder}/good.pem
ssl_key = <{folder}/good.pem
auth_failure_delay = 0 secs
auth_master_user_separator = *
mail_max_userip_connections = 100
mail_location = {store}:{folder}/mail/%d/%n{layout}
first_valid_uid = 1
{more}
namespace inbox {{
  inbox = yes
  separator = {separator}
  prefix = {prefix}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {plain}
  }}
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/masters
  master = yes
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


class Dovecot:
    """Any mailbox of `users` logs in with PASSWORD; `USER*admin` with the same. `store` is Dovecot's name of a format; `more` further settings, "{folder}" filled in."""

    def __init__(
        self,
        folder: Path,
        users: list[str],
        *,
        separator: str = "/",
        prefix: str = "",
        layout: str = "",
        store: str = "maildir",
        more: str = "",
    ) -> None:
        self.folder, self.port, self.plain, self.store = folder, free_port(), free_port(), store
        self.certificates = make_certificates(folder)
        for name in ("run", "mail"):
            (folder / name).mkdir()
        os.chown(folder / "mail", 5000, 5000)
        conf = CONF.format(
            folder=folder,
            port=self.port,
            plain=self.plain,
            separator=separator,
            prefix=prefix,
            layout=layout,
            store="maildir" if store == BY_DOMAIN else store,
            more=more.replace("{folder}", str(folder)),
        )
        (folder / "dovecot.conf").write_text(conf)
        self.let_in(users)
        (folder / "masters").write_text(f"{MASTER}:{{PLAIN}}{PASSWORD}\n")

    def let_in(self, users: list[str]) -> None:
        lines = []
        for user in users:
            name, _, domain = user.partition("@")
            place, kind = f"{self.folder}/mail/{domain}/{name}", domain.partition(".")[0]
            more = f"userdb_mail={kind}:{place}" if self.store == BY_DOMAIN else ""
            lines.append(f"{user}:{{PLAIN}}{PASSWORD}:5000:5000::{place}::{more}\n")
        (self.folder / "users").write_text("".join(lines))

    def doveadm(self, *words: str, data: bytes = b"") -> bytes:
        command = ["/usr/bin/doveadm", "-c", str(self.folder / "dovecot.conf"), *words]
        return subprocess.run(command, input=data, capture_output=True, check=True, timeout=60).stdout

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("localhost", self.port, "implicit", str(self.certificates.authority))

    def open(self, mailbox: str, **more: float) -> ImapMailbox:
        return ImapMailbox(self.endpoint, mailbox, Secret(PASSWORD), **more)  # type: ignore[arg-type]

    def start(self) -> None:
        with (self.folder / "start.log").open("ab") as log:
            subprocess.run(
                ["/usr/sbin/dovecot", "-c", str(self.folder / "dovecot.conf")],
                check=True, stdout=log, stderr=log, stdin=subprocess.DEVNULL, timeout=60,
            )  # fmt: skip
        wait_until(lambda: answers(self.port), 30, "Dovecot listens")

    def stop(self) -> None:
        """Returns when it has ended, so that it can be started again."""
        words = ["/usr/sbin/dovecot", "-c", str(self.folder / "dovecot.conf"), "stop"]
        subprocess.run(words, check=False, capture_output=True, timeout=60)
        wait_until(lambda: not (self.folder / "run" / "master.pid").exists(), 30, "Dovecot has ended")

    def kill(self) -> None:
        """At once: nothing in it is needed any more."""
        with contextlib.suppress(OSError, ValueError):
            os.killpg(int((self.folder / "run" / "master.pid").read_text()), signal.SIGKILL)


@contextmanager
def running(users: list[str], *, prepare: Callable[[Path], None] = lambda _folder: None, **options: str) -> Iterator[Dovecot]:
    """`prepare` is called with the server's folder before anything is in it."""
    if os.geteuid() != 0:
        pytest.skip("Dovecot starts only as root")
    if not Path("/usr/sbin/dovecot").exists():
        pytest.skip("Dovecot is not installed (Debian: dovecot-imapd)")
    folder = Path(tempfile.mkdtemp(prefix="failsafe-dovecot-"))
    folder.chmod(0o755)
    prepare(folder)
    server = Dovecot(folder, users, **options)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def look(server: Dovecot, mailbox: str) -> dict[str, list[tuple[str, frozenset[str], datetime]]]:
    """What a client sees: folder -> (canonical digest, flags, date) of each message, sorted. Empty folders are left out."""
    from failsafe.mail.identity import digests

    box = server.open(mailbox)
    try:
        seen = {}
        for folder in box.folders():
            listed = {message.uid: message for message in box.messages(folder)}
            rows = [(digests(data)[1], listed[uid].flags, listed[uid].internal_date) for uid, data in box.fetch(folder, listed)]
            if rows:
                seen[folder] = sorted(rows, key=lambda row: (row[0], row[2]))
        return seen
    finally:
        box.close()
