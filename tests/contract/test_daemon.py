"""`run` and `tick` as processes: a real Postfix to watch, a real mail store, a real restic repository."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from failsafe.app import App
from failsafe.clock import SystemClock
from failsafe.config.load import load_config
from failsafe.status.as_json import to_json
from failsafe.status.build import build_status
from failsafe.status.roster import read_roster
from failsafe.store.glance import glance_file
from tests.contract.http_server import http_server
from tests.contract.mail_servers import KNOWN_GOOD, Postfix, postfix
from tests.contract.processes import command, done_lately
from tests.contract.restics import put_empty_repository
from tests.ports import free_port
from tests.support import wait_until

__all__ = ["postfix"]

PATIENCE = 90.0  # seconds; a slow machine with two cores that runs other tests too
KILLS = 10 if os.environ.get("FAILSAFE_ALL") else 5

CONFIG = """
[controller]
id = "nas"
state_dir = "{folder}/state"
time_zone = "UTC"
{web}
[mail_server.vps]
layout = "maildir"
path = "{folder}/mail"
backup_every = "{backup_every}"
{server}
[repository.nas]
url = "{folder}/repository"
password_file = "{folder}/password"
[domain."example.test"]
server = "vps"
primary = ["mail.example.test"]
secondary = ["mx.example.net"]
strategy = "on-demand"
mode = "observe"
quorum = 1
nameservers = ["127.0.0.1:{dead_port}"]
[probe.vps]
every = "2s"
smtp = ["localhost:{port}"]
recipient = "{recipient}"
helo = "nas.example.test"
ca_file = "{ca_file}"
[own_line]
references = ["127.0.0.1:{port}"]
{notify}
"""


@dataclass
class World:
    """One controller with its configuration, and the processes that a test has started."""

    folder: Path
    mta: Postfix
    values: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.folder / "failsafe.toml"

    @property
    def log(self) -> str:
        return (self.folder / "run.log").read_text() if (self.folder / "run.log").exists() else ""

    def configure(self, **values: str) -> None:
        self.values |= values
        defaults = {"web": "", "server": "", "notify": "", "backup_every": "1h"}
        text = CONFIG.format(
            folder=self.folder,
            port=self.mta.ports["good"],
            ca_file=self.mta.certificates.authority,
            recipient=KNOWN_GOOD,
            dead_port=self.values.setdefault("dead_port", str(free_port())),
            **{**defaults, **{key: value for key, value in self.values.items() if key != "dead_port"}},
        )
        self.config.write_text(text)

    def start(self, *verb: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        with (self.folder / "run.log").open("ab") as log:
            process = subprocess.Popen(
                self._argv(*verb),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def ask(self, *verb: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._argv(*verb), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=PATIENCE * 2, check=False
        )

    def status(self) -> dict[str, Any]:
        """What the verb shows, without a process for each look: they would take the processor from what is looked at."""
        found = build_status(
            read_roster(self.config), glance_file(self.folder / "state" / "failsafe.sqlite"), SystemClock().now()
        )
        return dict(to_json(found))

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.ask("events", "--json").stdout.splitlines()]

    def watched(self) -> bool:
        return bool(self.status()["domains"][0]["health"]["inbound"] == "up")

    def backed_up(self) -> bool:
        return bool(self.status()["servers"][0]["status"] == "ok")

    def _argv(self, *verb: str) -> list[str]:
        return command(self.config, *verb)


@pytest.fixture
def world(fresh_world: World) -> World:
    """What is slow and none of these tests' matter was done just now."""
    app = App(load_config(fresh_world.config), fresh_world.config)
    done_lately(app, "check:nas", "drill:nas", "doctor")
    app.store.close()
    return fresh_world


@pytest.fixture
def fresh_world(tmp_path: Path, postfix: Postfix) -> Iterator[World]:
    message = tmp_path / "mail" / "example.test" / "a" / "cur" / "1700000000.M1P1.host:2,S"
    for name in ("cur", "new", "tmp"):
        (message.parent.parent / name).mkdir(parents=True)
    message.write_bytes(b"Subject: kept\r\nMessage-ID: <1@example.test>\r\n\r\nbody\r\n")
    (tmp_path / "password").write_text("repository password\n")
    (tmp_path / "password").chmod(0o600)
    put_empty_repository(tmp_path / "repository", "repository password")
    made = World(tmp_path, postfix)
    made.configure()
    try:
        yield made
    finally:
        for process in made.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pid in children_of(made.config):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def children_of(config: Path) -> list[int]:
    """Every process that works for this configuration (jobs have sessions of their own)."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and str(config) in (entry / "cmdline").read_bytes().decode(errors="replace"):
                found.append(int(entry.name))
    return found


def test_run_watches_and_backs_up_and_stops_cleanly_on_sigterm(world: World) -> None:
    daemon = world.start("run")
    wait_until(world.watched, PATIENCE, "the primary is seen up")
    wait_until(world.backed_up, PATIENCE, "a backup was made")
    status = world.status()
    assert status["controller"]["leader"] is True
    assert status["domains"][0]["vantages"][0]["verdict"] == "up"
    assert status["servers"][0]["last_backup"]["messages"] == 1
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(PATIENCE) == 0
    assert children_of(world.config) == []
    events = world.events()
    assert events[0] == "controller.started"
    assert events[-1] == "controller.stopped"


def test_sigint_ends_it_as_interrupted(world: World) -> None:
    daemon = world.start("run")
    wait_until(world.watched, PATIENCE, "the primary is seen up")
    daemon.send_signal(signal.SIGINT)
    assert daemon.wait(PATIENCE) == 5


def test_a_tick_beside_a_running_run_does_nothing_and_says_so(world: World) -> None:
    daemon = world.start("run")
    wait_until(world.watched, PATIENCE, "the primary is seen up")
    answer = world.ask("tick")
    assert answer.returncode == 0
    assert f"failsafe run (process {daemon.pid})" in answer.stdout
    second = world.ask("run")
    assert second.returncode == 3
    assert f"process {daemon.pid}" in second.stderr
    assert world.ask("db", "upgrade").returncode == 3


def test_a_tick_watches_works_and_repeats_nothing(world: World) -> None:
    first = world.ask("tick", "--json")
    assert first.returncode == 0, first.stderr
    report = json.loads(first.stdout)
    assert report["looked"] == 1
    assert "backup:vps" in report["jobs"]
    assert world.watched()
    assert world.backed_up()
    again = json.loads(world.ask("tick", "--json").stdout)
    assert "backup:vps" not in again["jobs"]
    assert again["looked"] == 1


def test_a_tick_ends_though_its_backup_takes_longer_than_the_time_to_the_next(world: World) -> None:
    world.configure(backup_every="1s", server=f'commands = {{ "slow" = "sleep 1.5; echo x >> {world.folder}/begun" }}')
    answer = world.ask("tick", "--json")
    assert answer.returncode == 0, answer.stderr
    assert (world.folder / "begun").read_text() == "x\n"


def test_a_tick_that_comes_while_another_waits_for_its_job_does_everything_else(world: World) -> None:
    world.configure(server='commands = { "slow" = "sleep 600" }')
    first = world.start("tick")
    wait_until(lambda: sleeping(world), PATIENCE, "the backup runs its slow command")
    answer = world.ask("tick", "--json")
    assert answer.returncode == 0, answer.stderr
    report = json.loads(answer.stdout)
    assert (report["looked"], report["jobs"], report["jobs_elsewhere"]) == (1, [], True)
    assert first.poll() is None


def sleeping(world: World) -> bool:
    return (world.folder / "state" / "locks" / "heavy.lock").exists() and any(
        "sleep 600" in Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        for pid in descendants(children_of(world.config))
    )


def descendants(pids: list[int]) -> list[int]:
    """The children of these processes, and theirs."""
    found: list[int] = []
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                children = [int(child) for child in (task / "children").read_text().split()]
                found += [*children, *descendants(children)]
    return found


def test_a_long_job_is_stopped_with_the_daemon_and_done_again_by_the_next(world: World) -> None:
    world.configure(server='commands = { "slow" = "sleep 600" }')
    daemon = world.start("run")
    wait_until(lambda: sleeping(world), PATIENCE, "the backup runs its slow command")
    assert world.watched() or wait_until(world.watched, PATIENCE, "a long job keeps no probe waiting")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(PATIENCE) == 0
    assert children_of(world.config) == []
    world.configure(server="")
    world.start("run")
    wait_until(world.backed_up, PATIENCE * 2, "the backup was made after all")


@pytest.mark.first
def test_kill_9_at_random_moments_leaves_nothing_to_clean_up(world: World) -> None:
    chance = random.Random(20261122)
    world.configure(backup_every="1s")
    for _ in range(KILLS):
        daemon = world.start("run")
        wait_until(lambda: "job.started" in world.log, PATIENCE, "a first job was started") if chance.random() < 0.5 else None
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(chance.uniform(0.05, 3.0))
        assert daemon.poll() is None, world.log[-3000:]
        daemon.kill()
        daemon.wait()
        if chance.random() < 0.5:  # the children too, as a power cut does
            for pid in children_of(world.config):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
    world.configure(backup_every="1h")
    daemon = world.start("run")
    wait_until(lambda: world.watched() and world.backed_up(), PATIENCE * 2, "all is well again without a hand")
    with contextlib.closing(sqlite3.connect(world.folder / "state" / "failsafe.sqlite")) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)
    wait_until(
        lambda: not [pid for pid in children_of(world.config) if pid != daemon.pid], PATIENCE, "no job is left from before"
    )
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(PATIENCE) == 0


@pytest.mark.first
def test_kill_9_of_a_tick_leaves_nothing_to_clean_up(world: World) -> None:
    chance = random.Random(7)
    for _ in range(KILLS):
        tick = world.start("tick")
        with contextlib.suppress(subprocess.TimeoutExpired):
            tick.wait(chance.uniform(0.1, 4.0))
        tick.kill()
        tick.wait()
    answer = world.ask("tick", "--json")
    assert answer.returncode == 0, answer.stderr
    wait_until(world.backed_up, PATIENCE, "the backup was made, by this tick or by a child of a killed one")


def test_a_new_configuration_is_taken_over_on_sighup_and_a_bad_one_is_not(world: World) -> None:
    daemon = world.start("run")
    wait_until(world.watched, PATIENCE, "the primary is seen up")
    world.config.write_text(world.config.read_text() + "\nnonsense = 1\n")
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: "the configuration in use stays" in world.log, PATIENCE, "the bad configuration is refused")
    assert daemon.poll() is None
    world.configure(backup_every="2h")
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: "the new configuration is in use" in world.log, PATIENCE, "the new configuration is taken over")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(PATIENCE) == 0


def test_systemd_is_told_when_it_is_ready_alive_and_stopping(world: World) -> None:
    path = world.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(path))
        systemd.settimeout(PATIENCE)
        daemon = world.start("run", env={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "4000000"})
        assert systemd.recv(100) in (b"READY=1", b"WATCHDOG=1")
        heard = {systemd.recv(100) for _ in range(3)}
        assert b"WATCHDOG=1" in heard
        daemon.send_signal(signal.SIGTERM)
        while (message := systemd.recv(100)) != b"STOPPING=1":
            assert message in (b"WATCHDOG=1", b"READY=1")
        assert daemon.wait(PATIENCE) == 0


def test_the_dashboard_answers_beside_the_daemon(world: World) -> None:
    port = free_port()
    world.configure(web=f'[web]\nlisten = "127.0.0.1:{port}"')
    daemon = world.start("run")

    def page() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            return str(answer.read().decode())

    assert "Is my mail safe?" in wait_until(page, PATIENCE, "the page is there")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(PATIENCE) == 0


def test_a_taken_port_stops_the_dashboard_but_not_the_watching(world: World) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        world.configure(web=f'[web]\nlisten = "127.0.0.1:{taken.getsockname()[1]}"')
        world.start("run")
        wait_until(world.watched, PATIENCE, "the primary is seen up")
    assert "cannot listen" in world.log


def test_the_heartbeat_comes_only_after_every_duty_went_well(fresh_world: World) -> None:
    world = fresh_world
    with http_server() as server:
        url = world.folder / "heartbeat.url"
        url.write_text(f"http://127.0.0.1:{server.port}/ping\n")
        url.chmod(0o600)
        world.configure(notify=f'[notify]\nheartbeat_url_file = "{url}"', backup_every="1h")
        world.start("run")
        wait_until(world.backed_up, PATIENCE, "a backup was made")
        assert server.reached.wait(PATIENCE * 2)
        status = world.status()
        assert status["repositories"][0]["last_check_at"] is not None
        assert server.requests[0][:2] == ("GET", "/ping")
