"""A program that runs inside a host while the test goes on."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.lab.world import children
from tests.support import wait_until


class Job:
    """A running program. Its output goes to a file: a daemon it leaves behind would keep a pipe of ours open.

    nsenter stays between us and the program and passes its exit status on, but not our signals; so signals go
    to the program itself.
    """

    def __init__(self, argv: Sequence[str], env: dict[str, str], output: Path | None = None, stdin: bytes = b"") -> None:
        """Starts it, in a process group of its own. `output`: a file outside the host; default a temporary one."""
        self.argv = list(argv)
        self._output = output.open("w+b") if output else tempfile.TemporaryFile()  # noqa: SIM115 - see close
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        with tempfile.TemporaryFile() as source:
            source.write(stdin)
            source.seek(0)
            self._process = subprocess.Popen(
                self.argv,
                env=env,
                stdin=source,
                stdout=self._output,
                stderr=self._errors,
                start_new_session=True,
                umask=0o022,
            )

    @property
    def pid(self) -> int:
        """The program's process id as seen from outside the host. Raises LookupError once it has ended."""
        return wait_until(self._find, 10, f"{self.argv} is running")

    def _find(self) -> int:
        found = children(self._process.pid)
        if not found and self._process.poll() is not None:
            raise LookupError(f"ended with {self._process.returncode}: {self.argv}")
        return found[0] if found else 0

    def poll(self) -> int | None:
        """The exit status, or None while it runs. Minus N: ended by signal N."""
        return self._process.poll()

    def wait(self, seconds: float) -> int:
        """Its exit status. Raises subprocess.TimeoutExpired, and leaves it running."""
        return self._process.wait(seconds)

    def send_signal(self, number: int = signal.SIGTERM) -> None:
        """To the program alone, not to its children. Does nothing if it has ended."""
        with contextlib.suppress(LookupError, ProcessLookupError):
            os.kill(self.pid, number)

    def go_on(self) -> None:
        """After a SIGSTOP. nsenter stops together with its program, so both are told."""
        os.killpg(self._process.pid, signal.SIGCONT)

    def kill_group(self) -> None:
        """SIGKILL to the program and to every child that stayed in its process group; waits for its end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(20)

    def stdout(self) -> str:
        """What it has written to its standard output so far."""
        return _text(self._output.fileno())

    def stderr(self) -> str:
        """What it has written to its standard error so far."""
        return _text(self._errors.fileno())

    def close(self) -> None:
        """End it if it still runs, and let go of its files."""
        if self._process.poll() is None:
            self.kill_group()
        self._output.close()
        self._errors.close()


def _text(descriptor: int) -> str:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0).decode(errors="replace")


def finish(job: Job, seconds: float) -> subprocess.CompletedProcess[str]:
    """Wait for a job and collect it. Raises subprocess.TimeoutExpired after having killed it."""
    started = time.monotonic()
    try:
        status = job.wait(seconds)
        return subprocess.CompletedProcess(job.argv, status, job.stdout(), job.stderr())
    except subprocess.TimeoutExpired:
        job.kill_group()
        waited = time.monotonic() - started
        raise subprocess.TimeoutExpired(job.argv, waited, job.stdout(), job.stderr()) from None
    finally:
        job.close()
