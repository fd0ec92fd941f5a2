"""Notices and heartbeats against a real HTTP server."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.adapters import heartbeat, notify
from failsafe.adapters.heartbeat import Heartbeat
from failsafe.adapters.notify import AppriseNotifier, failures, shown_address
from failsafe.app import App
from failsafe.config.load import load_config
from failsafe.errors import NotifyError, SecretError
from failsafe.events import Event
from failsafe.model import Notice, Severity
from tests.contract.http_server import http_server
from tests.contract.verbs import run_verb
from tests.unit.daemon.test_watch import CONFIG

NOTICE = Notice(
    "the primary is down", "No.", "mail.example.net", "nothing", datetime(2026, 1, 2, tzinfo=UTC), "t/1", Severity.FAIL
)


def secret_file(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def notifier(file: Path) -> AppriseNotifier:
    return AppriseNotifier(file, controller="nas", zone=UTC)


def test_a_notice_arrives_with_its_four_answers(tmp_path: Path) -> None:
    with http_server() as server:
        urls = secret_file(tmp_path / "urls", f"# my phone\n\njson://127.0.0.1:{server.port}/hook\n")
        [delivery] = notifier(urls).send(NOTICE)
        assert delivery.arrived
        told = json.loads(server.requests[0][2])
        assert "the primary is down" in told["title"]
        assert "Where does mail go now? mail.example.net" in told["message"]


def test_one_address_that_fails_does_not_keep_the_others_from_arriving(tmp_path: Path) -> None:
    with http_server() as good, http_server() as bad:
        bad.status = 500
        urls = secret_file(
            tmp_path / "urls", f"json://127.0.0.1:{bad.port}/\njson://127.0.0.1:{good.port}/\nnonsense\nnosuchservice://x/\n"
        )
        deliveries = notifier(urls).send(NOTICE)
        assert [delivery.arrived for delivery in deliveries] == [False, True, False, False]
        assert "the service did not take it" in failures(deliveries)


def test_one_address_that_hangs_does_not_hold_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "DEADLINE_SECONDS", 3.0)
    with http_server() as good, http_server() as silent:
        silent.release.clear()
        urls = secret_file(tmp_path / "urls", f"json://127.0.0.1:{silent.port}/\njson://127.0.0.1:{good.port}/\n")
        slow, quick = notifier(urls).send(NOTICE)
        assert (slow.arrived, quick.arrived) == (False, True)
        assert silent.requests


def test_the_file_is_read_at_every_use(tmp_path: Path) -> None:
    with http_server() as first, http_server() as second:
        urls = secret_file(tmp_path / "urls", f"json://127.0.0.1:{first.port}/\n")
        sender = notifier(urls)
        sender.send(NOTICE)
        secret_file(urls, f"json://127.0.0.1:{second.port}/\n")
        sender.send(NOTICE)
        assert (len(first.requests), len(second.requests)) == (1, 1)


def test_no_credential_is_shown_with_an_address() -> None:
    urls = [
        "tgram://123456789:AbCdEfTokenSecret/12345/",
        "mailto://user:hunter2@example.org?to=a@example.net",
        "slack://TokenSecretA/TokenSecretB/TokenSecretC",
        "discord://webhooksecret/tokensecret",
        "json://user:hunter2@localhost:8080/secretpath?x=secret",
    ]
    shown = " ".join(shown_address(url) for url in urls).lower()
    for secret in ("token", "secret", "hunter2", "123456789", "user", "webhook"):
        assert secret not in shown
    assert "example.org" in shown


def test_an_open_or_empty_urls_file_is_an_error_with_its_mend(tmp_path: Path) -> None:
    urls = secret_file(tmp_path / "urls", "json://127.0.0.1/")
    urls.chmod(0o644)
    with pytest.raises(SecretError, match="chmod 600"):
        notifier(urls).send(NOTICE)
    with pytest.raises(NotifyError, match="names no address"):
        notifier(secret_file(tmp_path / "empty", "# nothing\n")).send(NOTICE)


def test_the_heartbeat_is_one_get_of_the_whole_url(tmp_path: Path) -> None:
    with http_server() as server:
        Heartbeat(secret_file(tmp_path / "url", f"http://127.0.0.1:{server.port}/ping/abc?x=1\n")).send()
        assert [request[:2] for request in server.requests] == [("GET", "/ping/abc?x=1")]


def test_a_heartbeat_that_is_refused_or_lost_is_an_error_without_the_url(tmp_path: Path) -> None:
    with http_server() as server:
        server.status = 404
        with pytest.raises(NotifyError, match="answered 404") as refused:
            Heartbeat(secret_file(tmp_path / "url", f"http://127.0.0.1:{server.port}/ping/topsecret")).send()
        port = server.port
    with pytest.raises(NotifyError, match="did not reach") as lost:
        Heartbeat(secret_file(tmp_path / "url", f"http://127.0.0.1:{port}/ping/topsecret")).send()
    assert "topsecret" not in str(refused.value) + str(lost.value)


def test_a_heartbeat_has_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "TIMEOUT_SECONDS", 1.0)
    with http_server() as server:
        server.release.clear()
        with pytest.raises(NotifyError, match="did not reach"):
            Heartbeat(secret_file(tmp_path / "url", f"http://127.0.0.1:{server.port}/")).send()


def test_a_test_notice_that_arrives_makes_those_that_wait_due_at_once(tmp_path: Path) -> None:
    config = tmp_path / "failsafe.toml"
    urls = tmp_path / "urls"
    config.write_text(
        CONFIG.format(folder=tmp_path, port=9, recipient="probe@example.test") + f'[notify]\nurls_file = "{urls}"\n'
    )
    app = App(load_config(config), config)
    now = app.clock.now()
    app.record(Event("failover.done", "example.test", "mail goes to the secondary", now, {}, NOTICE))
    app.events.notice_failed(app.events.pending_notices(now)[0], "no route", now + timedelta(hours=5))

    with http_server() as server:
        secret_file(urls, f"json://127.0.0.1:{server.port}/\n")
        server.status = 500
        assert run_verb(config, "notify", "--test")[0] == 4
        assert app.events.pending_notices(app.clock.now()) == []
        server.status = 200
        assert run_verb(config, "notify", "--test")[0] == 0
    assert len(app.events.pending_notices(app.clock.now())) == 1
    app.store.close()
