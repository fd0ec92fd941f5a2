"""Rotating a secret is replacing its file: what lives long and uses one presents the new secret at its next use."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import event

from failsafe.adapters.cloudflare_api import CloudflareApi
from failsafe.adapters.heartbeat import Heartbeat
from failsafe.adapters.http_vantage import HttpVantage
from failsafe.adapters.imap_probe import ImapProbe
from failsafe.adapters.notify import AppriseNotifier
from failsafe.adapters.rfc2136 import Rfc2136Zone
from failsafe.adapters.route53_api import Route53Api
from failsafe.adapters.uptimerobot import UptimeRobot
from failsafe.app import App
from failsafe.config.load import load_config
from failsafe.errors import FailsafeError
from failsafe.failover.up_when import parse_condition
from failsafe.model import Endpoint, Notice, ProbeClass
from failsafe.secrets import read_secret
from failsafe.store.engine import Store
from tests.contract.dovecot import PASSWORD, running
from tests.contract.restics import put_empty_repository
from tests.contract.wheels import ROOT

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
OLD, NEW = "b2xkLXNlY3JldA==", "bmV3LXNlY3JldA=="  # of base64, which a TSIG key must be


def replace_file(file: Path, text: str) -> None:
    """As people and rotating programs do: a new file in the place of the old one."""
    fresh = file.with_name(f"{file.name}.fresh")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(file)


class Listener:
    """An HTTP server that remembers every request whole, and answers 200 with {}."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                outer.heard.append(f"{self.path}\n{self.headers}\n{body}")
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_GET = do_POST = _answer  # noqa: N815 - the standard library finds them by these names

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.close()


Use = Callable[[], object]  # of one long-lived object; what it presented is in its answer, or was heard


def heartbeat(file: Path, _at: Listener) -> Use:
    made = Heartbeat(file)
    return lambda: made.send()  # noqa: PLW0108 - bound to the object that lives long


def notices(file: Path, _at: Listener) -> Use:
    made = AppriseNotifier(file, controller="nas", zone=UTC)
    return lambda: made.send(Notice("subject", "no", "here", "nothing", None, "thread"))


def uptimerobot(file: Path, at: Listener) -> Use:
    made = UptimeRobot("vps", "robot", "1", file, url=at.url)
    return lambda: made.probe(NOW)


def monitor(file: Path, at: Listener) -> Use:
    made = HttpVantage("vps", "page", at.url, parse_condition("status = 200"), key_file=file)
    return lambda: made.probe(NOW)


def cloudflare(file: Path, at: Listener) -> Use:
    made = CloudflareApi("zone", str(file), at.url, 5.0)

    def use() -> object:
        with made.client() as client, suppress(FailsafeError):
            return made.records(client, "example.org", "MX")
        return None

    return use


def route53(file: Path, _at: Listener) -> Use:
    made = Route53Api(None, (file, None), None, 5.0, 5.0)
    return lambda: made.client()._request_signer._credentials.secret_key


def tsig(file: Path, _at: Listener) -> Use:
    made = Rfc2136Zone("127.0.0.1:53", key_name="failsafe", key_file=file)

    def use() -> object:
        keyring: Any = made._new_update("example.org").keyring
        (key,) = keyring.values() if isinstance(keyring, dict) else (keyring,)
        import base64

        return base64.b64encode(key.secret).decode()

    return use


def postgresql(file: Path, _at: Listener) -> Use:
    made = Store("postgresql+psycopg://failsafe@127.0.0.1:1/failsafe", password=lambda: read_secret(file))
    presented: list[str] = []

    def stop(_dialect: object, _record: object, _arguments: object, words: dict[str, Any]) -> None:
        presented.append(words["password"])
        raise ConnectionError

    event.listen(made._engine, "do_connect", stop)

    def use() -> object:
        with suppress(ConnectionError), made.read():
            pass
        return presented[-1]

    return use


ADDRESS = "{url}/{secret}"
CASES: dict[str, tuple[Callable[[Path, Listener], Use], str]] = {
    "the heartbeat's URL": (heartbeat, ADDRESS),
    "the addresses of notices": (notices, "json://{host}/{secret}"),
    "UptimeRobot's key": (uptimerobot, "{secret}"),
    "a monitor's key": (monitor, "{secret}"),
    "Cloudflare's token": (cloudflare, "{secret}"),
    "Amazon's key": (route53, "[default]\naws_access_key_id = id\naws_secret_access_key = {secret}\n"),
    "the TSIG key": (tsig, "{secret}"),
    "the password of PostgreSQL": (postgresql, "{secret}"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_next_use_presents_what_the_file_holds_now(
    case: tuple[Callable[[Path, Listener], Use], str], listener: Listener, tmp_path: Path
) -> None:
    make, text = case
    file = tmp_path / "secret"

    def content(secret: str) -> str:
        return text.format(secret=secret, url=listener.url, host=listener.url.removeprefix("http://"))

    def presented(use: Use) -> str:
        listener.heard.clear()
        said = str(use())
        return said + "".join(listener.heard)

    replace_file(file, content(OLD))
    use = make(file, listener)
    before = presented(use)
    replace_file(file, content(NEW))
    after = presented(use)

    assert OLD.rstrip("=") in before
    assert NEW.rstrip("=") in after
    assert OLD.rstrip("=") not in after


def test_a_mailboxs_password_is_read_at_each_look(tmp_path: Path) -> None:
    user, file = "probe@example.org", tmp_path / "password"
    with running([user]) as server:
        replace_file(file, "another")
        endpoint = Endpoint("127.0.0.1", server.plain, "none", None)
        probe = ImapProbe("vps", endpoint, user, str(file))
        refused = probe.probe(NOW)
        replace_file(file, PASSWORD)
        seen = probe.probe(NOW)

    assert refused.seen is not ProbeClass.UP
    assert seen.seen is ProbeClass.UP, seen.text


CONFIG = """
[controller]
id = "nas"
state_dir = "{folder}/state"
[repository.nas]
url = "{folder}/repository"
password_file = "{folder}/password"
[repository.far]
url = "s3:http://127.0.0.1:1/bucket"
password_file = "{folder}/password"
environment_file = "{folder}/environment"
"""


def test_a_repositorys_password_and_credentials_are_read_at_each_run_of_restic(tmp_path: Path) -> None:
    (tmp_path / "failsafe.toml").write_text(CONFIG.format(folder=tmp_path))
    replace_file(tmp_path / "password", "old password")
    replace_file(tmp_path / "environment", "AWS_SECRET_ACCESS_KEY=old\n")
    put_empty_repository(tmp_path / "repository", "new password")
    app = App(load_config(tmp_path / "failsafe.toml"), tmp_path / "failsafe.toml")
    repository, bucket = app.repository("nas"), app.bucket("far")

    with pytest.raises(FailsafeError, match="password"):
        repository.snapshots()
    replace_file(tmp_path / "password", "new password")
    replace_file(tmp_path / "environment", "AWS_SECRET_ACCESS_KEY=new\n")

    assert list(repository.snapshots()) == []
    assert bucket is not None
    assert bucket._environment()["AWS_SECRET_ACCESS_KEY"].reveal() == "new"  # type: ignore[attr-defined]


READERS = {"read_secret", "read_environment", "read_tsig_key", "read_urls", "read_profile", "read_accounts"}
KEPT = {"cached_property", "cache", "lru_cache"}


def keepers() -> Iterator[str]:
    """Where the code would keep a secret: read while an object is made, or in what is remembered. In a lambda it is read later."""
    for path in sorted((ROOT / "failsafe").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef):
                continue
            kept = {getattr(each, "id", getattr(each, "attr", "")) for each in node.decorator_list} & KEPT
            if (kept or node.name in ("__init__", "__post_init__")) and _reads(node):
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def _reads(node: ast.AST) -> bool:
    later = (ast.Lambda, ast.FunctionDef)
    return any(
        (isinstance(child, ast.Call) and getattr(child.func, "id", "") in READERS)
        or (not isinstance(child, later) and _reads(child))
        for child in ast.iter_child_nodes(node)
    )


def test_no_object_reads_a_secret_when_it_is_made() -> None:
    assert list(keepers()) == []
