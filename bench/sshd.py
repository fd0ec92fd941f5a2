"""A private sshd on loopback, and in front of it a forwarder that counts bytes."""

import contextlib
import os
import select
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.contract.conftest import answers, make_key
from tests.ports import free_port
from tests.support import AS_ON_A_SERVER, wait_until

PIPE = 1 << 20  # bytes that wait in the kernel between two sockets


@dataclass
class Server:
    """Reached through the forwarder's port: what crosses it is counted, for everybody alike."""

    port: int
    key: Path
    known_hosts: Path
    pid: int
    counter: "Counter"

    @property
    def ssh(self) -> list[str]:
        options = [f"UserKnownHostsFile={self.known_hosts}", "StrictHostKeyChecking=yes", "BatchMode=yes", "IdentitiesOnly=yes"]
        return ["ssh", "-F", "/dev/null", "-p", str(self.port), "-i", str(self.key), *(f"-o{option}" for option in options)]

    def cpu(self) -> float:
        """Seconds of CPU of every session that has ended."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Counter:
    """Bytes that came from the server and went to it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    down: int = 0
    up: int = 0

    def take(self) -> tuple[int, int]:
        with self.lock:
            taken, self.down, self.up = (self.down, self.up), 0, 0
        return taken


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Server]:
    """sshd and the forwarder, until the end of the `with`."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    if program is None:
        raise RuntimeError("sshd is not installed (Debian: openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    folder.mkdir(parents=True)
    host_key, key, port = make_key(folder / "host_key"), make_key(folder / "id"), free_port()
    shutil.copy(folder / "id.pub", folder / "authorized_keys")
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nAuthorizedKeysFile {folder}/authorized_keys\nPidFile none\n"
        "UsePAM no\nStrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
        f"{AS_ON_A_SERVER}\n"
    )
    with (folder / "log").open("wb") as log, socket.create_server(("127.0.0.1", 0)) as listener:
        server = subprocess.Popen([program, "-f", str(folder / "config"), "-D", "-e"], stdout=log, stderr=log)
        try:
            wait_until(lambda: answers(port), 20, "sshd answers")
            counter, front = Counter(), listener.getsockname()[1]
            threading.Thread(target=_forward, args=(listener, port, counter), daemon=True).start()
            public = (folder / "host_key.pub").read_text().split()
            known_hosts = folder / "known_hosts"
            known_hosts.write_text(f"[127.0.0.1]:{front} {public[0]} {public[1]}\n")
            yield Server(front, key, known_hosts, server.pid, counter)
        finally:
            server.terminate()
            server.wait(10)


def _forward(listener: socket.socket, port: int, counter: Counter) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        server = socket.create_connection(("127.0.0.1", port))
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_pump, args=(client, server, counter, "up"), daemon=True).start()
        threading.Thread(target=_pump, args=(server, client, counter, "down"), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket, counter: Counter, way: str) -> None:
    """One way, by splice: no byte is copied into this process, so nobody is slowed down much, and both alike."""
    out_of, into = os.pipe()
    with contextlib.suppress(OSError):
        while moved := os.splice(source.fileno(), into, PIPE):
            with counter.lock:
                setattr(counter, way, getattr(counter, way) + moved)
            while moved:
                select.select([], [sink], [])
                moved -= os.splice(out_of, sink.fileno(), moved)
    for pipe in (out_of, into):
        os.close(pipe)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
