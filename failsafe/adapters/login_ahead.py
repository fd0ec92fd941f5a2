"""A login that is begun before it is needed: the handshake, the server's answer and its Python's start take a quarter of a second in which we need not wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from failsafe.ports import Channel, MailHost

FRESH = 20.0  # seconds after which one that nobody took is not trusted: its line may be dead by now


class LoginAhead:
    """MailHost whose first `open` of `command` was begun when this was made; every other one goes to `host`. Use `drop` at the end.

    `opening`: what whoever opens it will send first, all at once; it is sent when the login is there.
    """

    def __init__(self, host: MailHost, command: Sequence[str], opening: bytes = b"") -> None:
        self._host, self._command, self._opening = host, tuple(command), opening
        self._channel: Channel | None = None
        self._error: Exception | None = None
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._wanted = True
        self._login: threading.Thread | None = threading.Thread(target=self._log_in, name="login ahead", daemon=True)
        self._login.start()

    @property
    def name(self) -> str:
        return self._host.name

    def open(self, command: Sequence[str]) -> Channel:
        """Raises what the host raises."""
        login, self._login = self._login, None
        if login is None:
            return self._host.open(command)
        if tuple(command) != self._command or time.monotonic() - self._began > FRESH:
            self._leave()
            return self._host.open(command)
        try:
            login.join()  # the host's own deadlines end it
        except BaseException:
            self._leave()
            raise
        if self._error is not None:
            raise self._error
        assert self._channel is not None
        return _Opened(self._channel, self._opening) if self._opening else self._channel

    def drop(self) -> None:
        """Closes a login that nobody took; waits for nothing."""
        if self._login is not None:
            self._login = None
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._wanted = False
            if self._channel is not None:
                self._channel.close()

    def _log_in(self) -> None:
        try:
            channel = self._host.open(self._command)
        except Exception as error:  # noqa: BLE001 - whoever opens is told
            self._error = error
            return
        with self._lock:
            self._channel = channel
            if not self._wanted:
                channel.close()
                return
        if self._opening:
            try:
                channel.send(self._opening)
            except Exception as error:  # noqa: BLE001 - whoever opens is told
                self._error = error
                channel.close()


class _Opened:
    """A channel over which the first words went already: they are not sent again."""

    def __init__(self, channel: Channel, opening: bytes) -> None:
        self._channel, self._opening = channel, opening

    def send(self, data: bytes) -> None:
        opening, self._opening = self._opening, b""
        if not opening:
            self._channel.send(data)
        elif data != opening:
            raise AssertionError("another conversation was begun with this server")

    def receive(self, maximum: int) -> bytes:
        return self._channel.receive(maximum)

    def close(self) -> None:
        self._channel.close()
