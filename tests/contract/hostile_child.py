"""Looks at hostile servers through one adapter, each look in turn, in this process alone; says how long each took, what it needed, what stayed behind.

`python -m tests.contract.hostile_child KIND FOLDER PORT…`; one line of JSON for each port.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from failsafe.adapters import cloudflare_api, heartbeat, host_keys, imap_line, route53_api
from failsafe.adapters.canary_box import CanaryBox
from failsafe.adapters.certificates import certificate_of
from failsafe.adapters.cloudflare import CloudflareZone
from failsafe.adapters.http_vantage import HttpVantage
from failsafe.adapters.https_get import fetch
from failsafe.adapters.imap import ImapMailbox
from failsafe.adapters.imap_login import log_in
from failsafe.adapters.imap_room import look_at_room
from failsafe.adapters.lookups import NameLookups
from failsafe.adapters.public_resolvers import ask_public
from failsafe.adapters.recipients import ask_recipients
from failsafe.adapters.resolver import AuthoritativeServers
from failsafe.adapters.rfc2136 import Rfc2136Zone
from failsafe.adapters.route53 import Route53Zone
from failsafe.adapters.s3 import BucketPlace, S3Bucket
from failsafe.adapters.sockets import CannotLook
from failsafe.adapters.ssh import SshHost
from failsafe.adapters.ssh_way import SshWay
from failsafe.adapters.submission import Submission
from failsafe.adapters.uptimerobot import UptimeRobot
from failsafe.errors import FailsafeError
from failsafe.failover.up_when import parse_condition
from failsafe.model import Endpoint
from failsafe.secrets import Secret

SECONDS = 1.0  # that each adapter is given
MANY = 1 << 20  # bytes in place of what IMAP's answers may have
NOW = datetime(2026, 11, 22, tzinfo=UTC)
PASSWORD = Secret("correct horse")
UP = parse_condition('$.status == "UP"')


def place(port: int, tls: str) -> Endpoint:
    return Endpoint("127.0.0.1", port, tls)


def mailbox(port: int, tls: str) -> object:
    box = ImapMailbox(place(port, tls), "me", PASSWORD)
    try:
        return box.folders()
    finally:
        box.close()


def source(port: int, tls: str) -> object:
    session = log_in(place(port, tls), "me", PASSWORD, "vps")
    try:
        session.open(session.folders()[0].name)
        return list(session.facts(session.uids()[:10]))
    finally:
        session.close()


def canaries(port: int, tls: str) -> object:
    with CanaryBox(place(port, tls), "me", PASSWORD) as box:
        return box.find(lambda _head: None)


def shell(port: int, folder: Path) -> object:
    host = SshHost("vps2", f"me@127.0.0.1:{port}", folder / "key", folder / "known_hosts", connect_timeout=SECONDS)
    try:
        with SshWay(host).opened():
            return "opened"
    except CannotLook as error:
        return error


def zone(port: int, folder: Path) -> object:
    return Rfc2136Zone(f"127.0.0.1:{port}", key_file=folder / "tsig", key_name="k", answer_seconds=SECONDS).read(
        "x.example", "x.example"
    )


Look = Callable[[int, Path], object]
LOOKS: dict[str, Look] = {
    "mailbox": lambda port, _: mailbox(port, "none"),
    "mailbox with STARTTLS": lambda port, _: mailbox(port, "starttls"),
    "source": lambda port, _: source(port, "none"),
    "source with TLS": lambda port, _: source(port, "implicit"),
    "canaries": lambda port, _: canaries(port, "none"),
    "room": lambda port, folder: look_at_room(place(port, "none"), "me", folder / "password").text,
    "submission": lambda port, _: Submission(place(port, "none"), "me", PASSWORD, whole=SECONDS).send("a@x.example", "b@y.example", b"x\r\n"),
    "submission with TLS": lambda port, _: Submission(place(port, "implicit"), "me", PASSWORD, whole=SECONDS).send("a@x.example", "b@y.example", b"x\r\n"),
    "recipients": lambda port, _: ask_recipients("127.0.0.1", ["a@x.example"], "nas.example.net", port=port).error,
    "certificate": lambda port, _: certificate_of("127.0.0.1", "nas.example.net", port).error,
    "monitor": lambda port, _: HttpVantage("vps", "kuma", f"http://127.0.0.1:{port}/", UP, seconds=SECONDS).probe(NOW).text,
    "monitor with TLS": lambda port, _: HttpVantage("vps", "kuma", f"https://127.0.0.1:{port}/", UP, seconds=SECONDS).probe(NOW).text,
    "robot": lambda port, folder: UptimeRobot("vps", "robot", "1", folder / "password", url=f"http://127.0.0.1:{port}", seconds=SECONDS).probe(NOW).text,
    "page": lambda port, _: fetch(f"https://localhost:{port}/", lambda _host: ["127.0.0.1"], seconds=SECONDS).error,
    "heartbeat": lambda port, folder: beat(f"http://127.0.0.1:{port}/", folder),
    "heartbeat with TLS": lambda port, folder: beat(f"https://127.0.0.1:{port}/", folder),
    "host key": lambda port, _: host_keys.shown_key("127.0.0.1", port),
    "shell": shell,
    "look-up": lambda port, _: NameLookups(f"127.0.0.1:{port}", query_seconds=SECONDS / 2, whole_seconds=SECONDS).ask("x.example", "A").error,
    "authority": lambda port, _: AuthoritativeServers([f"127.0.0.1:{port}"], query_seconds=SECONDS / 2).mx("x.example")[0].error,
    "public": lambda port, _: ask_public([f"127.0.0.1:{port}"], "x.example", SECONDS)[0].error,
    "update": zone,
    "cloudflare": lambda port, folder: cloudflare(f"http://127.0.0.1:{port}", folder),
    "cloudflare with TLS": lambda port, folder: cloudflare(f"https://127.0.0.1:{port}", folder),
    "route53": lambda port, folder: route53(f"http://127.0.0.1:{port}", folder),
    "route53 with TLS": lambda port, folder: route53(f"https://127.0.0.1:{port}", folder),
    "s3": lambda port, _: bucket(f"http://127.0.0.1:{port}"),
    "s3 with TLS": lambda port, _: bucket(f"https://127.0.0.1:{port}"),
}  # fmt: skip


def cloudflare(url: str, folder: Path) -> object:
    return CloudflareZone("z", token_file=folder / "password", base_url=url).read("x.example", "x.example")


def route53(url: str, folder: Path) -> object:
    return Route53Zone("Z1", credentials_file=folder / "aws", base_url=url).read("x.example", "x.example")


def bucket(endpoint: str) -> object:
    environment = {"AWS_ACCESS_KEY_ID": Secret("key"), "AWS_SECRET_ACCESS_KEY": PASSWORD}
    place = BucketPlace(endpoint, "mail", "")
    return S3Bucket("offsite", place, lambda: environment, read_seconds=SECONDS, whole_seconds=SECONDS * 2).count("snapshots")


def beat(url: str, folder: Path) -> None:
    file = folder / f"heartbeat-{threading.get_native_id()}"
    file.touch(0o600)
    file.write_text(url)
    heartbeat.Heartbeat(file).send()


def short(module: ModuleType, *names: str) -> None:
    """These deadlines are constants: a test cannot wait for them."""
    for name in names:
        assert hasattr(module, name), name
        setattr(module, name, SECONDS)


def memory() -> int:
    """The most that this process had since it was last asked, in bytes."""
    found = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())
    assert found
    Path("/proc/self/clear_refs").write_text("5")
    return int(found[1]) * 1024


def outcome(look: Look, port: int, folder: Path) -> dict[str, object]:
    """Of one look, which may fail in the words of this project alone."""
    before, began = memory(), time.monotonic()
    threads = threading.active_count()
    wrong = ""
    try:
        text = str(look(port, folder))
    except FailsafeError as error:
        text = str(error)
    except BaseException as error:  # noqa: BLE001 - told to the test
        text, wrong = "", f"{type(error).__name__}: {error}"[:500]
    seconds = time.monotonic() - began
    time.sleep(0.3)
    for _ in range(20):
        if threading.active_count() <= threads:
            break
        time.sleep(0.1)
    left = [
        each.name for each in threading.enumerate()[threads:] if not isinstance(each, threading.Timer)
    ]  # which ends by itself
    return {"text": text[:300], "seconds": seconds, "memory": memory() - before, "left": left, "wrong": wrong}


def main() -> None:
    kind, folder, *ports = sys.argv[1:]
    short(imap_line, "ANSWER_SECONDS", "CONNECT_SECONDS", "GOODBYE_SECONDS")
    short(host_keys, "TIMEOUT")
    short(cloudflare_api, "WHOLE_SECONDS")
    short(route53_api, "WHOLE_SECONDS")
    cloudflare_api.ANSWER_BYTES = MANY
    short(heartbeat, "TIMEOUT_SECONDS")
    imap_line.HELD_BYTES = imap_line.LITERAL_BYTES = MANY
    for name in ("certificates", "recipients", "imap", "imap_room", "canary_box"):
        module = sys.modules[f"failsafe.adapters.{name}"]
        short(module, *(each for each in ("WHOLE_SECONDS", "ANSWER_SECONDS") if hasattr(module, each)))
    if kind.startswith(("cloudflare", "host key", "shell")):  # what is slow to import is no look
        for name in ("cloudflare", "httpx", "fabric", "paramiko"):
            importlib.import_module(name)
    if kind.startswith(("route53", "s3")):  # nor are Amazon's descriptions of its services, which are read with the first
        with suppress(FailsafeError):
            LOOKS[kind](1, Path(folder))
    memory()
    for port in ports:
        print(json.dumps(outcome(LOOKS[kind], int(port), Path(folder))), flush=True)


if __name__ == "__main__":
    main()
