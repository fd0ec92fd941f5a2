"""A server that takes mail and loses it, with everything real: the daemon as a process, Postfix, Dovecot, Knot. Its way in is up throughout."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.config.load import load_config
from failsafe.status.as_json import to_json
from failsafe.status.build import build_status
from failsafe.status.roster import read_roster
from failsafe.store.duties import DoctorRun
from tests.contract.canary_world import PROBE, SENDER, CanaryWorld, canary_world
from tests.contract.configs import OWN_DNS, PROBED, domain_table
from tests.contract.dns_providers import OUTAGE, PEACE, client
from tests.contract.dns_servers import NameServer, missing, name_server
from tests.contract.processes import done_lately, start
from tests.support import wait_until

DOMAIN = "example.org"
PATIENCE = 120.0
CONFIG = (
    PROBED
    + """
ca_file = "{ca_file}"
imap = {{ host = "localhost", port = {imaps}, tls = "implicit", ca_file = "{ca_file}", user = "{probe}", password_file = "{password}" }}
[canary.vps]
every = "6s"
smtp = "localhost:{submission}"
ca_file = "{ca_file}"
user = "{sender}"
password_file = "{password}"
from = "{sender}"
to = "{probe}"
"""
    + OWN_DNS
    + domain_table(DOMAIN)
    + """
dns = "own"
mode = "auto"
quorum = 1
down_for = "8s"
failback = "manual"
nameservers = ["{address}"]
"""
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NameServer]:
    if missing("knot") or os.geteuid() != 0:
        pytest.skip(missing("knot") or "Postfix and Dovecot start only as root")
    with name_server("knot", tmp_path / "knot") as running:
        yield running


@contextmanager
def daemon(file: Path) -> Iterator[None]:
    with (file.parent / "run.log").open("ab") as log:
        process = start(file, "run", stdout=log, stderr=log, start_new_session=True)
    try:
        yield
        assert process.poll() is None, (file.parent / "run.log").read_text()[-3000:]
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def configured(folder: Path, server: NameServer, mail: CanaryWorld) -> Path:
    file = folder / "failsafe.toml"
    for name in ("mail", "state"):
        (folder / name).mkdir()
    file.write_text(
        CONFIG.format(
            every="2s", folder=folder, line=server.port, smtp=mail.inbound, address=server.address, key_file=server.key_file,
            ca_file=mail.certificates.authority, imaps=mail.imaps, submission=mail.submission, probe=PROBE, sender=SENDER, password=mail.password,
        )
    )  # fmt: skip
    app = App(load_config(file), file)
    app.duties.add_doctor_run(DoctorRun(app.clock.now(), [], {DOMAIN: True}))
    done_lately(app, "backup:vps", "doctor")
    app.store.close()
    return file


def test_canaries_that_are_accepted_and_lost_move_the_mx_though_the_way_in_is_up(tmp_path: Path, server: NameServer) -> None:
    zone = client(server)
    with canary_world() as mail:
        file = configured(tmp_path, server, mail)
        app = App(load_config(file), file)

        def health() -> dict[str, str]:
            return dict(to_json(build_status(read_roster(file), app.glance(), app.clock.now()))["domains"][0]["health"])

        with daemon(file):
            wait_until(lambda: (health()["inbound"], health()["delivery"]) == ("up", "up"), PATIENCE, "mail is seen to arrive")
            assert zone.read(DOMAIN, DOMAIN) == PEACE
            mail.lose()
            wait_until(lambda: app.events.last("failover.done", DOMAIN), PATIENCE, "a failover for lost delivery")
            assert zone.read(DOMAIN, DOMAIN) == OUTAGE
            wait_until(lambda: health()["inbound"] == "up", PATIENCE, "the way in is up all the while")
        told = {event.name: event for _, event in app.events.since()}
        seen = [run.evidence.seen for run in app.history.runs("vps") if run.evidence.axis == "inbound"]
        app.store.close()

    assert "canary says down" in str(told["failover.planned"].details["reason"])
    assert "delivery.lost" in told
    assert set(seen) == {"up"}, "no probe of the way in ever saw anything else"
