"""One suite for every other place to look from, made from a configuration as the daemon makes them: up, down, lost, and what its own line does to it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.config.load import parse_config
from failsafe.looks.every import looks_of
from failsafe.looks.look import Look
from failsafe.model import Axis, ProbeClass
from tests.contract.configs import PROBED, domain_table
from tests.contract.mail_servers import ScriptedServer, Talk
from tests.contract.sshd import Sshd
from tests.fakes.uptimerobot_server import KEY, MONITOR, UptimeRobotServer
from tests.ports import free_port

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KINDS = ["vps2", "robot", "kuma"]
VANTAGES = """
[vantage.vps2]
kind = "ssh"
ssh = "{ssh}"
ssh_key = "{key}"
known_hosts = "{known_hosts}"
references = ["127.0.0.1:{line}"]
[vantage.robot]
kind = "uptimerobot"
key_file = "{folder}/robot.key"
monitor = "{monitor}"
url = "{api}"
[vantage.kuma]
kind = "http"
url = "{api}/monitors/{monitor}"
key_file = "{folder}/robot.key"
up_when = '$.status == "UP"'
down_when = '$.status == "DOWN"'
"""


@dataclass
class World:
    """A mail server whose answer to the recipient is `answer`, a monitor of it, and another machine."""

    folder: Path
    sshd: Sshd
    robot: UptimeRobotServer
    answer: str = "250 ok"
    smtp: int = 0
    line: int = 0

    def app(self, **changes: object) -> App:
        values = {
            "folder": self.folder, "smtp": self.smtp, "line": self.line, "every": "20s", "ssh": self.sshd.address, "key": self.sshd.key,
            "known_hosts": self.sshd.known_hosts, "monitor": MONITOR, "api": self.robot.url, **changes,
        }  # fmt: skip
        text = (PROBED + VANTAGES).format(**values) + domain_table("example.org")
        return App(parse_config(text.encode(), "failsafe.toml"), self.folder / "failsafe.toml")

    def look(self, vantage: str, **changes: object) -> Look:
        (look,) = [each for each in looks_of(self.app(**changes), "vps") if each.vantage == vantage]
        return look


@pytest.fixture
def world(tmp_path: Path, sshd: Sshd) -> Iterator[World]:
    (tmp_path / "mail").mkdir()
    (tmp_path / "robot.key").write_text(KEY)
    (tmp_path / "robot.key").chmod(0o600)

    def serve(talk: Talk) -> None:
        talk.say("220 mail.example.org ESMTP")
        talk.answer_all({"RCPT": made.answer})

    with UptimeRobotServer.running() as robot, ScriptedServer(serve) as server, socket.create_server(("127.0.0.1", 0)) as line:
        made = World(tmp_path, sshd, robot, smtp=server.port, line=line.getsockname()[1])
        yield made


@pytest.mark.parametrize("vantage", KINDS)
def test_each_looks_at_inbound_mail_with_a_line_of_its_own_and_says_up(world: World, vantage: str) -> None:
    look = world.look(vantage)
    evidence = look.see(NOW)

    assert (look.axis, look.by_our_line, look.name) == (Axis.INBOUND, False, f"vps/{vantage}/inbound")
    assert evidence.seen is ProbeClass.UP, evidence.text
    assert (evidence.server, evidence.vantage, evidence.at, evidence.target) == ("vps", vantage, NOW, look.target)


@pytest.mark.parametrize("vantage", KINDS)
def test_each_says_what_it_sees_of_a_server_that_is_not_well(world: World, vantage: str) -> None:
    world.answer, world.robot.monitor["status"] = "550 5.1.1 no such user", "DOWN"

    assert world.look(vantage).see(NOW).seen is (ProbeClass.LYING if vantage == "vps2" else ProbeClass.DOWN)


@pytest.mark.parametrize("vantage", KINDS)
def test_one_that_cannot_be_reached_knows_nothing(world: World, vantage: str) -> None:
    nowhere = free_port()
    look = world.look(vantage, ssh=f"probe@127.0.0.1:{nowhere}", api=f"http://127.0.0.1:{nowhere}")

    assert look.see(NOW).seen is ProbeClass.UNKNOWN


def test_a_machine_whose_own_line_is_down_knows_nothing_of_a_dead_server(world: World) -> None:
    evidence = world.look("vps2", line=free_port(), smtp=free_port()).see(NOW)

    assert evidence.seen is ProbeClass.UNKNOWN
    assert "vps2's own line was down" in evidence.text


def test_a_machine_that_sees_the_server_dead_says_down(world: World) -> None:
    evidence = world.look("vps2", smtp=free_port()).see(NOW)

    assert evidence.seen is ProbeClass.DOWN, evidence.text


def test_no_password_leaves_for_another_machine(world: World) -> None:
    assert {look.axis for look in looks_of(world.app(), "vps") if look.vantage == "vps2"} == {Axis.INBOUND}
