"""What a controller asks outside of the lab, as stand-ins on its own loopback: Cloudflare's API with the lab's domain, and buckets of S3."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.fakes.cloudflare_server import CloudflareServer
from tests.lab.names import DOMAIN, MX_NAMES

if TYPE_CHECKING:
    from tests.contract.s3_servers import S3Server

REPOSITORY = "/srv/bucket"  # what the buckets are filled with
LOCKED = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}}}
ONE_YEAR = {"ID": "everything", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 365}}
SNAPSHOT = f"snapshots/{'ab' * 32}"
MOTO_ACCOUNT = "123456789012"


class Clouds:
    """Each stand-in begins when it is asked for the first time."""

    def __init__(self) -> None:
        self._running = ExitStack()
        self._s3: S3Server | None = None
        self._buckets = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def cloudflare(self, *, is_locked: bool = False, **facts: Any) -> str:
        """`is_locked`: Email Routing has the MX record; `facts`: attributes of the stand-in, such as `token_ends`."""
        server = self._running.enter_context(CloudflareServer.running({DOMAIN: [(10, MX_NAMES["primary"], 60)]}))
        for name, value in facts.items():
            assert hasattr(server, name), name
            setattr(server, name, value)
        if is_locked:
            (record,) = server.records
            server.by_hand(record, meta={"read_only": True, "email_routing": True})
        return server.url

    def bucket(self, kind: str) -> str:
        """A new one that holds a repository. "good": nobody can delete its versions; "plain": who may write can; "expiring": it deletes by itself;
        "keyless": keys/ is gone; "spoilt": a snapshot of two hours ago cannot be read; "read-only": the credential may not write there."""
        server = self._s3 = self._s3 or self._moto()
        self._buckets += 1
        name, client = f"mail-{self._buckets}", server.client()
        client.create_bucket(Bucket=name, ObjectLockEnabledForBucket=kind != "plain")
        if kind != "plain":
            client.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=LOCKED)
        for file in (each for each in Path(REPOSITORY).rglob("*") if each.is_file()):
            _put(client, name, str(file.relative_to(REPOSITORY)), file.read_bytes())
        if kind == "keyless":
            for each in client.list_objects_v2(Bucket=name, Prefix="keys/")["Contents"]:
                client.delete_object(Bucket=name, Key=each["Key"])
        if kind == "spoilt":
            for key in (SNAPSHOT, f"index/{'cd' * 32}", f"data/ef/{'ef' * 32}"):
                _put(client, name, key, b"x" * 250)
            _age(name, SNAPSHOT)
        if kind == "expiring":
            client.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [ONE_YEAR]})
        return self._read_only(server).url(name) if kind == "read-only" else server.url(name)

    def _moto(self) -> S3Server:
        """In this process, where what it holds can be made older."""
        from moto.server import ThreadedMotoServer

        from tests.contract.s3_servers import S3Server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        self._running.callback(server.stop)
        return S3Server("moto", server.get_host_and_port()[1])

    def _read_only(self, server: S3Server) -> S3Server:
        from tests.contract.s3_servers import FaultyProxy

        proxy = self._running.enter_context(FaultyProxy(server.port).serving())
        proxy.fault, proxy.strikes = "403", lambda method, _path: method in ("PUT", "POST", "DELETE")
        return server.at(proxy.port)


def _put(client: Any, bucket: str, key: str, data: bytes) -> None:
    client.put_object(Bucket=bucket, Key=key, Body=data, ChecksumAlgorithm="CRC32")  # which a locked bucket demands


def _age(bucket: str, key: str) -> None:
    from moto.s3.models import s3_backends

    s3_backends[MOTO_ACCOUNT]["aws"].buckets[bucket].keys[key].last_modified -= timedelta(hours=2)
