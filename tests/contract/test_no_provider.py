"""A domain without a DNS provider: a person changes a real zone, and the daemon sees it by itself and goes on from there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.config.load import load_config
from failsafe.daemon.shift import Shift
from failsafe.model import Axis, DomainState, Evidence, MxSet, ProbeClass
from failsafe.store.duties import DoctorRun
from failsafe.store.journal import Journal
from tests.contract.configs import PROBED, domain_table
from tests.contract.dns_providers import OUTAGE, PEACE, change, client
from tests.contract.dns_servers import missing, name_server
from tests.ports import free_port
from tests.support import wait_until

CONFIG = (
    PROBED
    + domain_table("example.org")
    + """
mode = "manual"
quorum = 1
down_for = "2s"
nameservers = ["{address}"]
"""
)
DOMAIN = "example.org"


@contextmanager
def daemon(app: App) -> Iterator[None]:
    """The daemon's own steps, in a thread."""
    over, shift = threading.Event(), Shift(app, app.clock.now(), announce=False)

    def work() -> None:
        while not over.wait(0.1):
            shift.step(app.clock.now())

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)
        shift.close(app.clock.now())


def test_a_change_that_a_person_makes_is_seen_at_once_and_gone_on_from(tmp_path: Path) -> None:
    if missing("knot"):
        pytest.skip(missing("knot"))
    with name_server("knot", tmp_path / "zone") as server:
        file = tmp_path / "failsafe.toml"
        (tmp_path / "mail").mkdir()
        (tmp_path / "state").mkdir()
        # our own line is up: the name server is its reference; the primary's port is closed
        smtp = free_port()
        file.write_text(CONFIG.format(folder=tmp_path, every="1s", address=server.address, line=server.port, smtp=smtp))
        app = App(load_config(file), file)

        before = app.clock.now() - timedelta(minutes=1)
        app.duties.add_doctor_run(DoctorRun(before, [], {DOMAIN: True}))
        target = f"failsafe-probe@example.org at 127.0.0.1:{smtp}"
        well = Evidence("vps", "here", Axis.INBOUND, ProbeClass.UP, before, "accepted", target)
        app.history.record(well, timedelta(seconds=1))
        app.history.flush(before)

        def state() -> DomainState:
            return Journal(app.store, None).load(DOMAIN, app.clock.now()).state

        with daemon(app):
            wait_until(lambda: app.events.last("flip.prepared", DOMAIN) is not None, 60, "the change is prepared")
            (notice,) = [
                pending.notice for pending in app.events.pending_notices(app.clock.now()) if "prepared" in pending.notice.subject
            ]
            assert "1. add     example.org. 60 IN MX 5 mx.away.example." in notice.details
            client(server).apply(change(PEACE, OUTAGE))  # a person, with a key of his own
            wait_until(lambda: state() is DomainState.FAILED_OVER, 30, "the change is seen")
        seen = app.events.last("domain.state", DOMAIN)
        assert seen is not None
        assert seen.details["trigger"] == "seen-at-secondary"
        assert client(server).read(DOMAIN, DOMAIN) == MxSet(OUTAGE.records, 60)


def test_a_foreign_change_in_peace_is_told_once_and_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing("knot"):
        pytest.skip(missing("knot"))
    monkeypatch.setattr("failsafe.domains.ZONE_REREAD", timedelta(0))
    monkeypatch.setattr("failsafe.daemon.watch.DECIDE_WITHOUT_LOOK", timedelta(seconds=0.2))
    with name_server("knot", tmp_path / "zone") as server:
        file = tmp_path / "failsafe.toml"
        (tmp_path / "state").mkdir()
        text = CONFIG.format(folder=tmp_path, every="1s", address=server.address, line=server.port, smtp=1)
        file.write_text(text[: text.index("[probe.vps]")] + text[text.index('[domain."') :])
        app = App(load_config(file), file)
        foreign = MxSet.of((1, "mx.foreign.example"), ttl_seconds=60)
        client(server).apply(change(PEACE, foreign))
        for _ in range(2):  # a restart tells nothing twice
            with daemon(app):
                wait_until(lambda: app.events.last("zone.drift", DOMAIN) is not None, 30, "the change is told")
        (told,) = [pending.notice for pending in app.events.pending_notices(app.clock.now())]
        assert "not what failsafe expects" in told.subject
        assert client(server).read(DOMAIN, DOMAIN) == foreign
        client(server).apply(change(foreign, PEACE))
        with daemon(app):
            wait_until(lambda: app.events.last("zone.fits", DOMAIN) is not None, 30, "it fits again")
        assert [event.name for _, event in app.events.since()].count("zone.drift") == 1
