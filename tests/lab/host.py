"""One host of the lab: power, cable, programs, files and services."""

import os
import shlex
import signal
import subprocess
import textwrap
from pathlib import Path

from tests.lab import services
from tests.lab.job import Job, finish
from tests.lab.names import ADDRESSES, ENVIRONMENT
from tests.lab.paths import below, folders_to_bind
from tests.lab.world import HERE, INSIDE, World, init_of
from tests.support import wait_until


class HostError(RuntimeError):
    """A command in a host failed, or the host has no power; the message holds the command and its output."""


class Host:
    """A machine with its own processes, network address and disk. It survives its own power-off."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.address = ADDRESSES[name]
        self.pid = 0
        """Its PID 1 as seen from outside; 0 without power."""
        self.services: tuple[str, ...] = ()
        """What starts by itself at boot."""
        self._power: subprocess.Popen[bytes] | None = None

    # -- power and cable

    def boot(self) -> None:
        """Power on, plug the cable in, start the services, and wait until they answer."""
        disk = self.world.disk(self.name)
        disk.mkdir(mode=0o755, exist_ok=True)
        with (disk / "init.log").open("ab") as log:
            self._power = subprocess.Popen(
                self.world.enter(
                    *("nsenter", f"--net=/run/netns/{self.name}"),
                    *("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child=KILL"),
                    *("--propagation", "private", "bash", str(HERE / "host-init.sh")),
                    *(self.name, f"{INSIDE}/{self.name}", *folders_to_bind()),
                ),
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = wait_until(self._booted, 30, f"{self.name} has booted")
        (disk / "pid").write_text(str(self.pid))
        self.link("up")
        self.start(*self.services)

    def _booted(self) -> int:
        assert self._power is not None
        if self._power.poll() is not None:
            raise HostError(f"{self.name}: init ended: {(self.world.disk(self.name) / 'init.log').read_text()}")
        try:
            init = init_of(self._power.pid)
        except LookupError:
            return 0
        return init if Path(f"/proc/{init}/root/run/booted").exists() else 0

    def power_off(self, *, refuses: bool = False) -> None:
        """Pull the plug: everything stops within the instant, and the disk keeps what was written.

        The host is then silent. `refuses`: its address goes on refusing connections instead, as when a router
        in front of it answers.
        """
        if not refuses:
            self.link("down")
        power, self._power, init, self.pid = self._power, None, self.pid, 0
        if power is None:
            return
        os.kill(init, signal.SIGKILL)
        power.wait(30)

    def forget(self) -> None:
        """The world has ended, and this host with it."""
        self.pid, self.services = 0, ()
        power, self._power = self._power, None
        if power is not None:
            power.wait(30)

    @property
    def powered(self) -> bool:
        """Whether it is switched on (its cable may be out)."""
        return self._power is not None

    def link(self, state: str) -> None:
        """Pull the network cable out ("down") or plug it in ("up"); the host itself goes on."""
        self.world.run("ip", "link", "set", f"v-{self.name}", state)

    # -- programs

    def argv(self, *command: str | Path) -> list[str]:
        """The argument list that runs `command` inside the host. Raises HostError without power."""
        if not self.pid:
            raise HostError(f"{self.name} has no power")
        return ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "-r", "-w", *map(str, command)]

    def popen(self, *command: str | Path, output: Path | None = None, env: dict[str, str] | None = None, stdin: str = "") -> Job:
        """Start a program and go on. `output`: a file outside the host; `env`: added to the host's own."""
        return Job(self.argv(*command), {**ENVIRONMENT, **(env or {})}, output, stdin.encode())

    def run(
        self,
        *command: str | Path,
        check: bool = True,
        timeout: float = 60,
        env: dict[str, str] | None = None,
        stdin: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end. Raises HostError if it fails (unless `check` is false), TimeoutExpired after
        `timeout` seconds, when it has been killed.
        """
        done = finish(self.popen(*command, env=env, stdin=stdin), timeout)
        if check and done.returncode:
            shown = shlex.join(map(str, command))
            raise HostError(f"{self.name}$ {shown}\nexit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def sh(self, script: str, *, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a bash script."""
        return self.run("bash", "-c", script, check=check, timeout=timeout)

    # -- files

    def path(self, path: str) -> Path:
        """A file of the running host as seen from outside.

        Symbolic links are followed as the host would: `/proc/PID/root/var/run` would otherwise lead to the
        machine's own /run.
        """
        if not self.pid:
            raise HostError(f"{self.name} has no power")
        return below(Path(f"/proc/{self.pid}/root"), path)

    def disk(self, path: str) -> Path:
        """A file this host itself has written, on its disk, whether or not it has power."""
        return self.world.disk(self.name) / "upper" / path.lstrip("/")

    def write(self, path: str, text: str, mode: int = 0o644, owner: str = "root:root") -> None:
        """Write a file (dedented), with its folders. `owner`: as chown takes it, in the host's own names."""
        target = self.path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(textwrap.dedent(text))
        if owner != "root:root":
            self.run("chown", owner, path)

    def read(self, path: str) -> str:
        """The text of a file. Raises OSError as open does."""
        return self.path(path).read_text(encoding="utf-8")

    # -- services

    def enable(self, *names: str) -> None:
        """Start these services now and at every boot."""
        self.services = (*self.services, *names)
        self.start(*names)

    def start(self, *names: str) -> None:
        """Start services that are not running and wait until they answer. Raises HostError if one does not."""
        if names and (failed := self.sh(services.start_script(names), timeout=60).stderr):
            raise HostError(f"{self.name} could not start {failed}")

    def kill_service(self, name: str) -> None:
        """SIGKILL to the service and all it has started; returns when they are gone."""
        self.sh(services.kill_script(name))

    def freeze_service(self, name: str) -> None:
        """SIGSTOP: the kernel goes on accepting connections for it, and nobody ever answers them."""
        self.sh(services.freeze_script(name))

    def thaw_service(self, name: str) -> None:
        """SIGCONT after freeze_service."""
        self.sh(services.thaw_script(name))

    def running(self, name: str) -> bool:
        """Whether the service's main process exists."""
        script = f'kill -0 "$(tr -dc 0-9 <{services.SERVICES[name].pid_file})" 2>/dev/null'
        return self.powered and self.sh(script, check=False).returncode == 0
