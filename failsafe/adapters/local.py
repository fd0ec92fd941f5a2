"""A mail store on this machine: the server's side runs as a child process here."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
from collections.abc import Sequence

from failsafe.errors import ProcessError

SILENCE = 120.0  # seconds without a byte; the server's side gives a sign of life every 5
TAIL = 2000  # bytes of stderr that go into an error
PIPE = 1 << 20  # bytes; the kernel's default of 64 KiB costs a switch of process each


class LocalHost:
    """MailHost on this machine."""

    def __init__(self, name: str = "this machine", silence_deadline: float = SILENCE) -> None:
        self._name, self._silence = name, silence_deadline

    @property
    def name(self) -> str:
        return self._name

    def open(self, command: Sequence[str]) -> LocalChannel:
        """Raises ProcessError where the program cannot be started."""
        try:
            child = subprocess.Popen(
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise ProcessError(
                f"{self._name}: {command[0]} cannot be started: {error.strerror}",
                mend=f"install {command[0]} and make sure that it is in PATH",
                transient=False,
            ) from error
        return LocalChannel(self._name, child, self._silence)


class LocalChannel:
    """Channel to a child process."""

    def __init__(self, name: str, child: subprocess.Popen[bytes], silence: float) -> None:
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        self._name, self._child, self._silence = name, child, silence
        self._in, self._out, self._err = child.stdin.fileno(), child.stdout.fileno(), child.stderr.fileno()
        self._said = b""
        for pipe in (self._in, self._out, self._err):
            os.set_blocking(pipe, False)
        with contextlib.suppress(OSError, AttributeError):
            import fcntl

            fcntl.fcntl(self._out, fcntl.F_SETPIPE_SZ, PIPE)

    def send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            self._wait([self._err], [self._in])
            try:
                rest = rest[os.write(self._in, rest) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise self._ended(f"it takes no more input ({error.strerror})") from error

    def receive(self, maximum: int) -> bytes:
        while True:
            self._wait([self._out, self._err], [])
            try:
                data = os.read(self._out, maximum)
            except BlockingIOError:
                continue
            if not data and self._child.wait(self._silence) != 0:
                raise self._ended(f"status {self._child.returncode}")
            return data

    def close(self) -> None:
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        try:
            self._child.wait(2)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(self._child.pid, 9)
            self._child.wait()

    def _wait(self, readers: list[int], writers: list[int]) -> None:
        """Until something besides stderr is ready; stderr is drained meanwhile."""
        while True:
            ready, writable, _ = select.select(readers, writers, [], self._silence)
            if not ready and not writable:
                raise ProcessError(f"{self._name}: the program there said nothing for {self._silence:g} s")
            if self._err in ready and not self._drain():
                readers = [pipe for pipe in readers if pipe != self._err]
            if writable or self._out in ready or not (readers or writers):
                return

    def _drain(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._err, 65536)
            self._said = (self._said + data)[-TAIL:]
            return bool(data)
        return True

    def _ended(self, why: str) -> ProcessError:
        with contextlib.suppress(OSError):
            while self._drain() and select.select([self._err], [], [], 0)[0]:
                pass
        said = self._said.decode("utf-8", "replace").strip()
        return ProcessError(f"{self._name}: the program there ended: {why}" + (f"\n{said}" if said else ""))
