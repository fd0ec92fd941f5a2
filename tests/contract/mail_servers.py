"""Real Postfix and Dovecot on loopback with private configurations, and a scripted server for faults that no real one can be asked for.

Used by the contract tests of the probes. Both servers need root; where that is missing the tests are skipped with the reason.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.ports import free_port, free_ports
from tests.support import wait_until

DOMAIN = "example.test"
KNOWN_GOOD = f"failsafe-probe@{DOMAIN}"
PASSWORD = "correct horse"


def answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 2):
        return True


# -- certificates ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Certificates:
    """A private authority and certificates for "localhost", each with its key in one file."""

    authority: Path
    good: Path
    expired: Path
    other_name: Path


def make_certificates(folder: Path) -> Certificates:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    now = datetime.now(UTC)  # noqa: TID251 - certificates live in real time
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "failsafe tests")])

    def sign(
        name: str, subject_key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime, *, is_authority: bool
    ) -> x509.Certificate:
        subject = authority_name if is_authority else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(subject_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(subject_key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        )
        if is_authority:
            usage = x509.KeyUsage(
                key_cert_sign=True, crl_sign=True, digital_signature=True, content_commitment=False,
                key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
            )  # fmt: skip
            builder = builder.add_extension(usage, critical=True)
        else:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        return builder.sign(authority_key, hashes.SHA256())

    def write(file: str, name: str, begin: datetime, end: datetime) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        public = sign(name, key, begin, end, is_authority=False).public_bytes(serialization.Encoding.PEM)
        (folder / file).write_bytes(private + public)
        (folder / file).chmod(0o600)
        return folder / file

    day = timedelta(days=1)
    root = sign("", authority_key, now - 90 * day, now + 90 * day, is_authority=True)
    (folder / "authority.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    return Certificates(
        folder / "authority.pem",
        write("good.pem", "localhost", now - day, now + 30 * day),
        write("expired.pem", "localhost", now - 60 * day, now - day),
        write("other-name.pem", "mail.example.net", now - day, now + 30 * day),
    )


# -- Postfix --------------------------------------------------------------------------------------------------------------

# name -> what this listener does differently from the plain good one
LISTENERS: dict[str, tuple[str, ...]] = {
    "good": (),
    "manners": (),  # for the test that reads the log: nobody else connects here
    "courtesy": (),  # the same, for those who only ask for the certificate
    "no-tls": ("smtpd_tls_security_level=none",),
    "expired": ("smtpd_tls_chain_files={folder}/expired.pem",),
    "other-name": ("smtpd_tls_chain_files={folder}/other-name.pem",),
    "greylisting": ("smtpd_recipient_restrictions=check_recipient_access static:{{450 4.2.0 Greylisted, come back later}}",),
    "blocklisting": ("smtpd_delay_reject=yes", "smtpd_client_restrictions=check_client_access static:{{554 5.7.1 Service unavailable; Client host blocked using zen.spamhaus.org}}"),
    "policy-dead": ("smtpd_recipient_restrictions=check_policy_service inet:127.0.0.1:1", "smtpd_policy_service_retry_delay=1s"),
    "spool-full": ("queue_minfree=4611686018427387904",),
    "strict-helo": ("smtpd_helo_restrictions=reject_non_fqdn_helo_hostname",),
}  # fmt: skip

POSTFIX_ALONE = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
mail_owner = postfix
setgid_group = postdrop
myhostname = localhost
inet_protocols = ipv4
inet_interfaces = 127.0.0.1
mynetworks = 192.0.2.0/24
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
alias_maps =
alias_database =
mydestination =
"""  # a Postfix of its own below a folder, beside others
MAIN_CF = (
    POSTFIX_ALONE
    + """\
virtual_mailbox_domains = {domain}
virtual_mailbox_maps = inline:{{ {recipient}=here }}
smtpd_tls_security_level = may
smtpd_tls_chain_files = {folder}/good.pem
smtpd_relay_restrictions = reject_unauth_destination
smtpd_helo_required = yes
smtpd_delay_reject = yes
postscreen_access_list =
postscreen_greet_wait = 2s
postscreen_greet_action = enforce
postscreen_greet_banner = please wait
"""
)

POSTFIX_PROGRAMS = """\
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""  # of every Postfix that takes mail in
MASTER_CF = (
    POSTFIX_PROGRAMS
    + """\
{postscreen} inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
tlsproxy unix - - n - 0 tlsproxy
dnsblog unix - - n - 0 dnsblog
pickup unix n - n 60 1 pickup
virtual unix - n n - - virtual
"""
)


def _tag(name: str) -> str:
    """How a listener calls itself in the log; fail2ban's filter knows no other kind of names."""
    return "postfix-" + name.replace("-", "_")


def _value_of(key: str, options: Iterable[str]) -> str:
    return next((option.removeprefix(f"{key}=") for option in options if option.startswith(f"{key}=")), "")


class Postfix:
    """One Postfix with a listener for each way of answering; `ports` by name."""

    def __init__(self, folder: Path, listeners: Mapping[str, tuple[str, ...]] = LISTENERS, more: str = "") -> None:
        """`listeners`: name -> options; one of them is "good". "service=postscreen" makes it another program than smtpd, "processes=1" limits it.
        `more`: for main.cf."""
        self.folder, self._listeners = folder, listeners
        self.inside: tuple[str, ...] = ()  # words before a command, which put it into surroundings of its own
        self.certificates = make_certificates(folder)
        names = [*listeners, "postscreen"]
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        for name in ("spool", "data"):
            (folder / name).mkdir()
        shutil.chown(folder / "data", "postfix")
        (folder / "main.cf").write_text(MAIN_CF.format(folder=folder, domain=DOMAIN, recipient=KNOWN_GOOD) + more)
        (folder / "master.cf").write_text(self._master())

    def _master(self) -> str:
        lines = [MASTER_CF.format(postscreen=f"127.0.0.1:{self.ports['postscreen']}")]
        for name, options in self._listeners.items():
            service = _value_of("service", options) or "smtpd"
            processes = _value_of("processes", options) or ("1" if service == "postscreen" else "-")
            lines.append(f"127.0.0.1:{self.ports[name]} inet n - n - {processes} {service}\n")
            settings = [
                "syslog_name=" + _tag(name),
                *(each for each in options if not each.startswith(("service=", "processes="))),
            ]
            lines += [f"  -o {{ {option.format(folder=self.folder)} }}\n" for option in settings]
        return "".join(lines)

    def target(self, name: str) -> str:
        return f"localhost:{self.ports[name]}"

    def log_of(self, name: str) -> str:
        """What Postfix logged about one listener."""
        lines = (self.folder / "mail.log").read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if f" {_tag(name)}/" in line)

    def control(self, verb: str) -> None:
        with (self.folder / "control.log").open("ab") as log:  # daemons keep the output they are born with: never a pipe
            subprocess.run(
                [*self.inside, "/usr/sbin/postfix", "-c", str(self.folder), verb],
                check=True,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                timeout=60,
            )

    def start(self) -> None:
        self.control("start")
        wait_until(lambda: answers(self.ports["good"]), 30, "Postfix listens (it opens all its ports at once)")

    def stop(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self.control("stop")


# -- Dovecot --------------------------------------------------------------------------------------------------------------

DOVECOT_CONF = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = required
ssl_cert = <{folder}/good.pem
ssl_key = <{folder}/good.pem
disable_plaintext_auth = yes
auth_failure_delay = 1 secs
mail_location = maildir:~/Maildir
first_valid_uid = 1
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
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


class Dovecot:
    """One Dovecot with two mailboxes: a good one, and one whose store cannot be opened."""

    good_user = KNOWN_GOOD
    broken_user = f"broken@{DOMAIN}"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificates = make_certificates(folder)
        self.imap, self.imaps = free_port(), free_port()
        (folder / "run").mkdir()
        (folder / "dovecot.conf").write_text(DOVECOT_CONF.format(folder=folder, imap=self.imap, imaps=self.imaps))
        lines = []
        for user, owner in ((self.good_user, 5000), (self.broken_user, 0)):
            home = folder / "homes" / user
            home.mkdir(parents=True, mode=0o700)
            os.chown(home, owner, owner)
            lines.append(f"{user}:{{PLAIN}}{PASSWORD}:5000:5000::{home}::\n")
        (folder / "users").write_text("".join(lines))

    def start(self) -> None:
        with (self.folder / "start.log").open("ab") as log:
            subprocess.run(
                ["/usr/sbin/dovecot", "-c", str(self.folder / "dovecot.conf")],
                check=True,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                timeout=60,
            )
        for port in (self.imap, self.imaps):
            wait_until(lambda port=port: answers(port), 30, "Dovecot listens")  # type: ignore[misc]

    def stop(self) -> None:
        subprocess.run(
            ["/usr/sbin/dovecot", "-c", str(self.folder / "dovecot.conf"), "stop"], check=False, capture_output=True, timeout=60
        )

    def log(self) -> str:
        return (self.folder / "dovecot.log").read_text(errors="replace")


# -- fixtures -------------------------------------------------------------------------------------------------------------


def _folder() -> Path:
    """Not below pytest's own folder: that one is closed to the servers' unprivileged users."""
    folder = Path(tempfile.mkdtemp(prefix="failsafe-mail-"))
    folder.chmod(0o755)
    return folder


def _require(program: str) -> None:
    if os.geteuid() != 0:
        pytest.skip(f"{program} starts only as root")
    if not Path(program).exists():
        pytest.skip(f"{program} is not installed")


@pytest.fixture(scope="session")
def postfix() -> Iterator[Postfix]:
    _require("/usr/sbin/postfix")
    server = Postfix(_folder())
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    _require("/usr/sbin/dovecot")
    server = Dovecot(_folder())
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


# -- faults ---------------------------------------------------------------------------------------------------------------


class ScriptedServer:
    """Runs `script(connection, number)` for each connection in a thread; keeps what the client sent and why it stopped."""

    def __init__(self, script: Callable[[Talk], None]) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.talks: list[Talk] = []
        self.faults: list[BaseException] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            talk = Talk(connection, len(self.talks) + 1)
            self.talks.append(talk)
            threading.Thread(target=self._run, args=(talk,), daemon=True).start()

    def _run(self, talk: Talk) -> None:
        try:
            self._script(talk)
        except OSError:
            pass  # the client went away, as it should
        except BaseException as error:  # noqa: BLE001 - told to the test
            self.faults.append(error)
        finally:
            talk.close()

    def close(self) -> None:
        self._listener.close()
        for talk in self.talks:
            talk.close()

    def __enter__(self) -> ScriptedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Talk:
    """One connection of the scripted server."""

    def __init__(self, connection: socket.socket, number: int) -> None:
        self.connection = connection
        self.number = number
        self.heard: list[str] = []
        self.gone = threading.Event()  # the client hung up
        self._buffer = b""
        connection.settimeout(60)

    def say(self, *lines: str) -> None:
        self.connection.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def hear(self) -> str:
        """The next line of the client; "" when it hung up."""
        while b"\n" not in self._buffer:
            data = self.connection.recv(4096)
            if not data:
                self.gone.set()
                return ""
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        self.heard.append(line.decode("latin-1").rstrip("\r"))
        return self.heard[-1]

    def spoke_within(self, seconds: float) -> bool:
        """Whether the client says anything in this time."""
        self.connection.settimeout(seconds)
        try:
            return bool(self.connection.recv(1, socket.MSG_PEEK))
        except TimeoutError:
            return False
        finally:
            self.connection.settimeout(60)

    def answer_all(self, answers: dict[str, str], default: str = "250 ok") -> None:
        """Goes on as a server with one answer for each first word, until the client leaves."""
        while line := self.hear():
            verb = line.split(" ")[0].upper()
            self.say(*answers.get(verb, "221 bye" if verb == "QUIT" else default).split("\n"))
            if verb == "QUIT":
                return

    def wait_until_gone(self) -> None:
        while self.hear():
            pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
