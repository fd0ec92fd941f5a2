"""A new configuration is taken over whole or not at all, and somebody always watches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.clock import SystemClock
from failsafe.config.load import load_config
from failsafe.daemon.jobs import Jobs
from failsafe.daemon.loop import Daemon
from failsafe.daemon.shift import RETRY_LEASE, Shift
from failsafe.web.server import WebServer
from tests.ports import free_port

PORT = free_port()
CONFIG = """
[controller]
id = "nas"
state_dir = "{folder}/state"
[web]
listen = "127.0.0.1:{web_port}"
[mail_server.vps]
layout = "maildir"
path = "{folder}/mail"
[domain."example.test"]
server = "vps"
primary = ["mail.example.test"]
secondary = ["mx.example.net"]
strategy = "on-demand"
[probe.vps]
smtp = ["127.0.0.1:1"]
helo = "{helo}"
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    file = tmp_path / "failsafe.toml"
    file.write_text(CONFIG.format(folder=tmp_path, web_port=PORT, helo="nas.example.test"))
    app = App(load_config(file), file)
    made = Daemon(app)
    made._shift, made._jobs = Shift(app, SystemClock().now()), Jobs(app)
    yield made
    made._shift.close(SystemClock().now())


def is_open(shift: Shift) -> bool:
    return shift.watch.pool.submit(lambda: True).result(10)


def test_a_configuration_that_turns_out_to_be_of_no_use_leaves_the_old_watch_running(daemon: Daemon, tmp_path: Path) -> None:
    before = daemon._shift
    (tmp_path / "failsafe.toml").write_text(CONFIG.format(folder=tmp_path, web_port=PORT, helo="two words"))
    daemon._new_shift()
    assert daemon._shift is before
    assert is_open(daemon._shift)


def test_a_new_configuration_is_watched_by_a_new_shift_and_shown_by_the_same_page(daemon: Daemon, tmp_path: Path) -> None:
    before = daemon._shift
    daemon._web = WebServer(daemon._app)
    more = (
        CONFIG.format(folder=tmp_path, web_port=PORT, helo="nas.example.test")
        + """
[domain."second.test"]
server = "vps"
primary = ["mail.example.test"]
secondary = ["mx.example.net"]
strategy = "on-demand"
"""
    )
    (tmp_path / "failsafe.toml").write_text(more)
    daemon._new_shift()
    try:
        assert daemon._shift is not before
        assert is_open(daemon._shift)
        shown = daemon._web.status(SystemClock().now())
        assert [domain.domain for domain in shown.domains] == ["example.test", "second.test"]
    finally:
        daemon._web.stop()


def test_what_is_seen_is_kept_in_memory_while_another_controller_leads(daemon: Daemon) -> None:
    shift, now = daemon._shift, SystemClock().now()
    other = daemon._app.leases.acquire("other", now)
    assert other is not None
    shift._keep_lease(now)
    assert (shift.lease, daemon._app.history.following) == (None, True)
    daemon._app.leases.release(other, now)
    shift._keep_lease(now + RETRY_LEASE)
    assert shift.lease is not None
    assert not daemon._app.history.following
