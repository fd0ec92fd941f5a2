"""S3 servers on loopback: moto for the ordinary calls, a Ceph gateway with --all for what only a real server does, and a proxy that fails on purpose.

moto accepts every credential and knows no policy, so nothing that depends on a refusal is believed of it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from failsafe.adapters.s3 import BucketPlace, S3Bucket
from failsafe.secrets import Secret
from tests.ports import free_port
from tests.support import wait_until

CEPH = Path(__file__).parent.parent / "tools" / "ceph-gateway.sh"
KINDS = ["moto", *(["ceph"] if os.environ.get("FAILSAFE_ALL") else [])]


@dataclass(frozen=True)
class S3Server:
    kind: str
    port: int
    key: str = "OWNERKEY"
    secret: str = "ownersecretownersecret"

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, Secret]:
        return {"AWS_ACCESS_KEY_ID": Secret(self.key), "AWS_SECRET_ACCESS_KEY": Secret(self.secret)}

    def client(self) -> Any:
        import boto3
        from botocore.config import Config

        config = Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required")
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=config,
        )

    def writer(self) -> S3Server:
        """The same server for another user; only a policy lets it in (Ceph)."""
        return S3Server(self.kind, self.port, "WRITERKEY", "writersecretwritersecret")

    def at(self, port: int) -> S3Server:
        return S3Server(self.kind, port, self.key, self.secret)

    def url(self, bucket: str, prefix: str = "") -> str:
        return f"s3:{self.endpoint}/{bucket}" + (f"/{prefix}" if prefix else "")

    def bucket(self, bucket: str, prefix: str = "", **more: float) -> S3Bucket:
        place = BucketPlace(self.endpoint, bucket, f"{prefix}/" if prefix else "")
        return S3Bucket("offsite", place, self.environment, **more)


@contextmanager
def moto_server(folder: Path) -> Iterator[S3Server]:
    port = free_port()
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "MOTO_S3_DEFAULT_MAX_KEYS": "1000"}
    with (folder / "moto.log").open("wb") as log:
        server = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=folder)
    try:
        wait_until(lambda: http_answers(port), 60, "moto answers")
        yield S3Server("moto", port)
    finally:
        server.kill()
        server.wait()


@contextmanager
def ceph_server(folder: Path) -> Iterator[S3Server]:
    missing = [program for program in ("radosgw", "ceph-mon", "ceph-osd", "ceph-authtool") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"no Ceph gateway: {', '.join(missing)} not installed (Debian: radosgw ceph-mon ceph-osd ceph-common)")
    if os.geteuid() != 0:
        pytest.skip("no Ceph gateway: it needs root")
    port = free_port()
    command = [str(CEPH), str(folder), str(free_port()), str(port)]
    with (folder / "ceph.log").open("wb") as log:
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert server.stdout is not None
        assert server.stdout.readline().strip() == "ready", (folder / "ceph.log").read_text()
        yield S3Server("ceph", port)
    finally:
        assert server.stdin is not None
        with contextlib.suppress(OSError):
            server.stdin.close()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def http_answers(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2):
        return True


Rule = Callable[[str, str], bool]  # (method, path) -> whether the fault strikes


def every_request(_method: str, _path: str) -> bool:
    return True


@dataclass
class FaultyProxy:
    """Passes requests on to a server, unless `fault` ("500", "403", "never", "slow") strikes those that `strikes` chooses."""

    upstream: int
    fault: str = ""
    strikes: Rule = every_request
    struck: threading.Event = field(default_factory=threading.Event)
    asked: list[tuple[str, str]] = field(default_factory=list)
    _released: threading.Event = field(default_factory=threading.Event)
    _server: ThreadingHTTPServer | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.server_address[1])

    @contextmanager
    def serving(self) -> Iterator[FaultyProxy]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                proxy._handle(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815 - the library's names

            def log_message(self, *_: object) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None: ...

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self._released.set()
            self._server.shutdown()
            self._server.server_close()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.asked.append((request.command, request.path))
        if not self.fault or not self.strikes(request.command, request.path):
            self._pass_on(request, body)
            return
        self.struck.set()
        if self.fault == "never":
            self._released.wait(120)
            request.close_connection = True
        elif self.fault == "slow":
            self._drip(request)
        else:
            code, said = {
                "500": ("InternalError", "We encountered an internal error. Please try again."),
                "403": ("AccessDenied", "Access Denied."),
            }[self.fault]
            text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{said}</Message></Error>".encode()
            answer(request, int(self.fault), {"Content-Type": "application/xml"}, text)

    def _drip(self, request: BaseHTTPRequestHandler) -> None:
        """One byte now and then: no single read of the client ever times out."""
        request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(1000):
            if self._released.wait(0.2):
                break
            request.wfile.write(b" ")
            request.wfile.flush()
        request.close_connection = True

    def _pass_on(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=60)
        try:
            kept = {name: value for name, value in request.headers.items() if name.lower() not in ("connection", "expect")}
            connection.request(request.command, request.path, body or None, kept)
            response = connection.getresponse()
            data = response.read()
            headers = {name: value for name, value in response.getheaders() if name.lower() not in HOP}
            answer(request, response.status, headers, data, length=response.getheader("Content-Length"))
        finally:
            connection.close()


def allow_all_but_delete(server: S3Server, name: str, prefix: str = "") -> None:
    """The policy of docs/repositories.md, for a gateway's own user."""
    statements = [
        {"Action": ["s3:ListBucket", "s3:GetBucketLocation"], "Resource": f"arn:aws:s3:::{name}"},
        {"Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"arn:aws:s3:::{name}/*"},
        {"Action": ["s3:DeleteObject"], "Resource": f"arn:aws:s3:::{name}/{prefix}locks/*"},
    ]
    whom = {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/writer"]}}
    policy = {"Version": "2012-10-17", "Statement": [{**whom, **statement} for statement in statements]}
    server.client().put_bucket_policy(Bucket=name, Policy=json.dumps(policy))


HOP = frozenset({"connection", "transfer-encoding", "content-length", "keep-alive"})


def answer(
    request: BaseHTTPRequestHandler, status: int, headers: Mapping[str, str], body: bytes, *, length: str | None = None
) -> None:
    request.send_response_only(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", (length if request.command == "HEAD" else None) or str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)
