"""Canaries through a real submission, queue, LMTP and IMAP: they arrive, are removed, are late, are lost; what could not be sent says nothing."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.canaries import canary_key, read_book
from failsafe.clock import SystemClock
from failsafe.config.load import parse_config
from failsafe.failover.canary import CanaryBook
from failsafe.looks.canary import CanaryLook
from failsafe.looks.inside import Inside
from failsafe.mail.canary import Canary
from failsafe.model import DomainState, Evidence, ProbeClass, Side, Sign
from failsafe.store.journal import Journal
from tests.contract.canary_world import PROBE, SENDER, CanaryWorld, world
from tests.contract.configs import MAIL_HERE, domain_table
from tests.ports import free_port
from tests.support import wait_until

__all__ = ["world"]

STRANGER = b"From: x@example.net\r\nX-Failsafe-Canary: 1 vps 0123456789abcdef 1796000000 " + b"0" * 64 + b"\r\n\r\nfeigned\r\n"


class Watcher:
    """A controller of its own, whose clock the test moves."""

    def __init__(self, folder: Path, world: CanaryWorld, *, user: str = SENDER, mailbox: str = PROBE, more: str = "") -> None:
        (folder / "state").mkdir(mode=0o700)
        (folder / "mail").mkdir()
        text = f"""{MAIL_HERE.format(folder=folder)}
[probe.vps]
recipient = "{PROBE}"
imap = {{ host = "localhost", port = {world.imaps}, tls = "implicit", ca_file = "{world.certificates.authority}", user = "{mailbox}", password_file = "{world.password}" }}
[canary.vps]
smtp = "localhost:{world.submission}"
ca_file = "{world.certificates.authority}"
user = "{user}"
password_file = "{world.password}"
from = "{SENDER}"
to = "{PROBE}"
{more}
"""
        self.app = App(parse_config(text.encode(), "failsafe.toml"), folder / "failsafe.toml")
        self.now = SystemClock().now()
        self.look = CanaryLook(self.app, "vps")

    def sees(self, *, minutes: float = 0) -> Evidence:
        self.now += timedelta(minutes=minutes)
        return self.look.see(self.now)

    def book(self) -> CanaryBook:
        return read_book(self.app.state_dir, "vps")


@pytest.fixture
def watcher(world: CanaryWorld, tmp_path: Path) -> Watcher:
    world.deliver()
    world.empty_queue()
    for file in world.mails():
        file.unlink()
    return Watcher(tmp_path, world)


def test_a_canary_is_found_timed_and_removed_and_nothing_else_is(world: CanaryWorld, watcher: Watcher) -> None:
    for sub in ("new", "cur", "tmp"):
        (world.mailbox / sub).mkdir(parents=True, exist_ok=True)
        os.chown(world.mailbox / sub, 5000, 5000)
    os.chown(world.mailbox, 5000, 5000)
    feigned = world.mailbox / "new" / "1.feigned.host"
    feigned.write_bytes(STRANGER)
    os.chown(feigned, 5000, 5000)

    first = watcher.sees()
    wait_until(lambda: len(world.mails()) == 2, 30, "the canary arrives")
    second = watcher.sees(minutes=5)

    assert (first.seen, second.seen) == (ProbeClass.UNKNOWN, ProbeClass.UP), (first.text, second.text)
    assert [file.name.split(":")[0] for file in world.mails()] == [feigned.name], "a stranger's message with our header stays"
    row = watcher.app.vitals.newest("vps", "canary")
    assert row is not None and 0 <= row.numbers["seconds"] < 60
    key = watcher.app.state_dir / "canary.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_canaries_that_are_accepted_and_vanish_are_lost_delivery(world: CanaryWorld, watcher: Watcher) -> None:
    watcher.sees()
    wait_until(world.mails, 30, "the first canary arrives")
    world.lose()

    seen = [watcher.sees(minutes=5).seen for _ in range(10)]  # sent at 15 and 30 minutes; the first is overdue at 45

    assert seen[:8] == [ProbeClass.UP] * 8
    assert seen[9] is ProbeClass.DOWN
    world.deliver()
    watcher.sees(minutes=15)
    wait_until(world.mails, 30, "a canary arrives again")
    assert watcher.sees(minutes=5).seen is ProbeClass.UP
    assert read_book(watcher.app.state_dir, "vps").lost == 2  # the third may still come


def test_where_the_third_party_refuses_the_login_nothing_is_said_of_the_primary_and_it_is_not_tried_again_at_once(
    world: CanaryWorld, watcher: Watcher, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Watcher(tmp_path / "other", world, user="nobody@third.example")

    evidence = other.sees()

    assert evidence.seen is ProbeClass.UNKNOWN
    assert evidence.signs == {Sign.LOGIN_REFUSED}, evidence.text
    assert "correct horse" not in evidence.text


def test_a_canary_that_waits_in_the_queue_is_late_there_and_not_lost(
    world: CanaryWorld, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_CONFIG", str(world.folder))
    logs = watcher.app.state_dir.parent / "mail-logs"  # where docker-mailserver has it, beside the mail
    logs.mkdir()
    (logs / "mail.log").symlink_to(world.folder / "mail.log")
    inside = Inside(watcher.app, "vps", timedelta(minutes=5))
    watcher.sees()
    wait_until(world.mails, 30, "the first canary arrives")
    assert inside.delivery(watcher.now).seen is ProbeClass.UP
    world.hold()
    for _ in range(10):
        watcher.sees(minutes=5)
    wait_until(lambda: "deferred" in world.queue(), 30, "the canaries wait in the queue")

    assert watcher.sees().seen is ProbeClass.DOWN, "the canary alone cannot know"
    waits = inside.delivery(watcher.now)
    assert waits.seen is ProbeClass.DEGRADED, waits.text
    assert "own delivery (connect to" in waits.text
    assert "safe in the queue" in waits.text
    assert PROBE not in waits.text

    world.empty_queue()
    gone = inside.delivery(watcher.now + timedelta(minutes=10))
    assert gone.seen is ProbeClass.DOWN, gone.text


def test_the_key_is_made_once_and_recognises_what_was_sealed_before(watcher: Watcher) -> None:
    watcher.sees()
    key = canary_key(watcher.app.state_dir)
    assert key is not None
    at = datetime.fromisoformat("2026-11-22T12:00:00+00:00")

    from failsafe.mail.canary import read_canary

    canary = Canary("vps", "0123456789abcdef", at)
    assert read_canary(canary.write(key, SENDER, PROBE), key) == canary
    assert read_canary(canary.write(b"x" * 32, SENDER, PROBE), key) is None


def away(watcher: Watcher) -> None:
    """Mail of the canary's domain goes to the secondary."""
    journal = Journal(watcher.app.store, watcher.app.leases.acquire("nas", watcher.now))
    record = journal.load("example.org", watcher.now)
    journal.change(record, replace(record, state=DomainState.FAILED_OVER, serving=Side.SECONDARY), [])


def test_during_a_failover_it_is_looked_for_at_the_secondary_and_says_nothing_of_the_primary(
    world: CanaryWorld, watcher: Watcher, tmp_path: Path
) -> None:
    account = f'{{ mailbox = "{PROBE}", user = "{PROBE}", password_file = "{world.password}" }}'
    home = f"""{domain_table("example.org")}
[domain."example.org".homecoming]
host = "localhost"
port = {world.imaps}
tls = "implicit"
ca_file = "{world.certificates.authority}"
accounts = [{account}]
"""
    (tmp_path / "other").mkdir()
    other = Watcher(tmp_path / "other", world, mailbox=SENDER, more=home)  # the primary's mailbox is another one, and stays empty
    away(other)

    assert other.sees().seen is ProbeClass.UNKNOWN
    wait_until(world.mails, 30, "the canary arrives at the secondary")
    evidence = other.sees(minutes=5)

    assert evidence.seen is ProbeClass.UNKNOWN
    assert f"arrived at localhost:{world.imaps}" in evidence.text, evidence.text
    assert world.mails() == []
    row = other.app.vitals.newest("vps", "canary")
    assert row is not None and row.numbers["place"] == f"localhost:{world.imaps}"


def test_during_a_failover_without_an_account_at_the_secondary_that_is_said_and_nothing_counts_as_lost(
    world: CanaryWorld, watcher: Watcher, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Watcher(tmp_path / "other", world, mailbox=SENDER, more=domain_table("example.org"))
    away(other)

    texts = {other.sees(minutes=15).text for _ in range(4)}

    assert len(texts) == 1
    assert "not looked for" in texts.pop()
    assert len(read_book(other.app.state_dir, "vps").sent) <= 1


def test_a_canary_that_turns_up_at_the_primary_meanwhile_is_told_as_up(
    world: CanaryWorld, watcher: Watcher, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Watcher(tmp_path / "other", world, more=domain_table("example.org"))
    other.sees()
    away(other)
    wait_until(world.mails, 30, "a late canary arrives at the primary")

    evidence = other.sees(minutes=5)

    assert evidence.seen is ProbeClass.UP, evidence.text


def test_a_canary_at_the_primary_is_told_as_up_though_the_secondary_s_mailbox_cannot_be_read(
    world: CanaryWorld, watcher: Watcher, tmp_path: Path
) -> None:
    account = f'{{ mailbox = "{PROBE}", user = "{PROBE}", password_file = "{world.password}" }}'
    home = f"""{domain_table("example.org")}
[domain."example.org".homecoming]
host = "localhost"
port = {free_port()}
accounts = [{account}]
"""
    (tmp_path / "other").mkdir()
    other = Watcher(tmp_path / "other", world, more=home)
    other.sees()
    away(other)
    wait_until(world.mails, 30, "a late canary arrives at the primary")

    evidence = other.sees(minutes=5)

    assert evidence.seen is ProbeClass.UP, evidence.text
    assert "cannot be read" in evidence.text
    assert other.sees(minutes=5).seen is ProbeClass.UNKNOWN  # it was told once; of later ones nobody knows


def test_a_controller_that_does_not_lead_sends_none_and_says_nothing(world: CanaryWorld, watcher: Watcher) -> None:
    watcher.sees()
    assert watcher.book().sent
    watcher.app.history.following = True

    evidence = watcher.sees(minutes=60)

    assert evidence.seen is ProbeClass.UNKNOWN
    assert "another controller leads" in evidence.text
    assert not watcher.book().sent, "what was under way says nothing when this one leads again"
    watcher.app.history.following = False
    assert watcher.sees(minutes=60).seen is not ProbeClass.DOWN
