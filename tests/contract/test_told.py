"""What the daemon itself, as a process, tells of an outage: before a flip, instead of one, after one, and while it lasts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.config.load import load_config
from failsafe.model import Axis, DomainState, Evidence, ProbeClass
from failsafe.status.as_json import to_json
from failsafe.status.build import build_status
from failsafe.status.roster import read_roster
from failsafe.store.duties import DoctorRun
from failsafe.store.journal import Journal
from tests.contract.configs import OWN_DNS, PROBED, domain_table
from tests.contract.dns_providers import OUTAGE, PEACE, client
from tests.contract.dns_servers import NameServer, missing, name_server
from tests.contract.processes import run, start
from tests.contract.unbounds import ask, missing_unbound, resolver
from tests.ports import free_port
from tests.support import wait_until

DOMAIN = "example.org"
PATIENCE = 90.0
CONFIG = (
    PROBED.replace('time_zone = "UTC"', 'time_zone = "UTC"\npublic_resolvers = [{resolvers}]')
    + OWN_DNS
    + domain_table(DOMAIN)
    + """
dns = "own"
mode = "{mode}"
quorum = 1
down_for = "6s"
failback = "manual"
nameservers = ["{address}"]
"""
)


@dataclass
class World:
    """A controller whose primary was well a minute ago and is dead: its port is closed. Our own line is up: the name server is its reference."""

    file: Path
    app: App

    @contextmanager
    def daemon(self) -> Iterator[None]:
        with (self.file.parent / "run.log").open("ab") as log:
            process = start(self.file, "run", stdout=log, stderr=log, start_new_session=True)
        try:
            yield
            assert process.poll() is None, (self.file.parent / "run.log").read_text()[-3000:]
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def verb(self, *words: str) -> str:
        return run(self.file, *words, status=range(6))[0]

    def told(self, name: str) -> int:
        """How often, once it was told."""
        wait_until(lambda: self.app.events.last(name, DOMAIN) is not None, PATIENCE, name)
        return Counter(event.name for _, event in self.app.events.since())[name]


@contextmanager
def world(folder: Path, server: NameServer, mode: str, resolvers: tuple[str, ...] = ()) -> Iterator[World]:
    file, smtp = folder / "failsafe.toml", free_port()
    for name in ("mail", "state"):
        (folder / name).mkdir()
    listed = ", ".join(f'"{address}"' for address in resolvers)
    file.write_text(
        CONFIG.format(
            every="2s",
            folder=folder, resolvers=listed, line=server.port, smtp=smtp, address=server.address, key_file=server.key_file, mode=mode
        )
    )  # fmt: skip
    app = App(load_config(file), file)
    before = app.clock.now() - timedelta(minutes=1)
    app.duties.add_doctor_run(DoctorRun(before, [], {DOMAIN: True}))
    for name in ("backup:vps", "doctor"):
        app.duties.started(name, app.clock.now())
        app.duties.ended(name, app.clock.now(), ok=True)
    well = Evidence(
        "vps", "here", Axis.INBOUND, ProbeClass.UP, before, "accepted", f"failsafe-probe@{DOMAIN} at 127.0.0.1:{smtp}"
    )
    app.history.record(well, timedelta(seconds=2))
    app.history.flush(before)
    yield World(file, app)
    app.store.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NameServer]:
    if missing("knot"):
        pytest.skip(missing("knot"))
    with name_server("knot", tmp_path / "zone") as made:
        yield made


def test_after_a_flip_public_resolvers_are_asked_and_those_that_remember_the_old_set_are_named(
    server: NameServer, tmp_path: Path
) -> None:
    if missing_unbound():
        pytest.skip(missing_unbound())
    with (
        resolver(server, tmp_path / "remembers") as remembers,
        resolver(server, tmp_path / "asks") as asks,
        world(tmp_path, server, "auto", (remembers, asks, "127.0.0.1:1")) as controller,
    ):
        assert ask(remembers) == ["10 mail.example.org."]
        with controller.daemon():
            assert controller.told("resolvers.seen") == 1
        seen = controller.app.events.last("resolvers.seen", DOMAIN)
        assert seen is not None
        new, _, old = seen.text.partition("; ")
        assert new == f"{asks} gives 5 mx.away.example, 10 mail.example.org"
        assert old.startswith(f"{remembers} still gives 10 mail.example.org for at most ")
        assert ask(asks) == ["10 mail.example.org.", "5 mx.away.example."]
        assert client(server).read(DOMAIN, DOMAIN) == OUTAGE


def test_observe_warns_tells_what_it_would_have_done_and_shows_it_and_the_outage_is_told_again_after_an_hour(
    server: NameServer, tmp_path: Path
) -> None:
    with world(tmp_path, server, "observe") as controller:
        with controller.daemon():
            assert (controller.told("flip.coming"), controller.told("flip.observed")) == (1, 1)
        coming, observed = (controller.app.events.last(name, DOMAIN) for name in ("flip.coming", "flip.observed"))
        assert coming is not None
        assert observed is not None
        assert timedelta(seconds=1) < observed.at - coming.at < timedelta(seconds=5)  # half of down_for, or the look after it
        assert_listed(controller)
        begin_an_hour_earlier(controller.app)
        with controller.daemon():
            assert controller.told("domain.reminded") == 1
        assert controller.told("flip.coming") == 1
        observed = [event.text for _, event in controller.app.events.since() if event.name == "flip.observed"]
        assert len(set(observed)) == len(observed), "nothing is said twice; what a busy machine's own line holds up is other news"
        assert client(server).read(DOMAIN, DOMAIN) == PEACE


def assert_listed(controller: World) -> None:
    status = build_status(read_roster(controller.file), controller.app.glance(), controller.app.clock.now())
    (flip,) = to_json(status)["domains"][0]["observed"]
    assert (flip["kind"], flip["held_up_by"], flip["change"]) == ("failover", [], ["add MX 5 mx.away.example"])
    assert flip["why"][0].startswith("here says down for ")
    shown = controller.verb("status")
    assert "would have failed over (add MX 5 mx.away.example), because here says down for " in shown


def begin_an_hour_earlier(app: App) -> None:
    now = app.clock.now()
    journal = Journal(app.store, app.leases.acquire(app.holder, now))
    record = journal.load(DOMAIN, now)
    assert record.state is DomainState.SUSPECT
    assert record.suspected_at is not None
    journal.change(record, replace(record, suspected_at=record.suspected_at - timedelta(hours=1)), [])
