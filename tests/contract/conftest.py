"""Real servers on loopback for the contract tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import wait_until


@dataclass(frozen=True)
class Sshd:
    """A private sshd on 127.0.0.1 that lets `user` in with `key`."""

    folder: Path
    port: int
    key: Path
    known_hosts: Path
    host_key: Path
    user: str
    pid: int

    @property
    def address(self) -> str:
        return f"{self.user}@127.0.0.1:{self.port}"

    def sessions(self) -> list[int]:
        """The processes that serve one connection each."""
        found = subprocess.run(["pgrep", "-P", str(self.pid)], capture_output=True, text=True, check=False).stdout
        return [int(pid) for pid in found.split()]

    def cut(self) -> None:
        """Kills every connection, as a lost line would end it; the server goes on listening."""
        for pid in self.sessions():
            for child in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split():
                _kill(int(child))
            _kill(pid)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)], check=True)
    return path


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if program is None:
        pytest.skip("sshd is not installed (Debian: openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    folder = tmp_path_factory.mktemp("sshd")
    host_key, key, port = make_key(folder / "host_key"), make_key(folder / "id"), free_port()
    shutil.copy(folder / "id.pub", folder / "authorized_keys")
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nAuthorizedKeysFile {folder}/authorized_keys\nPidFile none\n"
        "UsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
        "MaxStartups 50\nSubsystem sftp internal-sftp\n"
    )
    public = (folder / "host_key.pub").read_text().split()
    known_hosts = folder / "known_hosts"
    known_hosts.write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, "-f", str(folder / "config"), "-D", "-e"], stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(port), 20, "sshd answers")
        yield Sshd(folder, port, key, known_hosts, host_key, user, server.pid)
    finally:
        server.terminate()
        server.wait(10)
