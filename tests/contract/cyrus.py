"""A real Cyrus on loopback: an IMAP server that is not Dovecot, and stricter about what it takes."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from failsafe.adapters.imap import ImapMailbox
from failsafe.model import Endpoint
from failsafe.secrets import Secret
from tests.contract.dovecot import PASSWORD
from tests.contract.mail_servers import answers, make_certificates
from tests.ports import free_port
from tests.support import wait_until

PROGRAMS = Path("/usr/lib/cyrus/bin")
IMAPD = next(  # Debian will not have it beside Dovecot's, so `./dev test --all` unpacks it there
    (path for path in (Path(sys.prefix) / "cyrus/usr/lib/cyrus/bin/imapd", PROGRAMS / "imapd") if path.exists()), None
)

SETTINGS = """\
configdirectory: {folder}/conf
defaultpartition: default
partition-default: {folder}/spool
proc_path: {folder}/proc
mboxname_lockpath: {folder}/lock
lmtpsocket: {folder}/conf/lmtp
idlesocket: {folder}/conf/idle
notifysocket: {folder}/conf/notify
admins: admin
virtdomains: userid
unixhierarchysep: yes
altnamespace: yes
autocreate_quota: 0
allowplaintext: yes
sasl_mech_list: PLAIN
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {folder}/sasldb
tls_server_cert: {folder}/good.pem
tls_server_key: {folder}/good.pem
syslog_prefix: failsafe-cyrus
"""
MASTER = """\
START {{
  recover cmd="{programs}/ctl_cyrusdb -C {folder}/imapd.conf -r"
}}
SERVICES {{
  imaps cmd="{imapd} -C {folder}/imapd.conf -s" listen="127.0.0.1:{port}" prefork=0
}}
EVENTS {{
}}
"""


class Cyrus:
    """Any mailbox of `users` logs in with PASSWORD, and is made at that."""

    def __init__(self, folder: Path, users: list[str]) -> None:
        self.folder, self.port = folder, free_port()
        self.certificates = make_certificates(folder)
        for name in ("conf", "spool", "proc", "lock"):
            (folder / name).mkdir()
        (folder / "imapd.conf").write_text(SETTINGS.format(folder=folder))
        (folder / "cyrus.conf").write_text(MASTER.format(folder=folder, port=self.port, programs=PROGRAMS, imapd=IMAPD))
        for user in users:
            name, _, domain = user.partition("@")
            words = ["saslpasswd2", "-p", "-c", "-f", str(folder / "sasldb"), "-u", domain, name]
            subprocess.run(words, input=PASSWORD.encode(), check=True, capture_output=True, timeout=60)
        subprocess.run(["chown", "-R", "cyrus:mail", str(folder)], check=True)
        self.master: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("localhost", self.port, "implicit", str(self.certificates.authority))

    def open(self, mailbox: str) -> ImapMailbox:
        return ImapMailbox(self.endpoint, mailbox, Secret(PASSWORD))

    def start(self) -> None:
        words = [str(PROGRAMS / "master"), "-C", str(self.folder / "imapd.conf"), "-M", str(self.folder / "cyrus.conf")]
        words += ["-p", str(self.folder / "conf" / "pid"), "-D"]
        with (self.folder / "log").open("ab") as log:
            self.master = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        wait_until(lambda: answers(self.port), 30, "Cyrus listens")

    def kill(self) -> None:
        if self.master is not None:
            with contextlib.suppress(OSError):
                os.killpg(self.master.pid, signal.SIGKILL)
            self.master.wait()


@contextmanager
def running(users: list[str]) -> Iterator[Cyrus]:
    if os.geteuid() != 0:
        pytest.skip("Cyrus starts only as root")
    if not (PROGRAMS / "master").exists() or IMAPD is None or shutil.which("saslpasswd2") is None:
        pytest.skip("Cyrus is not installed (`./dev test --all` does it)")
    folder = Path(tempfile.mkdtemp(prefix="failsafe-cyrus-"))
    folder.chmod(0o755)
    server = Cyrus(folder, users)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
