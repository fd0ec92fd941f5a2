"""A private sshd on loopback, which can be cut off, stopped and started again, as a server is that reboots."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from failsafe.adapters.ssh import SshHost
from tests.ports import free_port
from tests.support import AS_ON_A_SERVER, wait_until


@dataclass
class Sshd:
    """On 127.0.0.1; lets `user` in with `key`."""

    folder: Path
    program: str
    inside: tuple[str, ...] = ()  # words before the program, which put it into surroundings of its own
    log_to: tuple[str, ...] = ("-e",)  # its own output; () is the system's log
    port: int = field(init=False)
    user: str = field(init=False)
    server: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.port = free_port()
        self.user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        make_key(self.key)
        make_key(self.host_key)
        shutil.copy(f"{self.key}.pub", self.folder / "authorized_keys")
        (self.folder / "config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.host_key}\n"
            f"AuthorizedKeysFile {self.folder}/authorized_keys\nPidFile none\n"
            "UsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
            f"MaxStartups 50\nSubsystem sftp internal-sftp\n{AS_ON_A_SERVER}\n"
        )
        self.trust()

    @property
    def key(self) -> Path:
        return self.folder / "id"

    @property
    def host_key(self) -> Path:
        return self.folder / "host_key"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def pid(self) -> int:
        assert self.server is not None
        return self.server.pid

    @property
    def address(self) -> str:
        return f"{self.user}@127.0.0.1:{self.port}"

    def host(self, name: str = "vps") -> SshHost:
        return SshHost(name, self.address, key=self.key, known_hosts=self.known_hosts)

    def trust(self) -> None:
        """What a person does who has compared the fingerprint."""
        public = Path(f"{self.host_key}.pub").read_text().split()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n")

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            words = [*self.inside, self.program, "-f", str(self.folder / "config"), "-D", *self.log_to]
            self.server = subprocess.Popen(words, stdout=log, stderr=log)
        wait_until(lambda: answers(self.port), 20, "sshd answers")

    def stop(self) -> None:
        """All connections end too, as when the machine goes down."""
        if self.server is not None:
            self.cut()
            self.server.terminate()
            self.server.wait(10)
            self.server = None

    def new_host_key(self) -> None:
        """As a machine that was installed anew, or another one in its place. Takes effect at the next start."""
        for path in (self.host_key, Path(f"{self.host_key}.pub")):
            path.unlink()
        make_key(self.host_key)

    def sessions(self) -> list[int]:
        """The processes that serve one connection each."""
        return children(self.pid)

    def cut(self) -> None:
        """Kills every connection, as a lost line would end it; the server goes on listening."""
        for pid in self.sessions():
            orphans = children(pid)
            for process in (pid, *orphans):
                _kill(process)


def children(pid: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(child) for child in found.split()]


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True)
    return path


@contextlib.contextmanager
def running(folder: Path, *, inside: tuple[str, ...] = (), log_to: tuple[str, ...] = ("-e",)) -> Iterator[Sshd]:
    """One that runs, until the end of the `with`; the test is skipped where there is none."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("sshd is not installed (Debian: openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    sshd = Sshd(folder, program, inside, log_to)
    sshd.start()
    try:
        yield sshd
    finally:
        sshd.stop()
