"""The way through another machine: nothing is needed there but sshd and Python 3.

A small program (relayside.py) is sent along and run there; it looks names up, connects and carries bytes. One SSH connection serves one look: it is
opened for it and closed after it, so that nothing stays behind and a lost line is noticed at once. Each connection is a real socket on our side (one
end of a pair), so that probes need not know.
"""

from __future__ import annotations

import contextlib
import json
import queue
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from failsafe.adapters.sockets import Address, CannotLook, ConnectFailed, Deadline, LookupFailed
from failsafe.errors import ExternalError
from failsafe.mail.replies import printable
from failsafe.model import OwnLine
from failsafe.ports import Channel, MailHost

VERSION = 1
LONGEST_FRAME = 1 << 16
HELLO_SECONDS = 25.0  # for the other machine to start Python
GRACE_SECONDS = 5.0  # for an answer to come back, beyond the time that was given for the work there
NO_ROUTE = frozenset({"ENETUNREACH", "EADDRNOTAVAIL", "EAFNOSUPPORT"})


class WayLost(CannotLook):
    """The other machine cannot be reached, or does not do what it should; nothing is known about what was looked at."""


class SshWay:
    """Looks from `host`. Use it within `opened`; one look at a time."""

    def __init__(self, host: MailHost) -> None:
        self._host = host
        self._relay: _Relay | None = None

    @property
    def vantage(self) -> str:
        return self._host.name

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Raises WayLost."""
        assert self._relay is None, "one look at a time"
        try:
            self._relay = _Relay(self._host)
        except ExternalError as error:
            raise WayLost(f"{self._host.name} cannot be looked from: {_one_line(error)}") from error
        try:
            yield
        finally:
            relay, self._relay = self._relay, None
            relay.close()

    def look_up(self, host: str, port: int, deadline: Deadline) -> tuple[Address, ...]:
        answer = self._ask({"look_up": host, "port": port}, deadline)
        found = [_address(row, port) for row in answer.get("addresses", ())]
        if not found:
            why = printable(str(answer.get("error", "nothing found")))
            raise LookupFailed(f"{host} has no address, seen from {self._host.name}: {why}")
        return tuple(found)

    def connect(self, address: Address, deadline: Deadline) -> socket.socket:
        allowed = deadline.left
        family = "6" if address.family is socket.AddressFamily.AF_INET6 else "4"
        answer = self._ask({"connect": [family, address.ip, address.port]}, deadline)
        if answer.get("connected") is True:
            return self._relay_now.take_stream()
        if answer.get("errno") in NO_ROUTE:
            raise ConnectFailed(f"{self._host.name} has no route to {address}", ours=True)
        if answer.get("late"):
            raise ConnectFailed(f"{address} did not answer {self._host.name} within {allowed:.2g} s")
        raise ConnectFailed(f"{address}, from {self._host.name}: {printable(str(answer.get('error', 'no reason given')))}")

    def own_ip(self, connection: socket.socket) -> str:  # noqa: ARG002 - a pair of sockets has no address
        return self._relay_now.own_ip

    def line(self, references: Sequence[tuple[str, int]], seconds: float, now: datetime) -> OwnLine:
        """Whether that machine's own line works: how many references it can connect to. Raises WayLost."""
        asked = [[host, port] for host, port in references]
        answer = self._ask({"references": asked}, Deadline(seconds))
        return OwnLine(now, _count(answer.get("answered")), len(asked))

    @property
    def _relay_now(self) -> _Relay:
        assert self._relay is not None, "used outside of `opened`"
        return self._relay

    def _ask(self, request: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        try:
            return self._relay_now.ask({**request, "seconds": round(deadline.left, 3)}, deadline.left + GRACE_SECONDS)
        except ExternalError as error:
            raise WayLost(f"{self._host.name} was lost in the middle: {_one_line(error)}") from error


class _Relay:
    """The program there: requests, their answers, and the bytes of at most one open connection."""

    def __init__(self, host: MailHost) -> None:
        program = Path(__file__).with_name("relayside.py").read_text(encoding="utf-8")
        self._name = host.name
        self._channel: Channel = host.open(["python3", "-I", "-c", program])
        self._answers: queue.Queue[dict[str, Any] | Exception] = queue.Queue(maxsize=4)
        self._stream: _Stream | None = None
        self._ours: socket.socket | None = None  # our end of it, until the probe takes it
        self._sending = threading.Lock()
        self._closed = False
        self.own_ip = ""
        threading.Thread(target=self._read, name=f"from {host.name}", daemon=True).start()
        try:
            self._check(self._next(HELLO_SECONDS))
        except BaseException:
            self.close()
            raise

    def _check(self, hello: dict[str, Any]) -> None:
        if hello.get("hello") != "failsafe-relay" or hello.get("version") != VERSION:
            raise ExternalError(f"{self._name}: something else than our program answered")

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        self._end_stream(seconds)
        self.send(b"J", json.dumps(request).encode("ascii"))
        return self._next(seconds)

    def take_stream(self) -> socket.socket:
        assert self._ours is not None, "asked for without an answer that says so"
        ours, self._ours = self._ours, None
        return ours

    def _begin_stream(self, own_ip: str) -> None:
        """In the reader's thread, before the next frame: its bytes may follow at once."""
        self.own_ip = own_ip
        self._ours, theirs = socket.socketpair()
        self._stream = _Stream(self, theirs)

    def send(self, kind: bytes, data: bytes = b"") -> None:
        with self._sending:
            self._channel.send(struct.pack(">cI", kind, len(data)) + data)

    def close(self) -> None:
        self._closed = True
        self._channel.close()
        if self._ours is not None:
            self._ours.close()
        if self._stream is not None:
            self._stream.drop()

    def _end_stream(self, seconds: float) -> None:
        """A connection that a probe is done with: its end has to be told and confirmed before anything else is asked."""
        if self._stream is not None and not self._stream.finish(seconds):
            raise ExternalError(f"{self._name}: the end of a connection was not confirmed")
        self._stream = None

    def _next(self, seconds: float) -> dict[str, Any]:
        try:
            answer = self._answers.get(timeout=max(seconds, 0.1))
        except queue.Empty:
            raise ExternalError(f"{self._name}: no answer within {seconds:.0f} s") from None
        if isinstance(answer, Exception):
            raise answer if isinstance(answer, ExternalError) else ExternalError(f"{self._name}: {answer}")
        return answer

    def _read(self) -> None:
        """Its own thread: gives every frame to whom it concerns, until the channel ends."""
        buffer = bytearray()
        try:
            while data := self._channel.receive(LONGEST_FRAME):
                buffer += data
                self._take_frames(buffer)
            self._give_up(ExternalError(f"{self._name}: the program there ended"))
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        with contextlib.suppress(queue.Full):
            self._answers.put_nowait(error)
        if self._stream is not None:
            self._stream.drop()

    def _take_frames(self, buffer: bytearray) -> None:
        while len(buffer) >= 5:
            kind, length = struct.unpack_from(">cI", buffer)
            if length > LONGEST_FRAME:
                raise ExternalError(f"{self._name}: something else than our program answered")
            if len(buffer) < 5 + length:
                return
            payload = bytes(buffer[5 : 5 + length])
            del buffer[: 5 + length]
            if kind == b"J":
                answer = _object(payload)
                if answer.get("connected") is True:
                    self._begin_stream(str(answer.get("own_ip", "")))
                self._answers.put(answer, timeout=1)
            elif self._stream is not None:
                self._stream.take(kind, payload)


class _Stream:
    """One connection over there: our probe holds the other end of `end`."""

    def __init__(self, relay: _Relay, end: socket.socket) -> None:
        self._relay, self._end = relay, end
        self._over = threading.Event()  # the program there said E
        self._told = threading.Event()  # we said E
        threading.Thread(target=self._pump, name="to a relay", daemon=True).start()

    def take(self, kind: bytes, payload: bytes) -> None:
        if kind == b"E":
            self._over.set()
            with contextlib.suppress(OSError):
                self._end.shutdown(socket.SHUT_WR)
        elif kind == b"D":
            with contextlib.suppress(OSError):  # our probe has hung up: what still comes is nobody's
                self._end.sendall(payload)

    def finish(self, seconds: float) -> bool:
        """Whether both sides have said E, or do so now."""
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RD)  # our pump sees an end, and says E
        ended = self._told.wait(seconds) and self._over.wait(seconds)
        self._end.close()
        return ended

    def drop(self) -> None:
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)

    def _pump(self) -> None:
        """Its own thread: what our probe says goes there; when it hangs up, that is told."""
        with contextlib.suppress(OSError, ExternalError):
            while data := self._end.recv(LONGEST_FRAME // 2):
                self._relay.send(b"D", data)
        with contextlib.suppress(OSError, ExternalError):
            self._relay.send(b"E")
        self._told.set()


def _address(row: Any, port: int) -> Address:
    family, ip = row
    return Address(socket.AddressFamily.AF_INET6 if family == "6" else socket.AddressFamily.AF_INET, str(ip), port)


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _object(payload: bytes) -> dict[str, Any]:
    try:
        value = json.loads(payload)
    except ValueError as error:
        raise ExternalError("an answer that is not JSON") from error
    if not isinstance(value, dict):
        raise ExternalError("an answer that is not an object")
    return value


def _one_line(error: Exception) -> str:
    return printable(" ".join(str(error).split()))
