"""limit_download and limit_upload: every byte counted against the time that the pacing asked for, with a clock that only waiting moves."""

from __future__ import annotations

import os
import shutil
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from failsafe.adapters import imap_line, pace
from failsafe.adapters.imap import ImapMailbox
from failsafe.adapters.imap_line import Meter
from failsafe.adapters.imap_login import DoveadmSource, Login, LoginSource
from failsafe.adapters.ssh import SshHost
from failsafe.app import App
from failsafe.backup.pull import PullOptions, pull
from failsafe.backups import back_up
from failsafe.clock import SystemClock
from failsafe.config.load import load_config
from failsafe.secrets import Secret
from tests.contract.conftest import Sshd
from tests.contract.dovecot import PASSWORD, Dovecot, running
from tests.contract.imapstore import DATE, ImapStore, message
from tests.contract.mailstore import Silent, Store
from tests.contract.restics import put_empty_repository

DOWN, UP = 100_000, 20_000  # bytes a second
USERS = ["a@example.org", "b@example.org"]


class Waits:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Waits:
    made = Waits()
    for module in (pace, imap_line):
        monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=made.monotonic, sleep=made.sleep))
    return made


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with running(USERS, store="mdbox") as dovecot:
        yield dovecot


def limited(sshd: Sshd, **limits: float) -> SshHost:
    return SshHost("vps", sshd.address, key=sshd.key, known_hosts=sshd.known_hosts, **limits)  # type: ignore[arg-type]


# ---------------------------------------------------------------- SSH


def test_what_comes_over_ssh_is_paced(sshd: Sshd, clock: Waits) -> None:
    channel = limited(sshd, limit_download=DOWN).open(["head", "-c", "500000", "/dev/zero"])
    received = 0
    while data := channel.receive(65536):
        received += len(data)
        assert received <= DOWN * clock.now + 1
    assert received == 500_000
    channel.close()


def test_what_goes_over_ssh_is_paced(sshd: Sshd, clock: Waits) -> None:
    channel = limited(sshd, limit_upload=UP).open(["sh", "-c", "head -c 300000 | wc -c"])
    channel.send(bytes(300_000))
    assert clock.now == pytest.approx(300_000 / UP)
    assert channel.receive(100).strip() == b"300000"
    channel.close()


def test_a_pull_of_files_over_ssh_takes_the_time_that_its_bytes_need(sshd: Sshd, tmp_path: Path, clock: Waits) -> None:
    store = Store(tmp_path)
    store.fill("anna@example.org", "", 20, size=30_000)
    store.calm()
    host = limited(sshd, limit_download=DOWN)
    with store.open_staging() as staging, store.open_inventory() as inventory:
        report = pull(host, staging, inventory, PullOptions("vps", str(store.root)), SystemClock(), Silent())
    assert report.bytes_pulled > 600_000
    assert clock.now == pytest.approx(report.bytes_pulled / DOWN, rel=0.02)


# ---------------------------------------------------------------- IMAP


def fill(server: Dovecot, mailbox: str) -> None:
    box = server.open(mailbox)
    for number in range(10):
        box.append("INBOX", message(f"{mailbox} {number}", os.urandom(25_000).hex().encode()), frozenset(), DATE)
    box.close()


def test_a_pull_over_imap_takes_the_time_that_its_bytes_need(server: Dovecot, tmp_path: Path, clock: Waits) -> None:
    for mailbox in USERS:
        fill(server, mailbox)
    began = clock.now
    store = ImapStore(tmp_path, server, tuple(USERS))
    logins = {mailbox: Login(mailbox, tmp_path / "imap.password") for mailbox in USERS}
    report = store.pull(LoginSource("vps", server.endpoint, lambda: logins, limit=DOWN, mend=""))
    assert report.bytes_pulled > 1_000_000
    assert clock.now - began == pytest.approx(report.bytes_pulled / DOWN, rel=0.02)


def test_imap_over_ssh_is_held_to_the_limit_of_its_channel(server: Dovecot, sshd: Sshd, tmp_path: Path, clock: Waits) -> None:
    fill(server, USERS[0])
    prefix = ("sh", "-c", f'exec doveadm -c {server.folder}/dovecot.conf "$@"')
    source = DoveadmSource(limited(sshd, limit_download=DOWN), prefix, USERS[:1])
    report = ImapStore(tmp_path, server, (USERS[0],)).pull(source)
    assert report.bytes_pulled > 500_000
    assert clock.now >= report.bytes_pulled / DOWN * 0.98


def test_a_message_that_is_put_back_over_imap_is_paced_and_its_answer_is_waited_for_all_the_same(
    server: Dovecot, clock: Waits
) -> None:
    """It takes longer than any answer may."""
    meter = Meter(limit_upload=UP)
    box = ImapMailbox(server.endpoint, USERS[0], Secret(PASSWORD), meter=meter)
    big = message("large", b"x" * 4_000_000)
    uid = box.append("INBOX", big, frozenset(), DATE)
    assert meter.sent > 4_000_000
    assert clock.now == pytest.approx(meter.sent / UP, rel=0.02)
    assert dict(box.fetch("INBOX", {one.uid: one for one in box.messages("INBOX")}))[uid] == big
    box.close()


# ---------------------------------------------------------------- restic, and all of them together

CONFIG = """
[controller]
id = "nas"
state_dir = "{folder}/state"
limit_download = "1 MB/s"
limit_upload = "4 MB/s"
[mail_server.vps]
layout = "maildir"
path = "{folder}/mail"
[repository.near]
url = "{folder}/near"
password_file = "{folder}/password"
"""
FAR = """
[repository.{name}]
url = "sftp://{user}@127.0.0.1:{port}/{folder}/{name}"
password_file = "{folder}/password"
ssh_key = "{key}"
known_hosts = "{known_hosts}"
{more}
"""


@pytest.fixture
def app(tmp_path: Path, sshd: Sshd) -> Iterator[App]:
    text = CONFIG.format(folder=tmp_path)
    for name, more in (("east", ""), ("own", 'limit_upload = "500 KB/s"')):
        place = {"user": sshd.user, "port": sshd.port, "key": sshd.key, "known_hosts": sshd.known_hosts}
        text += FAR.format(name=name, folder=tmp_path, more=more, **place)
        put_empty_repository(tmp_path / name, PASSWORD)
    put_empty_repository(tmp_path / "near", PASSWORD)
    (tmp_path / "password").touch(mode=0o600)
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "failsafe.toml").write_text(text)
    made = App(load_config(tmp_path / "failsafe.toml"), tmp_path / "failsafe.toml")
    yield made
    made.store.close()


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A restic that notes where it works and with which words, and then is restic."""
    (tmp_path / "bin").mkdir()
    program, log = tmp_path / "bin" / "restic", tmp_path / "told"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$RESTIC_REPOSITORY $*" >> {log}\nexec {shutil.which("restic")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return log


def limits_of(log: Path, name: str, option: str) -> set[int]:
    """In KiB a second, of every `restic backup` on this repository. (Staging was empty: they were asked for a snapshot first, one by one.)"""
    mine = [
        words for line in log.read_text().splitlines() if (words := line.split())[0].endswith(f"/{name}") and "backup" in words
    ]
    assert mine
    return {int(word.partition("=")[2]) for words in mine for word in words if word.startswith(f"--limit-{option}=")}


def test_restic_is_told_a_share_of_the_lines_limit_and_a_folder_on_this_machine_is_on_no_line(app: App, told: Path) -> None:
    store = Store(Path(app.state_dir).parent)
    store.fill("anna@example.org", "", 3)
    store.calm()
    report = back_up(app, "vps", Silent(), lambda _text: None, by_hand=True)
    assert [one.trouble for one in report.snapshots] == [None] * 3
    shares = {name: limits_of(told, name, "upload") for name in ("near", "east", "own")}
    assert shares == {"near": set(), "east": {4_000_000 // 2 // 1024}, "own": {500_000 // 1024}}
    assert sum(sum(each) for each in shares.values()) * 1024 <= 4_000_000
    assert [limits_of(told, name, "download") for name in ("east", "own")] == [{1_000_000 // 2 // 1024}] * 2
    assert limits_of(told, "near", "download") == set()


def test_a_restore_has_the_whole_line(app: App) -> None:
    access = app.repository("east", alone=True)._driver.access
    assert (access.limit_download, access.limit_upload) == (1_000_000, 4_000_000)


def test_what_reads_a_mail_server_is_given_the_limits(app: App) -> None:
    text = app.config_file.read_text().replace('path = "', 'ssh = "root@mail.example.org"\npath = "', 1)
    app.config_file.write_text(text)
    host = App(load_config(app.config_file), app.config_file).mail_host("vps")
    assert isinstance(host, SshHost)
    assert (host.limit_download, host.limit_upload) == (1_000_000, 4_000_000)
