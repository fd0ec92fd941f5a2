"""The real fail2ban with the filters that it ships, over the real logs of Postfix and Dovecot: the probes are not counted, a naive check is banned."""

from __future__ import annotations

import contextlib
import smtplib
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.checkup.inside import look_at_inside
from failsafe.checkup.server import look_at_server
from failsafe.config.load import parse_config
from failsafe.errors import MailError
from failsafe.failover.health import EvidenceRun
from failsafe.failover.rounds import asks_for_recipient
from failsafe.looks.here import inbound
from failsafe.model import ProbeClass
from tests.contract import fail2ban
from tests.contract.configs import PROBED, domain_table
from tests.contract.mail_servers import KNOWN_GOOD
from tests.contract.sessions import LOOKS_OF, NOW, Look, World, one_machine
from tests.support import wait_until

AT_ONCE = 4
MINUTE = timedelta(minutes=1)
NAIVE = "127.0.66.6"  # where the naive checks come from
MARKER = "203.0.113.9"  # whose failure ends a log: what stands before it has been read then
POSTFIX_MODES = ("normal", "more", "extra", "aggressive")
# name -> (log, filter). docker-mailserver's jails are dovecot (normal), postfix (extra) and postfix-sasl (auth); its fourth, custom, reads no log.
FILTERS = {
    **{f"postfix-{mode}": ("mail.log", f"postfix[mode={mode}]") for mode in (*POSTFIX_MODES, "auth")},
    **{f"dovecot-{mode}": ("dovecot.log", f"dovecot[mode={mode}]") for mode in ("normal", "aggressive")},
    **{f"sshd-{mode}": ("auth.log", f"sshd[mode={mode}]") for mode in ("normal", "ddos", "extra", "aggressive")},
}
# Each filter counts one of these.
FAILURES = {
    "mail.log": (
        "{when:%b %d %H:%M:%S} vm postfix/smtpd[1]: NOQUEUE: reject: RCPT from unknown[{marker}]: 550 5.1.1 <a@example.test>: Recipient address rejected: User unknown in virtual mailbox table; from=<> to=<a@example.test> proto=ESMTP helo=<x>\n",
        "{when:%b %d %H:%M:%S} vm postfix/smtpd[1]: warning: unknown[{marker}]: SASL PLAIN authentication failed: x\n",
    ),
    "dovecot.log": (
        "{when:%b %d %H:%M:%S} imap-login: Info: Disconnected (auth failed, 1 attempts in 2 secs): user=<a>, method=PLAIN, rip={marker}, lip=127.0.0.1, TLS, session=<x>\n",
    ),
    "auth.log": ("{when:%b %d %H:%M:%S} vm sshd[1]: Failed password for root from {marker} port 1 ssh2\n",),
}


@dataclass(frozen=True)
class Watched:
    machine: World
    jails: fail2ban.Fail2ban


def counted(folder: Path, **logs: str) -> dict[str, int]:
    """How many lines of these logs (mail, dovecot, auth) each of their filters counts, by fail2ban's own tool; those that count none are left out.

    More that must be counted stand at the end, so that a filter that reads nothing is found out.
    """
    when = datetime.now().astimezone()  # noqa: TID251 - lines of a log have the machine's own time
    for name, text in logs.items():
        last = "".join(line.format(when=when, marker=MARKER) for line in FAILURES[f"{name}.log"])
        (folder / f"{name}.log").write_text(f"{text.rstrip()}\n{last}")
    chosen = {name: each for name, each in FILTERS.items() if each[0].removesuffix(".log") in logs}
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda each: fail2ban.matches(folder / each[0], each[1]), chosen.values())
        return {name: count - known for (name, count) in zip(chosen, found, strict=True) if count != (known := _markers(name))}


def _markers(name: str) -> int:
    """How many of FAILURES a filter counts: a wrong password is one of Postfix's stricter ones."""
    return 2 if name in ("postfix-extra", "postfix-aggressive") else 1


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    with one_machine() as machine:
        postfix = machine.mail.postfix
        log = postfix.folder / "mail.log"
        jails = [
            fail2ban.Jail("aggressive", "postfix[mode=aggressive]", log, (postfix.ports["good"],)),
            fail2ban.Jail("extra", "postfix[mode=extra]", log, (postfix.ports["no-tls"],)),
        ]
        with fail2ban.running(jails) as server:
            yield Watched(machine, server)


@pytest.fixture(scope="module")
def world(watched: Watched) -> World:
    return watched.machine


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
    watched: Watched, check: Callable[[int], None], jail: str, listener: str
) -> None:
    world = watched.machine
    port = world.mail.postfix.ports[listener]
    for _ in range(6):
        with contextlib.suppress(OSError):  # the ban may come before the last goodbye
            check(port)
    wait_until(lambda: NAIVE in watched.jails.banned(jail), 30, "the naive check is banned", every=0.3)

    wait_until(lambda: is_shut_out(port), 30, "the ban is carried out")  # fail2ban lists an address before it has acted
    assert world.sender(listener).probe(NOW).seen is ProbeClass.UP
    assert "127.0.0.1" not in watched.jails.banned(jail)


def is_shut_out(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1, source_address=(NAIVE, 0)).close()
    except TimeoutError:
        return True
    return False


@pytest.mark.timeout(5400)
def test_no_filter_counts_a_single_line_of_all_that_is_held_with_servers_that_are_well(world: World, tmp_path: Path) -> None:
    logs = ("mail.log", "dovecot.log", "auth.log")
    began = {name: len(world.log(name)) for name in logs}
    wrong: list[str] = []

    def look_often(name: str, look: Look) -> None:
        hold = look.begin(world)
        seen = (hold() for _ in range(look.times // look.batch))
        wrong.extend(f"{name}: {instead}" for instead in seen if instead)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [pool.submit(look_often, *each) for each in LOOKS_OF.items()]:
            done.result()
    assert not wrong, f"{len(wrong)}: {wrong[0]}"

    said = {}
    for log in logs:
        of_it = [look for look in LOOKS_OF.values() if look.log == log]
        wanted, mark = sum(look.times for look in of_it), of_it[0].marked
        said[log.removesuffix(".log")] = wait_until(
            lambda log=log, wanted=wanted, mark=mark: (
                text if (text := world.log(log)[began[log] :]).count(mark) >= wanted else ""
            ),  # type: ignore[misc]
            60,
            f"all of it is in {log}",
        )
    assert counted(tmp_path, **said) == {}


def test_a_bad_certificate_is_counted_once_by_the_strictest_filter_and_by_no_other(world: World, tmp_path: Path) -> None:
    probe = world.sender("other-name")
    looks = [probe.probe(NOW) for _ in range(20)]

    assert {look.seen for look in looks} == {ProbeClass.UP}
    assert counted(tmp_path, mail=log_of(world, "other-name", 20)) == {"postfix-aggressive": 1}


def test_a_doctor_adds_no_broken_handshake_to_those_of_the_look(world: World, tmp_path: Path) -> None:
    target = world.mail.postfix.target("expired")
    text = (
        PROBED.format(folder=tmp_path, line=1, smtp=1, every="60s")
        .replace("127.0.0.1:1", target)
        .replace("failsafe-probe@example.org", KNOWN_GOOD)
    )
    text += f'ca_file = "{world.mail.postfix.certificates.authority}"' + domain_table("example.org")
    app = App(parse_config(text.encode(), "failsafe.toml"), tmp_path / "failsafe.toml")
    app.history.record(next(inbound(app, "vps")).see(NOW), MINUTE)
    for day in range(7):
        seen = look_at_inside(app, "vps", NOW + timedelta(days=day))
        assert seen.shown is not None
        assert "expired" in seen.shown.tls
    app.store.close()

    assert counted(tmp_path, mail=log_of(world, "expired", 8)) == {"postfix-aggressive": 1}


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
    counts = counted(tmp_path, mail=log_of(world, "lying", looks))
    assert counts == {f"postfix-{mode}": 5 for mode in POSTFIX_MODES}


def test_a_master_password_that_is_wrong_is_counted_twice_in_a_week_of_pulls_and_doctors(world: World, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.touch(0o600)
    wrong.write_text("not the password")
    box = world.mail.dovecot
    mailboxes = [f"user{number}@example.test" for number in range(10)]
    text = f"""
[controller]
id = "nas"
state_dir = "{tmp_path}/state"
[mail_server.vps]
layout = "imap"
imap = {{ host = "localhost", port = {box.port}, tls = "implicit", ca_file = "{box.endpoint.ca_file}", master_user = "admin", password_file = "{wrong}" }}
mailboxes = {mailboxes}
"""
    app = App(parse_config(text.encode(), "failsafe.toml"), tmp_path / "failsafe.toml")
    began = len(world.mail.dovecot_log())
    for _day in range(7):
        assert len(look_at_server(app, "vps").closed) == 10
        source = app.mail_source("vps")
        assert source is not None
        for mailbox in mailboxes:  # as a pull does
            with pytest.raises(MailError):
                source.open(mailbox)
    app.store.close()

    said = wait_until(
        lambda: text if (text := world.mail.dovecot_log()[began:]).count("auth failed") >= 2 else "", 30, "it is in the log"
    )
    assert counted(tmp_path, dovecot=said) == {"dovecot-normal": 2, "dovecot-aggressive": 2}


def log_of(world: World, listener: str, sessions: int) -> str:
    """What Postfix has logged of one listener, when all its sessions are there."""
    postfix = world.mail.postfix
    return wait_until(
        lambda: log if (log := postfix.log_of(listener)).count("quit=1") >= sessions else "", 30, "it is in the log"
    )
