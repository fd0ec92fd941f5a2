"""One GET of what somebody else's monitor says: bounded in time as a whole, in bytes and in redirects; TLS is verified.

`http.client` has one deadline for each read, so a server that drips holds it for hours: the whole runs in a thread whose connection is closed at the end
of the time, its TLS handshake included. A redirect to another host is not followed, since it would carry a key there, and is most often a login page.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from failsafe.adapters.sockets import cut_after

LARGEST = 1 << 20  # bytes of an answer; a status page's JSON has some tens of thousands
REDIRECTS = 3


class NoAnswer(Exception):
    """Nothing came that could be read; the text says why, without the URL's path and query, which may hold a secret."""


@dataclass(frozen=True, slots=True)
class WebAnswer:
    status: int
    kind: str  # the content type, without its parameters, in lower case
    body: str
    age_seconds: int = 0  # in caches on the way


@dataclass(slots=True)
class _Get:
    """One GET under way, which can be ended from outside."""

    url: str
    headers: Mapping[str, str]
    end: float  # on the monotonic clock
    connection: http.client.HTTPConnection | None = None
    line: socket.socket | None = None  # of the connection, which forgets it when the answer begins
    answer: WebAnswer | None = None
    fault: str = ""
    ended: threading.Event = field(default_factory=threading.Event)
    late: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        try:
            self._follow()
        except NoAnswer as error:
            self.fault = str(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.fault = f"{_host(self.url)}: {_reason(error)}"
        finally:
            self.close()
            self.ended.set()

    def give_up(self) -> None:
        self.late.set()
        self.close()

    def close(self) -> None:
        if self.line is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self.line, socket.SHUT_RDWR)  # wakes whoever reads; closing alone does not
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.close()

    def _follow(self) -> None:
        host = _host(self.url)
        for _ in range(REDIRECTS + 1):
            response = self._ask()
            target = response.getheader("Location", "") if response.status in (301, 302, 303, 307, 308) else ""
            if not target:
                self.answer = _answer(response)
                return
            self.close()
            before, self.url = urlsplit(self.url), urljoin(self.url, target)
            if _host(self.url) != host or (before.scheme == "https" and urlsplit(self.url).scheme != "https"):
                raise NoAnswer(f"{host} sends us on to {_host(self.url)}, which is not followed")
        raise NoAnswer(f"{host} sends us on more than {REDIRECTS} times")

    def _ask(self) -> http.client.HTTPResponse:
        url = urlsplit(self.url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise NoAnswer(f"{_host(self.url)} is no place on the web")
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self.connection = kind(url.hostname, url.port)
        self.connection.sock = self._connect(url.hostname, self.connection.port, secure=url.scheme == "https")
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self.connection.request("GET", path, headers={"User-Agent": "failsafe", "Connection": "close", **self.headers})
        return self.connection.getresponse()

    def _connect(self, host: str, port: int, *, secure: bool) -> socket.socket:
        self.line = socket.create_connection((host, port), self._left())
        if secure:
            with cut_after(self.line, self._left()):
                self.line = ssl.create_default_context().wrap_socket(self.line, server_hostname=host)
        if self.late.is_set():  # by whoever closed what was there until now
            raise TimeoutError("timed out")
        return self.line

    def _left(self) -> float:
        return max(self.end - time.monotonic(), 0.001)


def fetch(url: str, seconds: float, headers: Mapping[str, str] | None = None) -> WebAnswer:
    """Raises NoAnswer, after `seconds` at the latest."""
    get = _Get(url, headers or {}, time.monotonic() + seconds)
    threading.Thread(target=get.run, name=f"GET {_host(url)}", daemon=True).start()
    if not get.ended.wait(seconds):
        get.give_up()
        raise NoAnswer(f"{_host(url)} gave no whole answer within {seconds:.2g} s")
    if get.answer is None:
        raise NoAnswer(get.fault)
    return get.answer


def _answer(response: http.client.HTTPResponse) -> WebAnswer:
    data = response.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise NoAnswer(f"the answer is larger than {LARGEST >> 20} MiB")
    kind = response.getheader("Content-Type", "").partition(";")[0].strip().lower()
    age = response.getheader("Age", "")
    return WebAnswer(response.status, kind, data.decode("utf-8", "replace"), int(age) if age.isdecimal() and len(age) < 10 else 0)


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "its address"
    except ValueError:
        return "its address"


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not verify: {error.verify_message}"
    return str(getattr(error, "strerror", None) or type(error).__name__)
