"""The real fail2ban with the filters that it ships, over the real logs of Postfix and Dovecot: the probes are not counted, a naive check is banned."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import smtplib
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.adapters.imap_probe import ImapProbe
from failsafe.adapters.smtp import SmtpProbe
from failsafe.adapters.submission_probe import Login, SubmissionProbe
from failsafe.failover.health import EvidenceRun
from failsafe.failover.rounds import asks_for_recipient, quiet_until
from failsafe.model import Endpoint, Evidence, ProbeClass
from tests.contract import fail2ban
from tests.contract.mail_servers import KNOWN_GOOD, PASSWORD, Postfix
from tests.contract.submission import PORTS, Submission, running
from tests.support import wait_until

LOOKS = 2000 if os.environ.get("FAILSAFE_ALL") else 100  # of each probe
AT_ONCE = 4
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HELO = "nas.example.net"
NAIVE = "127.0.66.6"  # where the naive checks come from
MARKER = "203.0.113.9"  # whose failure ends a log: what stands before it has been read then
POSTFIX_MODES = ("normal", "more", "extra", "aggressive")
# name -> (log, filter)
FILTERS = {
    **{f"postfix-{mode}": ("mail.log", f"postfix[mode={mode}]") for mode in POSTFIX_MODES},
    **{f"dovecot-{mode}": ("dovecot.log", f"dovecot[mode={mode}]") for mode in ("normal", "aggressive")},
}
NONE = dict.fromkeys(FILTERS, 0)
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
}
BLOCKING = {
    "good": ("smtpd_client_restrictions=reject_rbl_client dnsbl.test",),
    "screen": ("service=postscreen", "postscreen_cache_map=", "postscreen_dnsbl_sites=dnsbl.test", "postscreen_dnsbl_action=enforce"),
}  # fmt: skip
BLOCK_LIST = """\
server:
    interface: 127.0.53.77@53
    do-ip6: no
    do-daemonize: no
    access-control: 127.0.0.0/8 allow
    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    use-syslog: no
    module-config: "iterator"
    local-zone: "test." static
    local-data: "1.0.0.127.dnsbl.test. A 127.0.0.2"
    local-zone: "." refuse
"""
FAILURES = {
    "mail.log": "{when:%b %d %H:%M:%S} vm postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown[{marker}]: 550 5.1.1 <a@example.test>: Recipient address rejected: User unknown in virtual mailbox table; from=<> to=<a@example.test> proto=ESMTP helo=<x>\n",
    "dovecot.log": "{when:%b %d %H:%M:%S} imap-login: Info: Disconnected (auth failed, 1 attempts in 2 secs): user=<a>, method=PLAIN, rip={marker}, lip=127.0.0.1, TLS, session=<x>\n",
}


@dataclass(frozen=True)
class World:
    mail: Submission
    jails: fail2ban.Fail2ban
    password_file: str

    def sender(self, listener: str) -> SmtpProbe:
        authority = str(self.mail.postfix.certificates.authority)
        return SmtpProbe("vps", [self.mail.postfix.target(listener)], KNOWN_GOOD, HELO, ca_file=authority)


def counted(folder: Path, *, postfix: str = "", dovecot: str = "") -> dict[str, int]:
    """How many lines of these logs each filter counts, by fail2ban's own tool. One more stands at the end, so that a filter that reads nothing is found out."""
    when = datetime.now().astimezone()  # noqa: TID251 - lines of a log have the machine's own time
    for name, text in (("mail.log", postfix), ("dovecot.log", dovecot)):
        (folder / name).write_text(f"{text.rstrip()}\n" + FAILURES[name].format(when=when, marker=MARKER))
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda each: matches(folder / each[0], each[1]), FILTERS.values())
        return {name: count - 1 for name, count in zip(FILTERS, found, strict=True)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    password = tmp_path_factory.mktemp("fail2ban") / "password"
    password.touch(0o600)
    password.write_text(PASSWORD)
    with running(LISTENERS) as mail:
        postfix = mail.postfix.folder / "mail.log"
        jails = [
            fail2ban.Jail("aggressive", "postfix[mode=aggressive]", postfix, (mail.postfix.ports["good"],)),
            fail2ban.Jail("extra", "postfix[mode=extra]", postfix, (mail.postfix.ports["no-tls"],)),
        ]
        with fail2ban.running(jails) as server:
            yield World(mail, server, str(password))


def connect_and_leave(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 10, source_address=(NAIVE, 0)) as connection:
        connection.recv(100)


def ask_for_nobody(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, "nas", 10, source_address=(NAIVE, 0)) as server:
        server.ehlo()
        server.mail("")
        server.rcpt("nobody-here@example.test")


@pytest.mark.parametrize(
    ("check", "jail", "listener"), [(connect_and_leave, "aggressive", "good"), (ask_for_nobody, "extra", "no-tls")]
)
def test_a_naive_check_beside_it_is_banned_and_the_probe_is_not(
    world: World, check: Callable[[int], None], jail: str, listener: str
) -> None:
    port = world.mail.postfix.ports[listener]
    for _ in range(6):
        with contextlib.suppress(OSError):  # the ban may come before the last goodbye
            check(port)
    wait_until(lambda: NAIVE in world.jails.banned(jail), 30, "the naive check is banned", every=0.3)

    wait_until(lambda: is_shut_out(port), 30, "the ban is carried out")  # fail2ban lists an address before it has acted
    assert world.sender(listener).probe(NOW).seen is ProbeClass.UP
    assert "127.0.0.1" not in world.jails.banned(jail)


def is_shut_out(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1, source_address=(NAIVE, 0)).close()
    except TimeoutError:
        return True
    return False


def looks_of(world: World) -> dict[str, tuple[Callable[[datetime], Evidence], ProbeClass]]:
    """Every way in which a server is looked at, with what is seen of one that is well."""
    login = Login(KNOWN_GOOD, world.password_file)
    mailbox = world.mail.dovecot
    starttls = Endpoint("localhost", mailbox.plain, "starttls", mailbox.endpoint.ca_file)
    up = ProbeClass.UP
    return {
        "inbound": (world.sender("good").probe, up),
        "inbound without TLS": (world.sender("no-tls").probe, up),
        "inbound past postscreen": (world.sender("postscreen").probe, up),
        "inbound, greylisted": (world.sender("greylisting").probe, ProbeClass.GREYLISTED),
        "submission with STARTTLS": (SubmissionProbe("vps", [world.mail.place("submission")], login, HELO).probe, up),
        "submission with TLS": (SubmissionProbe("vps", [world.mail.place("submissions")], login, HELO).probe, up),
        "IMAP with TLS": (ImapProbe("vps", mailbox.endpoint, KNOWN_GOOD, world.password_file).probe, up),
        "IMAP with STARTTLS": (ImapProbe("vps", starttls, KNOWN_GOOD, world.password_file).probe, up),
    }


@pytest.mark.timeout(2400)
def test_no_filter_counts_a_single_line_of_all_the_probes(world: World, tmp_path: Path) -> None:
    postfix, dovecot = len(world.mail.log()), len(world.mail.dovecot_log())
    wrong: list[Evidence] = []

    def look_often(probe: Callable[[datetime], Evidence], expected: ProbeClass) -> None:
        wrong.extend(evidence for _ in range(LOOKS) if (evidence := probe(NOW)).seen is not expected)

    looks = looks_of(world)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(look_often, *each) for each in looks.values()]:
            done.result()
    assert not wrong, f"{len(wrong)}: {wrong[0].text}\n{wrong[0].transcript}"

    senders = sum(not name.startswith("IMAP") for name in looks)
    said = wait_until(
        lambda: text if (text := world.mail.log()[postfix:]).count("quit=1") >= LOOKS * senders else "",
        60,
        "Postfix has logged it",
    )
    read = wait_until(
        lambda: text if (text := world.mail.dovecot_log()[dovecot:]).count("Logged out") >= LOOKS * 2 else "", 60, "Dovecot has"
    )
    assert counted(tmp_path, postfix=said, dovecot=read) == NONE


def test_a_bad_certificate_is_counted_once_by_the_strictest_filter_and_by_no_other(world: World, tmp_path: Path) -> None:
    probe = world.sender("other-name")
    looks = [probe.probe(NOW) for _ in range(20)]

    assert {look.seen for look in looks} == {ProbeClass.UP}
    assert counted(tmp_path, postfix=log_of(world, "other-name", 20)) == {**NONE, "postfix-aggressive": 1}


def test_a_recipient_that_is_refused_all_week_is_counted_five_times(world: World, tmp_path: Path) -> None:
    """A look every ten minutes, as looks/sparing.py makes them; docker-mailserver bans for a week at the sixth line."""
    probe, interval = world.sender("lying"), 10 * MINUTE
    run, at, asks, looks = EvidenceRun.of(probe.probe(NOW)), NOW, 1, 1
    while at < NOW + timedelta(days=7) - interval:
        at += interval
        asked = asks_for_recipient(run, at, interval, 30 * MINUTE)
        evidence = run.evidence
        if asked or looks < 30:  # the others end before the recipient, each like the one before
            evidence, looks = probe.probe(at, None if asked else run.evidence), looks + 1
        asks += asked
        run = EvidenceRun(evidence, NOW, at, run.count + 1)
        assert evidence.seen is ProbeClass.LYING

    assert asks == 5
    counts = counted(tmp_path, postfix=log_of(world, "lying", looks))
    assert counts == {**NONE, **{f"postfix-{mode}": 5 for mode in POSTFIX_MODES}}


def log_of(world: World, listener: str, sessions: int) -> str:
    """What Postfix has logged of one listener, when all its sessions are there."""
    postfix = world.mail.postfix
    return wait_until(
        lambda: log if (log := postfix.log_of(listener)).count("quit=1") >= sessions else "", 30, "it is in the log"
    )


# -- on a block list ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def blocking() -> Iterator[Postfix]:
    """A Postfix whose own resolver knows a block list, with this machine on it; smtpd asks it at one port, postscreen at another."""
    if fail2ban.missing_fail2ban():
        pytest.skip(fail2ban.missing_fail2ban())
    folder = Path(tempfile.mkdtemp(prefix="failsafe-blocking-"))
    folder.chmod(0o755)
    server = Postfix(folder, BLOCKING)
    (folder / "unbound.conf").write_text(BLOCK_LIST.format(folder=folder))
    (folder / "resolv.conf").write_text("nameserver 127.0.53.77\noptions timeout:2 attempts:2\n")
    server.inside = ("unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(folder / "resolv.conf"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        log = stack.enter_context((folder / "unbound.log").open("wb"))
        words = ["unbound", "-d", "-c", str(folder / "unbound.conf")]
        stack.callback(stack.enter_context(subprocess.Popen(words, stdout=log, stderr=log)).terminate)
        stack.callback(server.stop)
        server.start()
        yield server


@pytest.mark.parametrize("listener", ["good", "screen"])
def test_a_prober_on_a_block_list_stops_before_the_thresholds(blocking: Postfix, listener: str) -> None:
    """Two weeks of minutes, looked at when rounds.py lets it; in truth it takes a second, so all of it lies within fail2ban's week."""
    probe = SmtpProbe("vps", [blocking.target(listener)], KNOWN_GOOD, HELO, ca_file=str(blocking.certificates.authority))
    history: list[EvidenceRun] = []
    for minute in range(14 * 24 * 60):
        at = NOW + minute * MINUTE
        if quiet_until(history, at) is None:
            history.append(EvidenceRun.of(probe.probe(at)))

    def logged() -> str:
        text = blocking.log_of(listener)
        return text if text.count("blocked using") >= len(history) else ""

    log = blocking.folder / f"{listener}.log"
    log.write_text(wait_until(logged, 30, "every refusal is in the log") + "\n")
    assert {run.evidence.seen for run in history} == {ProbeClass.PROBE_BLOCKED}, history[0].evidence.text
    assert len(history) == 4
    for mode in POSTFIX_MODES:
        assert 1 <= matches(log, f"postfix[mode={mode}]") < 6, mode


def matches(log: Path, chosen: str) -> int:
    """How many lines fail2ban's own tool counts."""
    words = ["fail2ban-regex", "--usedns=no", "--print-no-missed", str(log), chosen]
    outcome = subprocess.run(words, capture_output=True, text=True, timeout=1200, check=False)
    found = re.search(r"(\d+) matched", outcome.stdout)
    assert found, outcome.stdout + outcome.stderr
    return int(found[1])
