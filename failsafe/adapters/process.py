"""The one place that starts a program and waits for it: bounded in time, in memory and in what it may see of our environment.

The program reads nothing (stdin is /dev/null), has no terminal to ask at, gets exactly the environment it is given, and dies with us:
a job killed by `kill -9` leaves no orphan that goes on writing (Linux; elsewhere it ends at its next write to a closed pipe).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
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
PR_SET_PDEATHSIG = 1  # prctl(2), linux/prctl.h


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
    parent, set_death_signal = os.getpid(), _death_signal_setter()

    def prepare() -> None:  # in the child, between fork and exec: nothing here may import, log or take a lock
        if set_death_signal is not None:
            set_death_signal(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # we died in between
                os._exit(127)

    try:
        return subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(command.environment),
            cwd=command.cwd,
            start_new_session=True,  # no terminal for ssh to ask a password at, and one group to kill
            preexec_fn=prepare,  # noqa: PLW1509 - see prepare
        )
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        program = command.argv[0]
        if command.cwd is not None and not os.access(command.cwd, os.X_OK):
            raise ProcessError(f"cannot run {program} in {command.cwd}: {error.strerror}", transient=False) from error
        raise ProgramMissing(
            f"{program} cannot be run: {error.strerror}", mend=f"install {program}, or give its full path", transient=False
        ) from error
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ProcessError(f"{command.argv[0]} cannot be started: {error}") from error


def _death_signal_setter() -> Callable[[int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    with contextlib.suppress(OSError, AttributeError):
        prctl: Callable[[int, int], int] = ctypes.CDLL(None).prctl
        return prctl
    return None


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
