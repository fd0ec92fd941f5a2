"""The real fail2ban with the filters that it ships, over logs of our choice, with jails of our own; and with its real bans where a jail has ports."""

from __future__ import annotations

import os
import pickle
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import wait_until

END = b"<F2B_END_COMMAND>"
SHIPPED = Path("/etc/fail2ban")
SETTINGS = """\
[Definition]
loglevel = INFO
logtarget = {folder}/log
syslogsocket = auto
socket = {folder}/socket
pidfile = {folder}/pid
dbfile = None
dbpurgeage = 1d
dbmaxmatches = 10
[Thread]
"""
# docker-mailserver's thresholds. Unless `ignoreself` is off, nothing on loopback is ever counted.
JAILS = """\
[DEFAULT]
backend = polling
usedns = no
ignoreself = false
ignoreip =
bantime = 1w
findtime = 1w
maxretry = 6
"""
JAIL = """\
[{name}]
enabled = true
filter = {filter}
logpath = {log}
action = {action}
"""
BAN = 'nftables[type=multiport, name={name}, port="{ports}", protocol=tcp, table={table}, blocktype=drop]'


@dataclass(frozen=True)
class Jail:
    """`filter` as in jail.conf: `postfix[mode=extra]`. `ports` are closed to whom it bans; none: it only counts."""

    name: str
    filter: str
    log: Path
    ports: tuple[int, ...] = ()


class Fail2ban:
    def __init__(self, folder: Path, jails: Sequence[Jail]) -> None:
        self.folder = folder
        self._table = f"failsafe-{folder.name[-8:]}"
        for name in ("filter.d", "action.d"):
            (folder / name).symlink_to(SHIPPED / name)
        (folder / "fail2ban.conf").write_text(SETTINGS.format(folder=folder))
        (folder / "jail.conf").write_text(JAILS + "".join(self._jail(jail) for jail in jails))

    def _jail(self, jail: Jail) -> str:
        ports = ",".join(map(str, jail.ports))
        action = BAN.format(name=jail.name, ports=ports, table=self._table) if jail.ports else ""
        return JAIL.format(name=jail.name, filter=jail.filter, log=jail.log, action=action)

    def client(self, *words: str) -> str:
        command = ["fail2ban-client", "-c", str(self.folder), "-s", str(self.folder / "socket"), "-p", str(self.folder / "pid")]
        outcome = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, check=False)
        assert outcome.returncode == 0, f"{words}: {outcome.stdout}{outcome.stderr}"
        return outcome.stdout

    def start(self) -> None:
        with (self.folder / "start.log").open("wb") as log:  # its server keeps the output it is born with: never a pipe
            command = [
                "fail2ban-client",
                "-c",
                str(self.folder),
                "-s",
                str(self.folder / "socket"),
                "-p",
                str(self.folder / "pid"),
            ]
            done = subprocess.run([*command, "start"], stdout=log, stderr=log, stdin=subprocess.DEVNULL, timeout=90, check=False)
        assert done.returncode == 0, (self.folder / "start.log").read_text()

    def stop(self) -> None:
        """Takes its bans away, too."""
        self.client("stop")
        wait_until(lambda: not (self.folder / "pid").exists(), 30, "fail2ban has ended")
        subprocess.run(["nft", "delete", "table", "inet", self._table], capture_output=True, check=False, timeout=30)

    def counted(self, jail: str) -> int:
        """How many lines of the log this jail has taken for a failure since it began."""
        return int(self._status(jail)["Filter"]["Total failed"])

    def banned(self, jail: str) -> list[str]:
        return [str(address) for address in self._status(jail)["Actions"]["Banned IP list"]]

    def _status(self, jail: str) -> dict[str, dict[str, Any]]:
        """Asked over its socket, as its client does: starting that each time costs half a second."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(30)
            line.connect(str(self.folder / "socket"))
            line.sendall(pickle.dumps(["status", jail]) + END)
            answer = b""
            while not answer.endswith(END):
                answer += line.recv(65536)
        code, status = pickle.loads(answer.removesuffix(END))
        assert code == 0, status
        return {part: dict(values) for part, values in status}


def matches(log: Path, chosen: str) -> int:
    """How many failures fail2ban's own tool finds. `chosen` is a filter, as in jail.conf.

    What it calls matched is more: lines that only say whom later ones are about, as sshd's of a login that is let in.
    """
    words = ["fail2ban-regex", "--usedns=no", "--out=<ip>", str(log), chosen]
    outcome = subprocess.run(words, capture_output=True, text=True, timeout=1200, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return len(outcome.stdout.split())


def missing_fail2ban() -> str:
    """Why it cannot be run here; "" if it can."""
    if os.geteuid() != 0:
        return "fail2ban starts only as root"
    if not shutil.which("fail2ban-client") or not (SHIPPED / "filter.d" / "postfix.conf").exists():
        return "fail2ban is not installed (Debian: fail2ban)"
    return ""


@contextmanager
def running(jails: Sequence[Jail]) -> Iterator[Fail2ban]:
    if missing_fail2ban():
        pytest.skip(missing_fail2ban())
    folder = Path(tempfile.mkdtemp(prefix="failsafe-fail2ban-"))
    server = Fail2ban(folder, jails)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
