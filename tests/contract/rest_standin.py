"""A stand-in for a REST server that holds a restic repository: basic authentication, and nothing but reading. It remembers what else it was asked."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LIST = "application/vnd.x.restic.rest.v2"


@dataclass
class RestServer:
    port: int
    asked_by: set[str] = field(default_factory=set)  # users who were let in
    refused: list[tuple[str, str]] = field(default_factory=list)  # what was no reading: (method, path)

    @property
    def url(self) -> str:
        return f"rest:http://127.0.0.1:{self.port}/"


class _Handler(BaseHTTPRequestHandler):
    repository: Path
    users: dict[str, str]
    record: RestServer

    def do_GET(self) -> None:
        if not self._let_in():
            return
        path = self._place()
        if self.path.endswith("/") and self.path != "/":
            rows = [{"name": each.name, "size": each.stat().st_size} for each in path.rglob("*") if each.is_file()]
            self._answer(200, json.dumps(rows).encode(), LIST)
        elif path.is_file():
            self._bytes(path.read_bytes())
        else:
            self._answer(404, b"")

    def do_HEAD(self) -> None:
        if self._let_in():
            path = self._place()
            self._answer(200 if path.is_file() else 404, path.read_bytes() if path.is_file() else b"")

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.record.refused.append((self.command, self.path))
        self._answer(403, b"")

    do_POST = do_PUT = do_DELETE = _refuse  # noqa: N815 - the standard library finds them by these names

    def _let_in(self) -> bool:
        kind, _, words = self.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(words).decode().partition(":") if kind == "Basic" else ("", "", "")
        if self.users.get(user) == password:
            self.record.asked_by.add(user)
            return True
        self._answer(401, b"")
        return False

    def _place(self) -> Path:
        parts = self.path.strip("/").split("/")
        if parts[0] == "data" and len(parts) == 2:
            parts = ["data", parts[1][:2], parts[1]]
        return self.repository.joinpath(*parts)

    def _bytes(self, data: bytes) -> None:
        wanted = self.headers.get("Range", "")
        if not wanted:
            self._answer(200, data)
            return
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        self._answer(206, data[int(first) : int(last) + 1 if last else len(data)])

    def _answer(self, status: int, body: bytes, kind: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def rest_server(repository: Path, users: dict[str, str]) -> Iterator[RestServer]:
    """`users`: name -> password."""

    class Handler(_Handler):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    record = RestServer(server.server_address[1])
    Handler.repository, Handler.users, Handler.record = repository, users, record
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield record
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
