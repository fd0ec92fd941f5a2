"""A world: private namespaces that hold the hosts, their network and their disks, and vanish as one.

Whoever starts a world stays outside it, in the machine's own namespaces, and reaches in with nsenter. So a
test run is an ordinary pytest process, and several worlds with the same addresses can live side by side.
"""

import contextlib
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO

from tests.lab.names import ENVIRONMENT
from tests.support import wait_until

HERE = Path(__file__).resolve().parent
INSIDE = "/run/lab"
"""Where, in the world's own mount namespace, its disks are."""

UNSHARE = [
    *("unshare", "--mount", "--net", "--pid", "--uts", "--ipc"),
    *("--fork", "--kill-child=KILL", "--mount-proc", "--propagation", "private"),
]

PROGRAMS = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ip": "iproute2",
    "sysctl": "procps",
    "postfix": "postfix",
    "dovecot": "dovecot-core",
    "/usr/lib/dovecot/imap": "dovecot-imapd",
    "/usr/lib/dovecot/lmtp": "dovecot-lmtpd",
    "knotd": "knot",
    "kdig": "knot-dnsutils",
    "unbound": "unbound",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
}
"""What the lab runs, and the Debian package it comes in."""

TRIAL = """
mount -t tmpfs tmpfs /run
mkdir /run/upper /run/work /run/root
mount -t overlay overlay -o lowerdir=/,upperdir=/run/upper,workdir=/run/work /run/root
mount -t proc proc /run/root/proc
mount -t sysfs sysfs /run/root/sys
ip link add br0 type bridge
ip netns add one
ip link add v-one type veth peer name eth0 netns one
"""
"""What the two init scripts need from the kernel, in the same order."""


@functools.cache
def availability() -> str | None:
    """None if this machine can hold a lab, else the exact reason why not."""
    if os.geteuid() != 0:
        return "the lab needs root, for network namespaces and overlay mounts"
    missing = {package for name, package in PROGRAMS.items() if shutil.which(name, path=ENVIRONMENT["PATH"]) is None}
    if missing:
        return f"the lab needs packages that are not installed: {' '.join(sorted(missing))}"
    trial = subprocess.run(
        [*UNSHARE, "bash", "-ec", TRIAL],
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if trial.returncode:
        return f"namespaces are not allowed here: {trial.stderr.strip() or f'exit {trial.returncode}'}"
    return None


class World:
    """Namespaces with a bridge, and one network namespace for each named host."""

    def __init__(self, addresses: dict[str, list[str]], disk_size: str = "4g") -> None:
        """`addresses`: the IP addresses of each host. `disk_size`: of all disks together, as tmpfs takes it."""
        self._addresses = addresses
        self._disk_size = disk_size
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self.pid = 0
        """The world's PID 1, as the outside sees it; 0 while it does not exist."""

    def up(self) -> None:
        """Create it. The process (and thread) that calls this must live as long as the world shall.

        Two things end a world whose owner is killed: the kernel's signal to the child of a dead parent, and the
        end of its standard input.
        """
        hosts = [f"{name}={','.join(addresses)}" for name, addresses in self._addresses.items()]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the world is
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *UNSHARE, "bash", str(HERE / "world-init.sh"), self._disk_size, *hosts],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal is for the tests, not for the world
        )
        try:
            wait_until(self._ready, 60, "the lab's world is up")
        except BaseException:
            self.down()
            raise
        self.pid = init_of(self._process.pid)

    def _ready(self) -> bool:
        assert self._process is not None
        assert self._log is not None
        text = os.pread(self._log.fileno(), 65536, 0).decode(errors="replace")
        if self._process.poll() is not None:
            raise RuntimeError(f"the lab's world ended with {self._process.returncode}: {text}")
        return text.endswith("ready\n")

    def down(self) -> None:
        """End it and everything in it. Does nothing if it is down already."""
        process, self._process, self.pid = self._process, None, 0
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()  # takes the world's PID 1 with it (--kill-child)
            process.wait(20)
        assert self._log is not None
        self._log.close()

    def enter(self, *command: str) -> list[str]:
        """The argument list that runs `command` inside, next to the bridge."""
        return ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "-r", "-w", *command]

    def run(self, *command: str) -> None:
        """Run a short command inside. Raises RuntimeError with its output if it fails."""
        done = subprocess.run(self.enter(*command), env=ENVIRONMENT, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stdout}{done.stderr}")

    def cut(self, host: str, address: str) -> None:
        """What `host` sends to `address` from now on reaches nobody, as with a line that is cut: no answer, no error."""
        nobody = "02:00:00:00:00:fe"
        self.run("ip", "-n", host, "neigh", "replace", address, "lladdr", nobody, "dev", "eth0", "nud", "permanent")

    def join(self, host: str, address: str) -> None:
        """After `cut`; does nothing otherwise."""
        owner = next(addresses[0] for addresses in self._addresses.values() if address in addresses)
        there = f"02:00:00:00:00:{int(owner.rsplit('.', 1)[1]):02x}"
        self.run("ip", "-n", host, "neigh", "replace", address, "lladdr", there, "dev", "eth0", "nud", "permanent")

    def disk(self, name: str) -> Path:
        """The folder that holds a host's disk, as seen from outside."""
        return Path(f"/proc/{self.pid}/root{INSIDE}/{name}")


def children(pid: int) -> list[int]:
    """The child processes of a process; empty when it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]
    return []


def init_of(pid: int) -> int:
    """The nearest descendant of `pid` that is PID 1 of a namespace below ours. Raises LookupError if none is."""
    depth = len(_namespace_pids(os.getpid()))
    waiting = children(pid)
    while waiting:
        child = waiting.pop(0)
        numbers = _namespace_pids(child)
        if len(numbers) > depth and numbers[-1] == 1:
            return child
        waiting += children(child)
    raise LookupError(f"process {pid} has no init below it")


def _namespace_pids(pid: int) -> list[int]:
    """A process's numbers, from our PID namespace down to its own."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return [int(number) for number in line.split()[1:]]
    return []
