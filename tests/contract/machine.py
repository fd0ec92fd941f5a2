"""A mail server of its own: a real sshd with folders of its own (/etc, /opt, /srv, /root) in a mount namespace, so that what is installed there is nowhere else."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from failsafe.adapters.ssh import SshHost
from tests.contract.sshd import answers, make_key
from tests.ports import free_port
from tests.support import wait_until

# Everything that sshd can allow is allowed: what holds here holds by our line alone.
SSHD = """
Port {port}
ListenAddress 127.0.0.1
HostKey /etc/ssh/own_host_key
PidFile none
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
AllowTcpForwarding yes
AllowStreamLocalForwarding yes
AllowAgentForwarding yes
X11Forwarding yes
X11UseLocalhost yes
PermitTunnel yes
GatewayPorts clientspecified
PermitTTY yes
PermitUserRC yes
PermitUserEnvironment yes
AcceptEnv *
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
LogLevel VERBOSE
"""
BUILD = """
set -e
cp -a /etc "$1/etc"
mount --bind "$1/etc" /etc
for place in /opt /srv /root; do mkdir -p "$place"; mount -t tmpfs -o mode=755 none "$place"; done
rm -f /etc/failsafe-server.json /etc/sudoers.d/failsafe-server /etc/ssh/sshd_config.d/*
cp "$1/host_key" /etc/ssh/own_host_key
chmod 600 /etc/ssh/own_host_key
chmod go-w /etc /
cp "$1/sshd_config" /etc/ssh/sshd_config
mkdir -p /run/sshd
echo built
exec cat
"""


@dataclass
class Machine:
    folder: Path
    port: int = field(default_factory=free_port)
    inside: subprocess.Popen[str] | None = None
    sshd: subprocess.Popen[bytes] | None = None

    @property
    def key(self) -> Path:
        return self.folder / "id"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def pid(self) -> int:
        assert self.inside is not None
        return self.inside.pid

    def __truediv__(self, path: str) -> Path:
        """A place of it, as it is reached from outside."""
        return Path(f"/proc/{self.pid}/root") / path.lstrip("/")

    def start(self) -> None:
        make_key(self.key)
        make_key(self.folder / "host_key")
        kind, blob = (self.folder / "host_key.pub").read_text().split()[:2]
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {blob}\n")
        (self.folder / "sshd_config").write_text(SSHD.format(port=self.port))
        self.inside = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", BUILD, "sh", str(self.folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.inside.stdout is not None
        assert self.inside.stdout.readline() == "built\n"
        sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin")
        with (self.folder / "log").open("ab") as log:
            self.sshd = subprocess.Popen([*self.enter, str(sshd), "-D", "-e"], stdout=log, stderr=log)
        wait_until(lambda: answers(self.port), 20, "sshd answers")

    def stop(self) -> None:
        for process in (self.sshd, self.inside):
            if process is not None:
                process.terminate()
                process.wait(10)

    @property
    def enter(self) -> list[str]:
        return ["nsenter", "-t", str(self.pid), "-m", "--"]

    def run(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """As root there, as at its console; what it said on both ways."""
        done = subprocess.run([*self.enter, *words], input=stdin, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)  # fmt: skip
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def sh(self, line: str, *, check: bool = True) -> str:
        return self.run("sh", "-c", line, check=check)

    def host(self, user: str = "failsafe") -> SshHost:
        return SshHost("vps", f"{user}@127.0.0.1:{self.port}", key=self.key, known_hosts=self.known_hosts)

    def ssh(self, *options: str, user: str = "failsafe") -> list[str]:
        """The words that begin a call of ssh's own client with our key."""
        own = ("-F", "none", "-i", str(self.key), "-p", str(self.port), "-o", f"UserKnownHostsFile={self.known_hosts}")
        asked = ("-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "LogLevel=INFO")
        return ["ssh", *own, *asked, *options, f"{user}@127.0.0.1"]

    def config(self, more: str = "", *, user: str = "failsafe") -> Path:
        """A configuration of failsafe's whose mail lies here."""
        file = self.folder / "failsafe.toml"
        file.write_text(
            f'[controller]\nid = "nas"\nstate_dir = "{self.folder}/state"\n[mail_server.vps]\nlayout = "maildir"\npath = "/srv/vmail"\n'
            f'ssh = "{user}@127.0.0.1:{self.port}"\nssh_key = "{self.key}"\nknown_hosts = "{self.known_hosts}"\n{more}\n'
        )
        return file


def failsafe(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command as a person types it."""
    return subprocess.run([sys.executable, "-m", "failsafe", "--config", str(config), *words], capture_output=True, text=True, timeout=120, check=False)  # fmt: skip


PRINTED: dict[tuple[str, ...], str] = {}  # by the configuration and the words: the command is asked once


def script(config: Path, *words: str) -> str:
    """What `failsafe config server vps` prints."""
    asked = (config.read_text(), *words)
    if asked not in PRINTED:
        done = failsafe(config, "config", "server", "vps", *words)
        assert done.returncode == 0, done.stderr
        PRINTED[asked] = done.stdout
    return PRINTED[asked]


@contextlib.contextmanager
def running(
    folder: Path, needs: Sequence[str] = ("sshd", "unshare", "nsenter", "sudo", "useradd", "runuser")
) -> Iterator[Machine]:
    """Skips where this machine cannot have another one's folders."""
    missing = [name for name in needs if shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is None]
    if missing:
        pytest.skip(f"not installed here: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("a mount namespace with folders of root's needs root")
    machine = Machine(folder)
    machine.start()
    try:
        yield machine
    finally:
        machine.stop()
