"""botocore's requests with bounds: an answer in bytes and tags, a piece of work as a whole in seconds, after which its connections are ended.

botocore itself knows deadlines for single reads alone, reads any body whole, and shows nobody its sockets. But whoever hears its event `before-send` may send
a request in its stead. So it is sent from here, by botocore's own HTTP session, whose connections are noted; and its answer is read piece by piece.
"""

from __future__ import annotations

import http.client
import io
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

PIECE = 1 << 16
MOST_TAGS = 200_000  # "<" in an answer: a page of a thousand objects has some 25,000, and a tree of XML is a hundred times larger than its text
CONNECTIONS = 4  # of one piece of work, which are open at the same time

T = TypeVar("T")
_here = threading.local()  # `work`: what this thread is at


@dataclass(slots=True)
class _Work:
    """One piece of work, in a thread of its own."""

    session: Any = None  # its requests share connections
    over: threading.Event = field(default_factory=threading.Event)
    _below: list[socket.socket] = field(default_factory=list)

    def note(self, connection: socket.socket) -> None:
        """Before its TLS handshake, which may never come back by itself."""
        self._below.append(connection.dup())  # TLS takes the first its descriptor away
        while len(self._below) > CONNECTIONS:
            self._below.pop(0).close()
        if self.over.is_set():
            self.cut()

    def cut(self) -> None:
        self.over.set()
        for each in tuple(self._below):
            with suppress(OSError):  # it has ended meanwhile
                each.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        if self.session is not None:
            self.session.close()
        while self._below:
            self._below.pop().close()


def in_time(work: Callable[[], T], seconds: float, name: str) -> T:
    """What `work` gives or raises. Raises TimeoutError after `seconds`; what it still asks is ended then."""
    done: list[T] = []
    failed: list[BaseException] = []
    mine = _Work()

    def run() -> None:
        _here.work = mine
        try:
            done.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again where somebody waits for it
            failed.append(error)
        finally:
            mine.end()

    worker = threading.Thread(target=run, name=name, daemon=True)
    worker.start()
    worker.join(seconds)
    if worker.is_alive():
        mine.cut()
        raise TimeoutError("timed out")
    if failed:
        raise failed[0]
    return done[0]


def bind(client: Any, answer_bytes: int, **settings: Any) -> None:
    """From now on all that `client` asks is asked within `in_time`. `settings`: of botocore's URLLib3Session (timeout, proxies, verify)."""

    def send(request: Any, **_: Any) -> Any:
        work = getattr(_here, "work", None)
        assert work is not None, "a request outside of in_time"
        return _send(request, work, answer_bytes, settings)

    client.meta.events.register("before-send", send)


def _send(request: Any, work: _Work, answer_bytes: int, settings: dict[str, Any]) -> Any:
    """botocore's AWSResponse, with its body read. Raises botocore's HTTPClientError, which it may repeat; TimeoutError, which it does not."""
    if work.session is None:
        work.session = _session_class()(**settings)
    request.stream_output = True  # else the session reads the body whole
    request.headers.pop("Expect", None)  # what a server says then is read in lines of any length
    try:
        if not work.over.is_set():
            response = work.session.send(request)
            response.raw = _Held(_read(response.raw, answer_bytes, request.url))
            return response
    except Exception:
        if not work.over.is_set():
            raise
    raise TimeoutError("timed out")


def _read(raw: Any, most: int, url: str) -> bytes:
    from botocore.exceptions import ReadTimeoutError, ResponseStreamingError
    from urllib3.exceptions import HTTPError
    from urllib3.exceptions import ReadTimeoutError as Silence

    body = bytearray()
    try:
        while piece := raw.read(PIECE):  # not `stream`, which reads the lines between chunks without a limit
            body += piece
            if len(body) > most:
                raise ResponseStreamingError(error=f"more than {most} bytes")
    except Silence as error:
        raise ReadTimeoutError(endpoint_url=url, error=error) from error
    except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
        raise ResponseStreamingError(error=error) from error
    finally:
        raw.close()
    if body.count(b"<") > MOST_TAGS:
        raise ResponseStreamingError(error=f"more than {MOST_TAGS} tags")
    if b"<!ENTITY" in body:  # no service declares names, and a few short ones unfold to any size
        raise ResponseStreamingError(error="names of its own are declared in it")
    return bytes(body)


class _Held(io.BytesIO):
    """A body in the place of the response that it came from."""

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self.read()


@cache
def _session_class() -> Any:
    """botocore's HTTP session, whose connections are noted in the work of the thread that makes them."""
    from botocore.awsrequest import AWSHTTPConnection, AWSHTTPConnectionPool, AWSHTTPSConnection, AWSHTTPSConnectionPool
    from botocore.httpsession import URLLib3Session

    class Noted:
        def _new_conn(self) -> socket.socket:
            connection: socket.socket = super()._new_conn()  # type: ignore[misc]  # of the library, beside it
            _here.work.note(connection)
            return connection

    class Plain(Noted, AWSHTTPConnection):  # type: ignore[misc]  # the library has no types
        pass

    class Secure(Noted, AWSHTTPSConnection):  # type: ignore[misc]
        pass

    class PlainPool(AWSHTTPConnectionPool):  # type: ignore[misc]
        ConnectionCls = Plain

    class SecurePool(AWSHTTPSConnectionPool):  # type: ignore[misc]
        ConnectionCls = Secure

    class Session(URLLib3Session):  # type: ignore[misc]
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self._pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
            self._manager.pool_classes_by_scheme = self._pool_classes_by_scheme

    return Session
