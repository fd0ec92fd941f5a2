"""The controller is lost, all of it, and a new machine takes over with nothing but the recovery kit and the repositories."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from failsafe.adapters.lock import FileLock
from failsafe.model import MxSet
from tests.contract import sshd as ssh
from tests.contract.dns_providers import client
from tests.contract.dns_servers import NameServer, missing, name_server
from tests.contract.mail_servers import KNOWN_GOOD, Postfix, postfix
from tests.contract.mailstore import Store
from tests.contract.processes import command
from tests.contract.restics import put_empty_repository
from tests.contract.takeover_child import MOMENTS
from tests.support import wait_until
from tests.unit.failover.world import PEACE

__all__ = ["postfix"]

ROOT = Path(__file__).parents[2]
ANNA, DOMAIN, PASSWORD, PASSPHRASE = "anna@example.org", "example.org", "correct horse", "four words for a kit"
AWAY = MxSet.of((5, "mx.away.example"), (10, "mail.example.org"), ttl_seconds=60)
COUNT, SIZE = 30, 20_000
QUIET = 'failback = "auto"\nup_for = "2s"\nmin_dwell = "1s"'  # so that no test waits long

CONFIG = """
[controller]
id = "nas"
time_zone = "UTC"
state_dir = "{own}/var"
[mail_server.vps]
layout = "maildir"
path = "{base}/mail"
{ssh}
[repository.near]
url = "{base}/near"
password_file = "{own}/secrets/password"
[repository.usb]
url = "{base}/usb"
password_file = "{own}/secrets/password"
{more}
"""
WATCHED = """
[dns.knot]
provider = "rfc2136"
server = "{address}"
key_name = "failsafe."
key_file = "{own}/secrets/dns.key"
[domain."example.org"]
server = "vps"
dns = "knot"
zone = "example.org"
primary = ["mail.example.org"]
secondary = ["mx.away.example"]
strategy = "on-demand"
mode = "auto"
quorum = 1
nameservers = ["{address}"]
{quiet}
[probe.vps]
every = "10s"
smtp = ["localhost:{port}"]
recipient = "{recipient}"
ca_file = "{own}/secrets/authority.pem"
[own_line]
references = ["127.0.0.1:{port}"]
"""


@dataclass
class Machine:
    """A controller below one folder."""

    folder: Path
    log: list[str] = field(default_factory=list)

    @property
    def config(self) -> Path:
        return self.folder / "failsafe.toml"

    def ask(self, *verb: str, config: Path | None = None) -> subprocess.CompletedProcess[str]:
        argv = command(config or self.config, *verb)
        done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=240, check=False)
        self.log.append(f"{' '.join(verb)}: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done

    def json(self, *verb: str, codes: tuple[int, ...] = (0, 1)) -> Any:
        done = self.ask(*verb, "--json")
        assert done.returncode in codes, self.log[-1]
        return json.loads(done.stdout)

    def domain(self) -> dict[str, Any]:
        (found,) = self.json("status")["domains"]
        return dict(found)

    def rows(self, question: str) -> list[Any]:
        """Straight from the database: a look at it while a test waits costs no process."""
        with closing(sqlite3.connect(self.folder / "state" / "failsafe.sqlite")) as db:
            return [row[0] for row in db.execute(question)]

    def take_over(self, kit: Path, passphrase: Path) -> subprocess.CompletedProcess[str]:
        options = ("--passphrase-file", str(passphrase), "--prefix", str(self.folder), "--yes", "--json")
        return self.ask("init", "--from-kit", str(kit), *options)

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.ask("events", "--json").stdout.splitlines()]


@dataclass
class World:
    """The mail, two repositories and the kit, which are left when the machine `a` is gone."""

    base: Path
    a: Machine
    store: Store

    @property
    def kit(self) -> Path:
        return self.base / "paper" / "kit.html"

    @property
    def passphrase(self) -> Path:
        return self.base / "paper" / "passphrase"

    def stored(self) -> int:
        return sum(path.stat().st_size for name in ("near", "usb") for path in (self.base / name).rglob("*") if path.is_file())


def secret(file: Path, text: str) -> Path:
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(text)
    return file


def build(base: Path, ssh_lines: str = "", more: str = "") -> World:
    a = Machine(base / "a")
    a.folder.mkdir(mode=0o700)
    secret(a.folder / "secrets" / "password", f"{PASSWORD}\n")
    a.config.write_text(CONFIG.format(base=base, own=a.folder, ssh=ssh_lines, more=more))
    for name in ("near", "usb"):
        put_empty_repository(base / name, PASSWORD)
    world = World(base, a, Store(base))
    secret(world.passphrase, f"{PASSPHRASE}\n")
    world.store.fill(ANNA, "", COUNT, size=SIZE)
    world.store.calm()
    return world


def make_kit(world: World) -> None:
    done = world.a.ask("kit", "--output", str(world.kit), "--passphrase-file", str(world.passphrase))
    assert done.returncode in (0, 1), world.a.log[-1]


# -- the whole story


@dataclass
class Watched:
    world: World
    dns: NameServer
    server: ssh.Sshd

    def zone(self) -> MxSet | None:
        return client(self.dns).read(DOMAIN, DOMAIN)


@pytest.fixture
def watched(tmp_path: Path, postfix: Postfix) -> Iterator[Watched]:
    if missing("knot"):
        pytest.skip(missing("knot"))
    with ExitStack() as stack:
        dns = stack.enter_context(name_server("knot", tmp_path / "knot"))
        (tmp_path / "sshd").mkdir()
        server = stack.enter_context(ssh.running(tmp_path / "sshd"))
        own = tmp_path / "a"
        lines = f'ssh = "{server.address}"\nssh_key = "{own}/secrets/id"\nknown_hosts = "{own}/secrets/known_hosts"'
        port = postfix.ports["good"]
        more = WATCHED.format(address=dns.address, own=own, quiet=QUIET, port=port, recipient=KNOWN_GOOD)
        world = build(tmp_path, lines, more)
        for file, name in (
            (server.key, "id"), (server.known_hosts, "known_hosts"), (dns.key_file, "dns.key"), (postfix.certificates.authority, "authority.pem"),
        ):  # fmt: skip
            secret(own / "secrets" / name, file.read_text())
        yield Watched(world, dns, server)


@pytest.mark.first
def test_a_machine_that_is_destroyed_while_failed_over_is_taken_over_with_the_kit_alone(watched: Watched) -> None:
    world, a = watched.world, watched.world.a
    assert a.ask("backup").returncode == 0, a.log[-1]
    make_kit(world)
    watched.server.stop()
    assert a.ask("failover", DOMAIN, "--yes", "--force", "--reason", "the primary is gone").returncode == 0, a.log[-1]
    assert a.ask("backup").returncode == 4, "the server is dead"
    shutil.rmtree(a.folder)
    b = Machine(world.base / "b")

    taken = b.take_over(world.kit, world.passphrase)  # the mail server is off

    assert taken.returncode == 0, b.log[-1]
    told = json.loads(taken.stdout)
    assert [(each["repository"], each["adopted"]) for each in told["repositories"]] == [("near", True), ("usb", True)]
    assert [(each["server"], each["messages"]) for each in told["servers"]] == [("vps", COUNT)]
    assert told["domains"][0]["mx"][0] == {"preference": 5, "exchange": "mx.away.example"}
    assert told["domains"][0]["must_do"] == f"failsafe acknowledge {DOMAIN} --serving secondary"
    domain = b.domain()
    assert (domain["state"], domain["serving"], domain["mode"]) == ("failed-over", "secondary", "observe")
    assert {"failover.done", "controller.taken-over", "domain.taken-over"} <= set(b.events())
    assert b.ask("search", "--subject", "7").stdout.count("\n") >= 1, b.log[-1]

    watched.server.start()
    before = world.stored()
    (again,) = [json.loads(line) for line in b.ask("backup", "--json").stdout.splitlines()]
    assert again["result"] == "ok", b.log[-1]
    assert again["bytes_pulled"] < SIZE
    assert world.stored() - before < 60_000, "two repositories, and no message stored twice"

    with FileLock(b.folder / "state" / "locks" / "jobs.lock", "the test").hold():  # ticks that only look and decide
        _until_home(watched, b)


def _until_home(watched: Watched, b: Machine) -> None:
    """A failback is due, and is not made before a person has spoken."""
    wait_until(
        lambda: b.ask("tick").returncode == 0 and "flip.observed" in b.rows("select name from event"),
        120,
        "a failback is due, and only observed",
    )
    assert watched.zone() == AWAY
    assert b.ask("failback", DOMAIN, "--yes").returncode == 3
    assert watched.zone() == AWAY
    assert b.ask("acknowledge", DOMAIN, "--serving", "secondary").returncode == 0, b.log[-1]

    wait_until(
        lambda: b.ask("tick").returncode == 0 and b.rows("select state from domain_state") == ["normal"],
        120,
        "mail goes back to the primary",
    )
    assert watched.zone() == PEACE
    assert b.domain()["mode"] == "auto"


# -- what may go wrong


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A controller that was lost after one backup; its repositories are only read from."""
    more = '[domain."example.org"]\nserver = "vps"\nprimary = ["mail.example.org"]\nsecondary = ["mx.away.example"]\nstrategy = "on-demand"\n'
    more += 'zone = "example.org"\nnameservers = ["127.0.0.1:1"]\n'
    world = build(tmp_path_factory.mktemp("lost"), "", more)
    assert world.a.ask("backup").returncode == 0, world.a.log[-1]
    make_kit(world)
    (world.base / "mail").rename(world.base / "the mail is not to be had")
    shutil.rmtree(world.a.folder)
    return world


def whole(machine: Machine) -> None:
    """Everything is there, and only observed."""
    status = machine.json("status")
    assert [domain["mode"] for domain in status["domains"]] == ["observe"]
    assert [(server["status"], server["last_backup"]["messages"]) for server in status["servers"]] == [("ok", COUNT)]
    assert status["repositories"][0]["snapshots"] == 1
    assert machine.ask("search", "--subject", "7").stdout.count("\n") >= 1, machine.log[-1]
    assert sorted(machine.rows("select name from event")) == ["controller.taken-over", "domain.taken-over"]


@pytest.mark.skipif(not os.environ.get("FAILSAFE_ALL"), reason="takes long: ./dev test --all")
def test_killed_at_any_step_it_is_gone_on_with(lost: World, tmp_path: Path) -> None:
    b = Machine(tmp_path / "b")
    for moment in MOMENTS:
        argv = [str(lost.kit), str(lost.passphrase), str(b.folder), moment]
        child = [sys.executable, "-m", "tests.contract.takeover_child", *argv]
        killed = subprocess.run(child, cwd=ROOT, timeout=120, check=False, capture_output=True, text=True)
        assert killed.returncode == -signal.SIGKILL, (moment, killed.stderr[-2000:])

    assert b.take_over(lost.kit, lost.passphrase).returncode == 0, b.log[-1]

    whole(b)
    again = b.take_over(lost.kit, lost.passphrase)
    assert again.returncode == 0, b.log[-1]
    assert json.loads(again.stdout)["written"] == []
    whole(b)


def test_another_repository_in_a_known_ones_place_is_refused_and_named_and_the_others_serve(lost: World, tmp_path: Path) -> None:
    b, usb, aside = Machine(tmp_path / "b"), lost.base / "usb", lost.base / "aside"
    usb.rename(aside)
    try:
        put_empty_repository(usb, "another password")
        shutil.rmtree(usb)
        subprocess.run(
            ["restic", "init", "-q", "--repo", str(usb)], check=True, timeout=120, env={"PATH": "/usr/bin:/bin", "RESTIC_PASSWORD": PASSWORD, "HOME": "/root"}
        )  # fmt: skip
        done = b.take_over(lost.kit, lost.passphrase)
    finally:
        shutil.rmtree(usb)
        aside.rename(usb)

    assert done.returncode == 3, b.log[-1]
    refused = next(each for each in json.loads(done.stdout)["repositories"] if not each["adopted"])
    assert refused["repository"] == "usb"
    assert "--what repository" in refused["mend"]
    whole(b)


def test_a_file_that_is_there_and_differs_stops_it_before_anything_is_written(lost: World, tmp_path: Path) -> None:
    b = Machine(tmp_path / "b")
    mine = secret(b.folder / "password", "mine\n")

    done = b.take_over(lost.kit, lost.passphrase)

    assert done.returncode == 3
    assert str(mine) in done.stderr
    assert [path.name for path in b.folder.iterdir()] == ["password"]
    assert mine.read_text() == "mine\n"


def test_without_a_terminal_and_without_yes_nothing_is_done(lost: World, tmp_path: Path) -> None:
    b = Machine(tmp_path / "b")
    options = ("--passphrase-file", str(lost.passphrase), "--prefix", str(b.folder))

    done = b.ask("init", "--from-kit", str(lost.kit), *options)

    assert done.returncode == 2
    assert not b.folder.exists()
    assert b.ask("init", "--from-kit", str(lost.kit), "--yes").returncode == 2, "nobody types the passphrase"
