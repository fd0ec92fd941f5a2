"""One suite for everybody's monitors that are asked what they see: UptimeRobot and any URL; they say up, down, or nothing, and never break."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event

import pytest

from failsafe.adapters.http_vantage import HttpVantage
from failsafe.adapters.uptimerobot import UptimeRobot, judge_monitor
from failsafe.failover.up_when import parse_condition
from failsafe.model import Axis, Evidence, ProbeClass
from tests.fakes.listening import listening
from tests.fakes.uptimerobot_server import KEY, MONITOR, UptimeRobotServer
from tests.ports import free_port

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SECONDS = 1.0
FAULTS = ["429", "500", "html", "garbage", "list", "hang", "drip", "huge", "redirect"]


@dataclass
class Monitor:
    """One kind of monitor in front of a server whose answer the test chooses."""

    look: Callable[[], Evidence]
    server: UptimeRobotServer

    def says(self, status: str) -> ProbeClass:
        self.server.monitor["status"] = status
        return self.look().seen


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "robot.key"
    file.write_text(KEY + "\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def robot() -> Iterator[UptimeRobotServer]:
    with UptimeRobotServer.running() as server:
        yield server


@pytest.fixture(params=["uptimerobot", "http"])
def monitor(request: pytest.FixtureRequest, robot: UptimeRobotServer, key: Path) -> Monitor:
    if request.param == "uptimerobot":
        adapter = UptimeRobot("vps", "robot", str(MONITOR), key, url=robot.url, seconds=SECONDS)
        return Monitor(lambda: adapter.probe(NOW), robot)
    up, down = parse_condition('$.status == "UP"'), parse_condition('$.status == "DOWN"')
    asked = HttpVantage("vps", "kuma", f"{robot.url}/monitors/{MONITOR}", up, down, key_file=key, seconds=SECONDS)
    return Monitor(lambda: asked.probe(NOW), robot)


def test_up_and_down_are_told_as_evidence_of_inbound_mail(monitor: Monitor) -> None:
    assert monitor.says("UP") is ProbeClass.UP
    assert monitor.says("DOWN") is ProbeClass.DOWN
    evidence = monitor.look()
    assert (evidence.server, evidence.axis, evidence.at) == ("vps", Axis.INBOUND, NOW)


@pytest.mark.parametrize("status", ["PAUSED", "STARTED", "LOOKS_DOWN", "MAINTENANCE", "", "up"])
def test_what_is_neither_up_nor_down_is_unknown(monitor: Monitor, status: str) -> None:
    assert monitor.says(status) is ProbeClass.UNKNOWN


@pytest.mark.parametrize("fault", FAULTS)
def test_a_monitor_that_is_itself_ill_is_unknown_in_time_and_never_down(monitor: Monitor, fault: str) -> None:
    monitor.server.fault, monitor.server.monitor["status"] = fault, "DOWN"
    started = time.monotonic()

    evidence = monitor.look()

    assert evidence.seen is ProbeClass.UNKNOWN, evidence.text
    assert time.monotonic() - started < SECONDS + 4


def test_no_key_is_in_any_evidence(monitor: Monitor) -> None:
    said = []
    for fault in ["", "500", "garbage", "redirect"]:
        monitor.server.fault = fault
        evidence = monitor.look()
        said.append(f"{evidence.text} {evidence.target} {evidence.transcript}")

    assert not [text for text in said if KEY in text or "Bearer" in text]


def test_a_key_that_is_not_accepted_says_nothing_of_the_server(monitor: Monitor, key: Path) -> None:
    key.write_text("another")

    assert monitor.look().seen is ProbeClass.UNKNOWN


def test_a_missing_key_says_nothing_of_the_server(monitor: Monitor, key: Path) -> None:
    key.unlink()

    evidence = monitor.look()

    assert evidence.seen is ProbeClass.UNKNOWN
    assert "robot.key" in evidence.text


# -- UptimeRobot's own ----------------------------------------------------------------------------------------------------


def judged(robot: UptimeRobotServer, **changes: object) -> ProbeClass:
    return judge_monitor({**robot.monitor, **changes}, str(MONITOR), NOW)[0]


def test_a_monitor_that_looks_too_rarely_is_stale_by_design(robot: UptimeRobotServer) -> None:
    assert judged(robot, interval=300) is ProbeClass.UP
    assert judged(robot, interval=3600) is ProbeClass.UNKNOWN


def test_a_monitor_that_stands_still_says_nothing(robot: UptimeRobotServer) -> None:
    def counted(ago: timedelta, unit: int) -> dict[str, object]:
        return {"bucketSize": 3600, "histogram": [{"timestamp": int((NOW - ago).timestamp() * unit), "uptime": 100}]}

    assert judged(robot, lastDayUptimes=counted(timedelta(minutes=40), 1)) is ProbeClass.UP
    assert judged(robot, status="DOWN", lastDayUptimes=counted(timedelta(hours=9), 1)) is ProbeClass.UNKNOWN
    assert judged(robot, status="DOWN", lastDayUptimes=counted(timedelta(hours=9), 1000)) is ProbeClass.UNKNOWN


def test_an_answer_about_another_monitor_says_nothing(robot: UptimeRobotServer) -> None:
    assert judged(robot, id=1) is ProbeClass.UNKNOWN


def test_another_monitors_number_is_refused_by_the_service(robot: UptimeRobotServer, key: Path) -> None:
    evidence = UptimeRobot("vps", "robot", "1", key, url=robot.url, seconds=SECONDS).probe(NOW)

    assert (evidence.seen, "no such monitor" in evidence.text) == (ProbeClass.UNKNOWN, True)


# -- a URL's own -----------------------------------------------------------------------------------------------------------


class _Page(BaseHTTPRequestHandler):
    kind, body, cached, sent_on = "text/html", b"", "0", ""

    def do_GET(self) -> None:
        moved = self.sent_on and not self.path.startswith("/there")
        self.send_response(302 if moved else 200)
        self.send_header("Content-Type", self.kind)
        self.send_header("Age", self.cached)
        if moved:
            self.send_header("Location", self.sent_on)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_arguments: object) -> None:
        pass


def seen_of(up: str, down: str | None = None, **page: object) -> ProbeClass:
    with listening(_Page, Event(), **page) as address:
        conditions = (parse_condition(up), None if down is None else parse_condition(down))
        return HttpVantage("vps", "kuma", address, *conditions, seconds=5).probe(NOW).seen


def test_a_login_page_in_place_of_an_answer_is_unknown() -> None:
    assert seen_of("All systems operational", body=b"<form>Sign in</form>") is ProbeClass.UNKNOWN
    assert seen_of('$.status == "up"', body=b"<form>Sign in</form>") is ProbeClass.UNKNOWN


def test_a_status_page_says_up_and_down_in_its_own_words() -> None:
    assert seen_of("operational", "outage", body=b"<p>All systems operational</p>") is ProbeClass.UP
    assert seen_of("operational", "outage", body=b"<p>Major outage</p>") is ProbeClass.DOWN


def test_plain_text_says_down_when_the_word_is_not_there() -> None:
    assert seen_of("UP", kind="text/plain", body=b"DOWN") is ProbeClass.DOWN


def test_an_answer_from_a_cache_is_stale() -> None:
    assert seen_of('$.status == "up"', kind="application/json", body=b'{"status": "down"}', cached="3600") is ProbeClass.UNKNOWN


def test_a_redirect_on_the_same_host_is_followed_and_one_that_never_ends_is_not() -> None:
    assert seen_of("UP", kind="text/plain", body=b"UP", sent_on="/there") is ProbeClass.UP
    assert seen_of("UP", kind="text/plain", body=b"UP", sent_on="/again") is ProbeClass.UNKNOWN


def test_a_monitor_that_nobody_answers_for_is_unknown() -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    evidence = HttpVantage("vps", "kuma", url, parse_condition("UP"), seconds=2).probe(NOW)

    assert evidence.seen is ProbeClass.UNKNOWN
