"""The one place that starts a program and waits for it: bounded in time, in memory and in what it may see of our environment.

The program reads nothing (stdin is /dev/null), has no terminal to ask at, gets exactly the environment it is given, and dies with us:
a job killed by `kill -9` leaves no orphan that goes on writing (Linux; elsewhere it ends at its next write to a closed pipe).
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from failsafe.errors import Interrupted, ProcessError

POLL_SECONDS = 0.2  # how often the watchdogs look while a program says nothing
READ_BYTES = 1 << 16
LONGEST_LINE = 64 << 20  # bytes: a list of 100,000 restic snapshots is one line of some 40 MB
TAIL_LINES = 120  # a stack that restic 0.14 prints after each cause must not push the cause out
TAIL_LINE_BYTES = 2000
PIPE_GRACE_SECONDS = 5.0  # how long a grandchild may keep the pipes open after the program itself has ended


class ProgramMissing(ProcessError):
    """There is no such program, or it may not be run."""


class Ending(StrEnum):
    """Why a program ended."""

    ITSELF = "itself"
    DEADLINE = "deadline"  # we ended it: its total time was over
    SILENCE = "silence"  # we ended it: no progress for too long


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run. `environment` is all it gets; nothing secret may be in `argv`, which every user of the machine can read."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    cwd: Path | None = None
    deadline: timedelta = timedelta(minutes=5)
    silence: timedelta | None = None  # no progress for this long ends it; None: only the deadline counts
    grace: timedelta = timedelta(seconds=20)  # between SIGINT, SIGTERM and SIGKILL


@dataclass(frozen=True, slots=True)
class Finished:
    """How it ended. `code` is negative for a signal, as subprocess has it; the tails are the last lines of each stream."""

    code: int
    ending: Ending
    took: timedelta
    stdout: tuple[str, ...]
    stderr: tuple[str, ...]


# Called with each line; False says "this line is no progress", anything else feeds the no-progress watchdog.
Listener = Callable[[str], bool | None]


def base_environment() -> dict[str, str]:
    """What every program may see of our own environment: where programs and the home folder are, nothing else."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "USER", "LOGNAME") if name in os.environ}
    kept.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


_interruptions = 0
_interruptions_lock = threading.Lock()


def interrupt_all() -> None:
    """Ends every program that another thread runs now, as an interrupt at the keyboard ends the one of the main thread; its `run` raises Interrupted."""
    global _interruptions  # noqa: PLW0603 - a count that only grows: what is started afterwards runs
    with _interruptions_lock:
        _interruptions += 1


def run(command: Command, *, on_stdout: Listener | None = None, on_stderr: Listener | None = None) -> Finished:
    """Runs it to its end. An exception from a listener, or a KeyboardInterrupt, ends the program and goes on.

    Raises ProgramMissing, and ProcessError where it cannot be started or writes a line longer than 64 MB.
    """
    child = _start(command)
    watch = _Watch(command, child, (on_stdout, on_stderr))
    try:
        ending = watch.follow()
        return watch.finished(ending)
    finally:
        watch.end()
        watch.close()


def _start(command: Command) -> subprocess.Popen[bytes]:
    assert command.argv, "a program has a name"
    _demand_program(command)
    try:
        return subprocess.Popen(
            (*_dying_with_us(), *command.argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(command.environment),
            cwd=command.cwd,
            start_new_session=True,  # no terminal for ssh to ask a password at, and one group to kill
        )
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        where = "" if command.cwd is None else f" in {command.cwd}"
        raise ProcessError(f"cannot run {command.argv[0]}{where}: {error.strerror}", transient=False) from error
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ProcessError(f"{command.argv[0]} cannot be started: {error}") from error


def _demand_program(command: Command) -> None:
    """Looked for as execvp would, with the command's own PATH. Raises ProgramMissing."""
    program = command.argv[0]
    if os.sep in program:
        place = (command.cwd or Path()) / program
        found, code = os.access(place, os.X_OK), errno.EACCES if place.exists() else errno.ENOENT
    else:
        found, code = shutil.which(program, path=command.environment.get("PATH", os.defpath)) is not None, errno.ENOENT
    if not found:
        raise ProgramMissing(
            f"{program} cannot be run: {os.strerror(code)}", mend=f"install {program}, or give its full path", transient=False
        )


# Where there is no setpriv: asks the kernel itself, then takes the program's place. It also notices that we died in between.
_LAUNCHER = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.getppid() == int(sys.argv[1]) or os._exit(127); "
    "os.execvp(sys.argv[2], sys.argv[2:])"
)


def _dying_with_us() -> tuple[str, ...]:
    """What stands before a command so that the kernel kills it when the thread that started it is gone; that thread waits for it in `run`.

    Not a preexec_fn: between fork and exec no Python may run where there are threads, or the child may hang on a lock that nobody gives back.
    """
    if not sys.platform.startswith("linux"):
        return ()
    return _setpriv() or (sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()))


@functools.cache
def _setpriv() -> tuple[str, ...]:
    """() where it is not there, or cannot do it (busybox)."""
    program = shutil.which("setpriv")
    words = () if program is None else (program, "--pdeathsig", "KILL", "--")
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if words and subprocess.run((*words, "true"), capture_output=True, timeout=10, check=False).returncode == 0:
            return words
    return ()


class _Lines:
    """Cuts one pipe into lines, keeps the last of them, and hands each one on."""

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener
        self._rest = bytearray()
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def feed(self, data: bytes) -> bool:
        """True where something in it was progress."""
        start = len(self._rest)
        self._rest += data
        cut = self._rest.rfind(b"\n", start)
        if cut < 0:
            if len(self._rest) > LONGEST_LINE:
                raise ProcessError(f"a program wrote a line longer than {LONGEST_LINE} bytes", transient=False)
            return False
        whole = bytes(self._rest[:cut])
        del self._rest[: cut + 1]
        progress = False
        for line in whole.split(b"\n"):
            progress = self._line(line) or progress
        return progress

    def finish(self) -> None:
        if self._rest:
            self._line(bytes(self._rest))
            self._rest.clear()

    def _line(self, raw: bytes) -> bool:
        text = raw.decode("utf-8", "replace").rstrip("\r")
        self.tail.append(text[:TAIL_LINE_BYTES])
        return self._listener is None or self._listener(text) is not False


class _Watch:
    """A running program, its two pipes and its two watchdogs."""

    def __init__(
        self, command: Command, child: subprocess.Popen[bytes], listeners: tuple[Listener | None, Listener | None]
    ) -> None:
        self._command, self._child, self._is_ended = command, child, False
        self._interruptions = _interruptions
        self._started = self._progress = time.monotonic()
        self._streams = (_Lines(listeners[0]), _Lines(listeners[1]))
        self._selector = selectors.DefaultSelector()
        for pipe, lines in zip((child.stdout, child.stderr), self._streams, strict=True):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, lines)

    def follow(self) -> Ending:
        """Reads both pipes until the program has ended, or until a watchdog ends it."""
        ended_at: float | None = None
        while True:
            self._read(POLL_SECONDS)
            now = time.monotonic()
            if self._interruptions != _interruptions:
                raise Interrupted(f"{self._command.argv[0]} was stopped")
            if self._child.poll() is not None:
                ended_at = ended_at or now
                if not self._selector.get_map() or now - ended_at > PIPE_GRACE_SECONDS:
                    return Ending.ITSELF
            elif (ending := self._overrun(now)) is not None:
                self.end()
                return ending

    def finished(self, ending: Ending) -> Finished:
        for lines in self._streams:
            lines.finish()
        took = timedelta(seconds=time.monotonic() - self._started)
        stdout, stderr = (tuple(lines.tail) for lines in self._streams)
        return Finished(self._child.returncode, ending, took, stdout, stderr)

    def end(self) -> None:
        """SIGINT lets restic take its lock away; SIGTERM is for the deaf; SIGKILL takes the whole group. Does nothing the second time."""
        if self._is_ended:
            return
        grace = self._command.grace.total_seconds()
        for number in (signal.SIGINT, signal.SIGTERM):
            if self._child.poll() is not None:
                break
            self._child.send_signal(number)
            self._drain_for(grace)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, signal.SIGKILL)  # also what the program left behind, such as its ssh
        self._child.wait()
        self._is_ended = True

    def close(self) -> None:
        self._selector.close()
        for pipe in (self._child.stdout, self._child.stderr):
            if pipe is not None:
                pipe.close()

    def _overrun(self, now: float) -> Ending | None:
        silence = self._command.silence
        if now - self._started > self._command.deadline.total_seconds():
            return Ending.DEADLINE
        return Ending.SILENCE if silence is not None and now - self._progress > silence.total_seconds() else None

    def _drain_for(self, seconds: float) -> None:
        """A program that is to end must not hang on a full pipe, and its last words are worth keeping."""
        until = time.monotonic() + seconds
        while self._child.poll() is None and time.monotonic() < until:
            with contextlib.suppress(Exception):  # a listener may be why we are here
                self._read(POLL_SECONDS)

    def _read(self, seconds: float) -> None:
        if not self._selector.get_map():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(seconds)
            return
        for key, _ in self._selector.select(seconds):
            try:
                data = os.read(key.fd, READ_BYTES)
            except BlockingIOError:
                continue
            if not data:
                self._selector.unregister(key.fileobj)
            elif key.data.feed(data):
                self._progress = time.monotonic()
