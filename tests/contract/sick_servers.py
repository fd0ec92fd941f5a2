"""Mail servers that are sick in one way each: real Postfix, Dovecot, postgrey and fail2ban, and the kernel's own ways to lose a packet."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract import fail2ban
from tests.contract.bad_certificates import make_half_chain, make_self_signed
from tests.contract.mail_servers import Postfix, _require, answers
from tests.contract.submission import Submission, running
from tests.ports import free_port
from tests.support import wait_until

REFERENCES = ("127.0.53.1:443", "127.0.53.2:443", "127.0.53.3:443")  # where the captive portal answers for everybody
# name -> what this listener does differently from the plain good one
LISTENERS: dict[str, tuple[str, ...]] = {
    "good": (),
    "submission": ("smtpd_tls_security_level=encrypt", "smtpd_sasl_auth_enable=yes"),
    "milter-dead": ("smtpd_milters=inet:127.0.0.1:1", "milter_default_action=tempfail", "milter_connect_timeout=2s"),
    "expired": ("smtpd_tls_chain_files={folder}/expired.pem",),
    "other-name": ("smtpd_tls_chain_files={folder}/other-name.pem",),
    "self-signed": ("smtpd_tls_chain_files={folder}/self-signed.pem",),
    "half-chain": ("smtpd_tls_chain_files={folder}/half-chain.pem",),
    "greylisting": ("smtpd_recipient_restrictions=check_policy_service inet:127.0.0.1:@postgrey@",),
    "refusing": ("smtpd_recipient_restrictions=check_recipient_access static:{{554 5.7.1 Unknown user}}",),
    "policy-dead": ("smtpd_recipient_restrictions=check_policy_service inet:127.0.0.1:1", "smtpd_policy_service_retry_delay=1s"),
    "late": ("smtpd_delay_reject=no", "smtpd_client_restrictions=sleep 20"),
    "busy": ("service=postscreen", "postscreen_greet_wait=60s", "postscreen_cache_map=", "postscreen_pre_queue_limit=10"),
    "banned": (),
    "dropped-on-ipv6": (),
    "half-open": (),
    "frozen": ("processes=1",),
}
POOR: dict[str, tuple[str, ...]] = {
    "good": (),
    "resolver-dead": ("smtpd_sender_restrictions=reject_unknown_sender_domain", "message_size_limit=100000"),
}
DISK = 24 * 1024 * 1024  # of the poor one's spool: enough for its largest message, and half again
DROPS = """\
table inet {table} {{
  chain input {{
    type filter hook input priority 0;
    ip6 daddr ::1 tcp dport {ipv6} drop
    tcp sport {half_open} tcp flags & psh == psh drop
  }}
}}
"""


@dataclass
class Sick:
    """One server for each sickness, by the names of LISTENERS and POOR; and "full", the poor one's good listener."""

    mail: Submission
    poor: Postfix
    portal: int  # a port at which everything is answered with a web page

    def port(self, name: str) -> int:
        if name in {"full", "resolver-dead"}:
            return self.poor.ports["good" if name == "full" else name]
        return self.mail.postfix.ports[name]

    @property
    def authority(self) -> str:
        return str(self.mail.postfix.certificates.authority)

    @property
    def root(self) -> str:
        """The authority at the top of the chain with a gap."""
        return str(self.mail.postfix.folder / "root.pem")


@contextmanager
def sick_servers() -> Iterator[Sick]:
    for program in ("/usr/sbin/postfix", "/usr/sbin/postgrey", "/usr/sbin/nft"):
        _require(program)
    if fail2ban.missing_fail2ban():
        pytest.skip(fail2ban.missing_fail2ban())
    with ExitStack() as stack:
        port = str(stack.enter_context(_postgrey()))
        listeners = {name: tuple(option.replace("@postgrey@", port) for option in options) for name, options in LISTENERS.items()}
        mail = stack.enter_context(running(listeners, prepare=_certificates))
        sick = Sick(mail, stack.enter_context(_poor()), stack.enter_context(_portal()))
        for trouble in (_drops, _frozen, _ban, _load):
            stack.enter_context(trouble(sick))
        yield sick


def _certificates(folder: Path) -> None:
    make_self_signed(folder)
    make_half_chain(folder)


@contextmanager
def _postgrey() -> Iterator[int]:
    folder, port = Path(tempfile.mkdtemp(prefix="failsafe-postgrey-")), free_port()
    shutil.chown(folder, "postgrey", "postgrey")
    nobody = ("--whitelist-clients=/dev/null", "--whitelist-recipients=/dev/null")
    words = ["/usr/sbin/postgrey", f"--inet=127.0.0.1:{port}", f"--dbdir={folder}", *nobody]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL) as process,
    ):
        try:
            wait_until(lambda: answers(port), 30, "postgrey listens")
            yield port
        finally:
            process.terminate()
            process.wait(20)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _poor() -> Iterator[Postfix]:
    """A Postfix that has run into a full disk, and whose resolver is dead."""
    folder = Path(tempfile.mkdtemp(prefix="failsafe-poor-"))
    folder.chmod(0o755)
    server = Postfix(folder, POOR)
    resolver = folder / "resolv.conf"
    resolver.write_text("nameserver 127.0.53.254\noptions timeout:1 attempts:1\n")
    server.inside = ("unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(resolver))
    spool = folder / "spool"
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=755", "spool", str(spool)], check=True, timeout=30)
    try:
        server.start()
        free = os.statvfs(spool).f_bavail * os.statvfs(spool).f_frsize
        (spool / "filler").write_bytes(bytes(free - 1024 * 1024))
        yield server
    finally:
        server.stop()
        subprocess.run(["umount", "-l", str(spool)], check=False, timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


class _Page(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.settimeout(2)
        with contextlib.suppress(OSError):
            self.request.recv(65536)
        with contextlib.suppress(OSError):
            self.request.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://login.hotel.example/\r\nContent-Length: 0\r\n\r\n")


@contextmanager
def _portal() -> Iterator[int]:
    """A captive portal: whoever connects to anything gets its page, the references of our own line included."""
    port = free_port()
    places = [("127.0.0.1", port), *((each.partition(":")[0], 443) for each in REFERENCES)]
    with ExitStack() as stack:
        for place in places:
            server = stack.enter_context(socketserver.ThreadingTCPServer(place, _Page))
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
        yield port


@contextmanager
def _drops(sick: Sick) -> Iterator[None]:
    """Packets that vanish: all of one port over IPv6; of another one every byte that the server says, once the connection stands."""
    table = f"failsafe-sick-{os.getpid()}"
    rules = DROPS.format(table=table, ipv6=sick.port("dropped-on-ipv6"), half_open=sick.port("half-open"))
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True, timeout=30)
    try:
        yield
    finally:
        subprocess.run(["nft", "delete", "table", "inet", table], check=False, timeout=30)


@contextmanager
def _frozen(sick: Sick) -> Iterator[None]:
    """The one process that serves a port is stopped: the kernel goes on accepting."""
    with socket.create_connection(("127.0.0.1", sick.port("frozen")), 10) as connection:
        assert connection.recv(4).startswith(b"220")
        log = wait_until(
            lambda: found if "connect" in (found := sick.mail.postfix.log_of("frozen")) else "", 20, "it logs who came"
        )
    found = re.search(r"smtpd\[(\d+)\]", log)
    assert found
    os.kill(int(found[1]), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(int(found[1]), signal.SIGCONT)


@contextmanager
def _ban(sick: Sick) -> Iterator[None]:
    """This machine is banned at one port, by a real fail2ban."""
    jail = fail2ban.Jail("sick", "postfix[mode=extra]", sick.mail.postfix.folder / "mail.log", (sick.port("banned"),))
    with fail2ban.running([jail]) as jails:
        jails.client("set", "sick", "banip", "127.0.0.1")
        yield


@contextmanager
def _load(sick: Sick) -> Iterator[None]:
    """Other clients wait in the queue of the busy one, as many as it has room for (fewer than ten it cannot be told)."""
    with ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(socket.create_connection(("127.0.0.1", sick.port("busy")), 10))
        yield
