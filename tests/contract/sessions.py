"""Every kind of session that failsafe opens toward a person's mail servers, as it is held with servers that are well; and these servers, all real.

A new kind of session gets a row in LOOKS, whose `opens` is the module that opens it: tests/unit/test_sessions.py knows which modules do.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from failsafe.adapters.canary_box import CanaryBox
from failsafe.adapters.certificates import certificate_of
from failsafe.adapters.imap import ImapMailbox
from failsafe.adapters.imap_login import Login as MailboxLogin
from failsafe.adapters.imap_login import LoginSource
from failsafe.adapters.imap_probe import ImapProbe
from failsafe.adapters.imap_room import look_at_room
from failsafe.adapters.managesieve import active_script
from failsafe.adapters.recipients import ask_recipients
from failsafe.adapters.smtp import SmtpProbe
from failsafe.adapters.ssh_way import SshWay
from failsafe.adapters.submission import Submission as Sender
from failsafe.adapters.submission_probe import Login, SubmissionProbe
from failsafe.adapters.way import DIRECT, Way
from failsafe.backup.protocol import ServerSession
from failsafe.backup.reach import Reach
from failsafe.mail.canary import Canary
from failsafe.model import Endpoint, Evidence, ProbeClass
from failsafe.secrets import Secret
from tests.contract import fail2ban, sshd, syslog
from tests.contract.mail_servers import KNOWN_GOOD, PASSWORD
from tests.contract.sshd import Sshd
from tests.contract.submission import PORTS, Submission, running
from tests.ports import free_port

LOOKS = 2000 if os.environ.get("FAILSAFE_ALL") else 100  # of each kind
SSH_LOOKS = 2000 if os.environ.get("FAILSAFE_ALL") else 10  # each costs 0.2 s of a processor
BY_ONE_WAY = 20  # sessions of SMTP over one of SSH: the program there ends itself after five minutes
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HELO = "nas.example.net"
SENDER = "sender@third.example"

LISTENERS = {
    **PORTS,
    "no-tls": ("smtpd_tls_security_level=none",),
    "greylisting": (
        "smtpd_recipient_restrictions=check_recipient_access static:{{450 4.2.0 Greylisted, come back later}}",
        "smtpd_error_sleep_time=0",  # a second for each error, which nobody here would learn from
    ),
    "lying": (
        "smtpd_recipient_restrictions=check_recipient_access static:{{550 5.1.1 User unknown}}",
        "smtpd_error_sleep_time=0",
    ),
    "other-name": ("smtpd_tls_chain_files={folder}/other-name.pem",),
    "expired": ("smtpd_tls_chain_files={folder}/expired.pem",),
    "recipients": (),  # its own, as each of these: a server has one session of ours at a time, and the table is to be quick
    "certificate": (),
    "elsewhere": (),
    "canary": (
        "smtpd_tls_security_level=encrypt",
        "smtpd_sasl_auth_enable=yes",
        "smtpd_recipient_restrictions=check_recipient_access static:DISCARD",
    ),
}
SIEVE = """\
protocols = imap sieve
service managesieve-login {{
  inet_listener sieve {{
    port = {port}
  }}
}}
"""


@dataclass(frozen=True)
class World:
    """One machine of a person: Postfix, Dovecot with ManageSieve, and sshd; their logs."""

    mail: Submission
    sshd: Sshd
    auth_log: Path
    sieve_port: int
    password_file: Path

    def sender(self, listener: str, *, asks: bool = True, way: Way = DIRECT) -> SmtpProbe:
        authority = str(self.mail.postfix.certificates.authority)
        recipient = KNOWN_GOOD if asks else None
        return SmtpProbe("vps", [self.mail.postfix.target(listener)], recipient, HELO, ca_file=authority, way=way)

    @property
    def starttls(self) -> Endpoint:
        box = self.mail.dovecot
        return Endpoint("localhost", box.plain, "starttls", box.endpoint.ca_file)

    def log(self, name: str) -> str:
        if name == "auth.log":
            return self.auth_log.read_text(errors="replace")
        return self.mail.log() if name == "mail.log" else self.mail.dovecot_log()


@contextlib.contextmanager
def one_machine() -> Iterator[World]:
    for why in (
        fail2ban.missing_fail2ban(),
        "" if Path("/usr/lib/dovecot/managesieve").exists() else "Dovecot has no ManageSieve",
    ):
        if why:
            pytest.skip(why)
    folder = Path(tempfile.mkdtemp(prefix="failsafe-machine-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        password, auth_log, sieve = folder / "password", folder / "auth.log", free_port()
        password.touch(0o600)
        password.write_text(PASSWORD)
        inside = stack.enter_context(syslog.logging_to(auth_log, folder))
        server = stack.enter_context(sshd.running(folder, inside=inside, log_to=()))
        mail = stack.enter_context(running(LISTENERS, more=SIEVE.format(port=sieve)))
        yield World(mail, server, auth_log, sieve, password)


# A look gives "" where it saw a server that is well, else what it saw instead.
Hold = Callable[[], str]


@dataclass(frozen=True)
class Look:
    """One kind. `opens`: the module, below failsafe/, that opens the session. `log`: where it is written of; each one with the words `marked` once.

    `begin` makes what holds one after the other; `times` of them, or `batch` by one call.
    """

    opens: str
    log: str
    marked: str
    begin: Callable[[World], Hold]
    times: int = LOOKS
    batch: int = 1


# -- port 25, and where mail is handed in -----------------------------------------------------------------------------------


def _seen(probe: Callable[[datetime], Evidence], expected: ProbeClass = ProbeClass.UP) -> Hold:
    def hold() -> str:
        evidence = probe(NOW)
        return "" if evidence.seen is expected else f"{evidence.text}\n{evidence.transcript}"

    return hold


def _through_another_machine(world: World) -> Hold:
    """From there to here, which is one machine in this test."""
    way = SshWay(world.sshd.host("vantage"))
    hold = _seen(world.sender("elsewhere", way=way).probe)

    def hold_some() -> str:
        with way.opened():
            return "".join(hold() for _ in range(BY_ONE_WAY))

    return hold_some


def _certificate(world: World) -> Hold:
    def hold() -> str:
        return certificate_of("localhost", HELO, world.mail.postfix.ports["certificate"]).error

    return hold


def _recipients(world: World) -> Hold:
    def hold() -> str:
        sight = ask_recipients("localhost", [KNOWN_GOOD, KNOWN_GOOD], HELO, port=world.mail.postfix.ports["recipients"])
        return "" if len(sight.accepted) == 2 else repr(sight)

    return hold


def _submission(name: str, *, logs_in: bool = True) -> Callable[[World], Hold]:
    def begin(world: World) -> Hold:
        login = Login(KNOWN_GOOD, str(world.password_file)) if logs_in else None
        return _seen(SubmissionProbe("vps", [world.mail.place(name)], login, HELO).probe)

    return begin


def _canary_is_sent(world: World) -> Hold:
    sender = Sender(world.mail.place("canary"), KNOWN_GOOD, Secret(PASSWORD), helo=HELO)
    message = Canary("vps", "00" * 8, NOW).write(b"k" * 32, SENDER, KNOWN_GOOD)

    def hold() -> str:
        said = sender.send(SENDER, KNOWN_GOOD, message)
        return "" if "queued as" in said else said

    return hold


# -- mailboxes ---------------------------------------------------------------------------------------------------------------


def _imap(*, starttls: bool) -> Callable[[World], Hold]:
    def begin(world: World) -> Hold:
        endpoint = world.starttls if starttls else world.mail.dovecot.endpoint
        return _seen(ImapProbe("vps", endpoint, KNOWN_GOOD, str(world.password_file)).probe)

    return begin


def _room(world: World) -> Hold:
    def hold() -> str:
        sight = look_at_room(world.mail.dovecot.endpoint, KNOWN_GOOD, world.password_file)
        return "" if sight.seen is ProbeClass.UP else sight.text

    return hold


def _canary_is_found(world: World) -> Hold:
    def hold() -> str:
        with CanaryBox(world.mail.dovecot.endpoint, KNOWN_GOOD, Secret(PASSWORD)) as box:
            return "".join(map(repr, box.find(lambda _head: None)))

    return hold


def _pull(world: World) -> Hold:
    """Of a server with layout = "imap": the doctor opens every mailbox, and the pull reads it."""
    logins = {KNOWN_GOOD: MailboxLogin(KNOWN_GOOD, world.password_file)}
    source = LoginSource("vps", world.starttls, lambda: logins, limit=None, mend="")

    def hold() -> str:
        with contextlib.closing(source.open(KNOWN_GOOD)) as box:
            return "" if [folder.name for folder in box.folders()] == ["INBOX"] else "it lists other folders"

    return hold


def _mailbox(world: World) -> Hold:
    """A homecoming that delivers, a restore."""

    def hold() -> str:
        with contextlib.closing(ImapMailbox(world.mail.dovecot.endpoint, KNOWN_GOOD, Secret(PASSWORD))) as box:
            return "" if box.folders() == ("INBOX",) else "it lists other folders"

    return hold


def _rules(world: World) -> Hold:
    endpoint = Endpoint("localhost", world.sieve_port, "starttls", world.mail.dovecot.endpoint.ca_file)

    def hold() -> str:
        return active_script(endpoint, KNOWN_GOOD, Secret(PASSWORD)) or ""

    return hold


# -- SSH ---------------------------------------------------------------------------------------------------------------------


def _server_side(world: World) -> Hold:
    """A pull, a look from inside, the doctor's questions, fail2ban's list: all of them are such a session."""

    def hold() -> str:
        with ServerSession(world.sshd.host(), Reach("")) as session:
            return "" if session.hello["mode"] == "sent" else repr(session.hello)

    return hold


def _way(world: World) -> Hold:
    way = SshWay(world.sshd.host("vantage"))

    def hold() -> str:
        with way.opened():
            return ""

    return hold


LEFT = "quit=1"  # Postfix says at the end what was said; one line a session
OUT = ": Logged out "
IN = "Accepted publickey"
LOOKS_OF = {
    "inbound": Look("adapters/smtp", "mail.log", LEFT, lambda world: _seen(world.sender("good").probe)),
    "inbound without TLS": Look("adapters/smtp", "mail.log", LEFT, lambda world: _seen(world.sender("no-tls").probe)),
    "inbound past postscreen": Look("adapters/smtp", "mail.log", LEFT, lambda world: _seen(world.sender("postscreen").probe)),
    "inbound, greylisted": Look(
        "adapters/smtp", "mail.log", LEFT, lambda world: _seen(world.sender("greylisting").probe, ProbeClass.GREYLISTED)
    ),
    "inbound without a recipient": Look(
        "adapters/smtp", "mail.log", LEFT, lambda world: _seen(world.sender("lying", asks=False).probe)
    ),
    "inbound through another machine": Look(
        "adapters/smtp", "mail.log", LEFT, _through_another_machine, batch=BY_ONE_WAY
    ),
    "its certificate on port 25": Look("adapters/certificates", "mail.log", LEFT, _certificate),
    "recipients": Look("adapters/recipients", "mail.log", LEFT, _recipients),
    "submission with STARTTLS": Look("adapters/submission_probe", "mail.log", LEFT, _submission("submission")),
    "submission with TLS": Look("adapters/submission_probe", "mail.log", LEFT, _submission("submissions")),
    "submission without a login": Look(
        "adapters/submission_probe", "mail.log", LEFT, _submission("submissions", logs_in=False)
    ),
    "a canary is sent": Look("adapters/submission", "mail.log", LEFT, _canary_is_sent),
    "IMAP with TLS": Look("adapters/imap_probe", "dovecot.log", OUT, _imap(starttls=False)),
    "IMAP with STARTTLS": Look("adapters/imap_probe", "dovecot.log", OUT, _imap(starttls=True)),
    "a login and its room": Look("adapters/imap_room", "dovecot.log", OUT, _room),
    "a canary is looked for": Look("adapters/canary_box", "dovecot.log", OUT, _canary_is_found),
    "a pull over IMAP": Look("adapters/imap_login", "dovecot.log", OUT, _pull),
    "a mailbox that is written to": Look("adapters/imap", "dovecot.log", OUT, _mailbox),
    "filter rules": Look("adapters/managesieve", "dovecot.log", OUT, _rules),
    "the server's side": Look("adapters/ssh", "auth.log", IN, _server_side, times=SSH_LOOKS),
    "another machine": Look("adapters/ssh", "auth.log", IN, _way, times=SSH_LOOKS),
}  # fmt: skip
