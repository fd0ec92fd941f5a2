"""A real fail2ban is asked, through the program on the mail server, whether it bans us; only asked, never changed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from failsafe.adapters.local import LocalHost
from failsafe.backup.protocol import ServerSession
from failsafe.backup.reach import Reach
from failsafe.failover.bans import MAILCOW_BANS, BanList, parse_bans
from tests.contract.fail2ban import SETTINGS as OF_THE_PROGRAM
from tests.support import wait_until

HOME, VPS2 = "203.0.113.7", "198.51.100.3"
SETTINGS = {
    "fail2ban.conf": OF_THE_PROGRAM,
    "jail.conf": """
[DEFAULT]
ignoreip = 127.0.0.1/8 ::1 192.0.2.0/24
bantime = 1w
findtime = 1w
maxretry = 6
backend = polling
filter = nothing
logpath = {folder}/mail.log
action =
[postfix]
enabled = true
[dovecot]
enabled = true
ignoreip =
""",
    "filter.d/nothing.conf": "[Definition]\nfailregex = ^bad <HOST>$\n",
}


@dataclass
class Fail2ban:
    """A private one; `tools` is a folder for PATH in which its client knows where it is, and a `docker` that runs what it is told."""

    folder: Path
    program: str

    @property
    def tools(self) -> Path:
        return self.folder / "tools"

    def client(self, *words: str) -> str:
        done = subprocess.run([self.tools / "fail2ban-client", *words], capture_output=True, text=True, timeout=30, check=True)
        return done.stdout

    def start(self) -> None:
        for name, text in SETTINGS.items():
            file = self.folder / "settings" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.format(folder=self.folder))
        (self.folder / "settings" / "action.d").mkdir()
        (self.folder / "mail.log").touch()
        self._tool(
            "fail2ban-client", f'exec {self.program} -c {self.folder}/settings -s {self.folder}/socket -p {self.folder}/pid "$@"'
        )
        self._tool(
            "docker",
            f'[ "$1 $2" = "exec mailserver" ] || {{ echo "No such container: $2" >&2; exit 1; }}; shift 2; echo "$@" >> {self.folder}/calls; exec "$@"',
        )
        with (self.folder / "started").open("w") as log:
            subprocess.run([self.tools / "fail2ban-client", "start"], stdout=log, stderr=log, timeout=60, check=True)
        wait_until(lambda: "pong" in self.client("ping"), 30, "fail2ban answers")

    def _tool(self, name: str, script: str) -> None:
        file = self.tools / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)


@pytest.fixture(scope="module")
def fail2ban(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fail2ban]:
    program = shutil.which("fail2ban-client", path="/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("fail2ban is not installed (Debian: fail2ban)")
    server = Fail2ban(tmp_path_factory.mktemp("fail2ban"), program)
    server.start()
    yield server
    server.client("stop")


@pytest.fixture
def asked(fail2ban: Fail2ban, monkeypatch: pytest.MonkeyPatch) -> Fail2ban:
    """As if we had come over SSH from our home."""
    monkeypatch.setenv("PATH", f"{fail2ban.tools}:/usr/bin:/bin")
    monkeypatch.setenv("SSH_CONNECTION", f"{HOME} 50000 10.0.0.1 22")
    return fail2ban


def said(container: str, *others: str) -> BanList:
    with ServerSession(LocalHost("vps"), Reach("")) as session:
        return parse_bans(session.bans(container, others))


def test_nobody_is_banned_and_each_jail_says_what_it_ignores(asked: Fail2ban) -> None:
    known = said("")

    assert (known.error, known.ours, known.banning(HOME)) == ("", HOME, ())
    assert {jail.name: jail.ignored for jail in known.jails} == {"dovecot": (), "postfix": ("127.0.0.0/8", "192.0.2.0/24", "::1")}
    assert known.not_ignoring("192.0.2.9") == ("dovecot",)


@pytest.mark.parametrize("container", ["", "mailserver"])
def test_a_ban_of_ours_and_of_another_machine_is_seen_on_the_server_and_inside_a_container(
    asked: Fail2ban, container: str
) -> None:
    asked.client("set", "postfix", "banip", HOME, VPS2, "192.0.2.200")
    try:
        known = said(container, VPS2)
    finally:
        asked.client("set", "postfix", "unbanip", HOME, VPS2, "192.0.2.200")

    assert (known.banning(HOME), known.banning(VPS2)) == (("postfix",), ("postfix",))
    assert {address for jail in known.jails for address in jail.banned} == {HOME, VPS2}, "strangers are nobody's matter"


def test_only_questions_are_put_to_it(asked: Fail2ban) -> None:
    said("mailserver")
    verbs = {line.split()[1] for line in (asked.folder / "calls").read_text().splitlines()}

    assert verbs == {"status", "get"}


@pytest.mark.parametrize("container", ["other", "mail server; reboot", "../x"])
def test_a_container_that_is_not_there_means_that_nobody_knows(asked: Fail2ban, container: str) -> None:
    known = said(container)

    assert known.error
    assert known.jails == ()


REDIS = """
[ "$REDISCLI_AUTH" = secret ] || { echo "NOAUTH Authentication required."; exit 0; }
case "$*" in
ping) echo PONG;;
"--raw hkeys F2B_ACTIVE_BANS") printf '203.0.113.7/32\\n2001:db8:7::/64\\n192.0.2.200/32\\n';;
"--raw hkeys F2B_PERM_BANS") echo 198.51.100.0/24;;
"--raw hkeys F2B_WHITELIST") printf 'nas.example.org\\n192.0.2.0/24\\n';;
*) echo "not a question: $*" >&2; exit 1;;
esac
"""


@dataclass
class Mailcow:
    """A `docker` with the containers of a mailcow, of which Redis can be asked; `secret` is the password that its environment holds."""

    tools: Path
    redises: int = 1
    secret: str = "secret"

    def install(self) -> None:
        ids = "\\n".join(f"{'c0ffee' * 10}{number:04}" for number in range(self.redises))
        docker = f"""case "$1" in
ps) [ "$6" = label=com.docker.compose.service=redis-mailcow ] || exit 1; printf '{ids}';;
exec) shift 2; REDISPASS={self.secret} PATH={self.tools}/inside:/usr/bin:/bin exec "$@";;
*) exit 1;;
esac"""
        for file, script in ((self.tools / "docker", docker), (self.tools / "inside" / "redis-cli", REDIS)):
            file.parent.mkdir(exist_ok=True, parents=True)
            file.write_text(f"#!/bin/sh\n{script}\n")
            file.chmod(0o755)


def of_mailcow(monkeypatch: pytest.MonkeyPatch, folder: Path, *others: str, **changes: Any) -> BanList:
    cow = Mailcow(folder / "tools", **changes)
    cow.install()
    monkeypatch.setenv("PATH", f"{cow.tools}:/usr/bin:/bin")
    monkeypatch.setenv("SSH_CONNECTION", f"{HOME} 50000 10.0.0.1 22")
    return said(MAILCOW_BANS, *others)


def test_mailcows_own_list_is_read_from_its_redis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = of_mailcow(monkeypatch, tmp_path, VPS2, "2001:db8:7::1", "192.0.2.9")

    assert (known.error, known.ours, known.banning(HOME)) == ("", HOME, ("netfilter",))
    assert known.banning(VPS2) == ("netfilter",), "for good, and by its network"
    assert known.banning("2001:db8:7::1") == ("netfilter",)
    assert known.banning("192.0.2.9") == ()
    assert (known.not_ignoring("192.0.2.9"), known.not_ignoring(HOME)) == ((), ("netfilter",))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"redises": 0}, "no containers have the service"),
        ({"redises": 2}, "2 containers"),
        ({"secret": "wrong"}, "redis does not answer"),
    ],
)
def test_where_mailcows_list_cannot_be_read_nobody_knows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    known = of_mailcow(monkeypatch, tmp_path, **changes)

    assert words in known.error
    assert known.jails == ()


def test_without_fail2ban_nobody_knows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to("/usr/bin/python3")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert said("").error
