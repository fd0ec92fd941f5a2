"""A person at a terminal: a real pseudo-terminal with a program on it, read and typed into as a person does."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Typist:
    """stdin and stderr of the program are the terminal, which is its controlling one: Ctrl-C works. stdout goes to a file, or there too."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._out = folder / "stdout"
        with self._out.open("wb") as out:
            self._child = subprocess.Popen(
                ["setsid", "--ctty", *command],
                stdin=slave,
                stdout=out,
                stderr=slave,
                cwd=folder,
                env={**environment, "TERM": "xterm", "COLUMNS": "200", "LINES": "50"},
                start_new_session=False,
            )
        os.close(slave)
        self.shown = ""  # all of it, without what moves the cursor
        self._read = 0  # how much of it was waited for

    def __enter__(self) -> Typist:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()
        os.close(self._master)

    def expect(self, text: str, seconds: float = 60) -> str:
        """Waits until this is shown, after what was waited for before; gives what came until then."""
        until = time.monotonic() + seconds
        while text not in self.shown[self._read :]:
            if not self._take(until):
                raise AssertionError(f"{text!r} was not shown; the end of what was:\n{self.shown[-4000:]}")
        end = self.shown.index(text, self._read) + len(text)
        came, self._read = self.shown[self._read : end], end
        return came

    def type(self, line: str) -> None:
        os.write(self._master, line.encode() + b"\n")

    def interrupt(self) -> None:
        """Ctrl-C."""
        os.write(self._master, b"\x03")

    def end_of_input(self) -> None:
        """Ctrl-D."""
        os.write(self._master, b"\x04")

    def end(self, seconds: float = 60) -> int:
        """The exit status, once all was shown."""
        until = time.monotonic() + seconds
        while self._take(until):
            pass
        return self._child.wait(max(until - time.monotonic(), 1))

    def stdout(self) -> str:
        return self._out.read_text()

    def _take(self, until: float) -> bool:
        """Some more of what is shown; False at the end, or when the time is over."""
        ready, _, _ = select.select([self._master], [], [], max(until - time.monotonic(), 0))
        data = b""
        if ready:
            with contextlib.suppress(OSError):  # EIO: nobody has the other side open any more
                data = os.read(self._master, 65536)
        self.shown += CONTROLS.sub("", data.decode("utf-8", "replace"))
        return bool(data)
