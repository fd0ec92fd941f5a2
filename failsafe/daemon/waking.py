"""Ends the ticker's sleep: by a signal, or as soon as a thread has done what the ticker waits for."""

from __future__ import annotations

import contextlib
import os
import select
import threading


class Waker:
    """A pipe. Between `open` and `close` the ticker sleeps on it; at any other time a nudge is nothing, from whatever thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # a descriptor that was closed may already be another file's
        self._ends: tuple[int, int] | None = None

    def open(self) -> int:
        """The descriptor to write to, for `signal.set_wakeup_fd`."""
        self._ends = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        return self._ends[1]

    def close(self) -> None:
        with self._lock:
            ends, self._ends = self._ends, None
        for end in ends or ():
            os.close(end)

    def nudge(self) -> None:
        """The sleep under way, or else the next one, ends at once."""
        with self._lock:
            if self._ends is not None:
                with contextlib.suppress(BlockingIOError):  # full: it wakes anyway
                    os.write(self._ends[1], b"\0")

    def sleep(self, seconds: float) -> None:
        """Until then, or until somebody nudges. Only between `open` and `close`, by the thread that calls them."""
        assert self._ends is not None
        readable, _, _ = select.select([self._ends[0]], [], [], seconds)
        if readable:
            with contextlib.suppress(BlockingIOError):
                os.read(self._ends[0], 4096)
