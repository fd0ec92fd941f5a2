"""A strict stand-in for UptimeRobot's API version 3 on loopback: one monitor, one key; everything else is refused as the real one refuses it.

The shape of a monitor is the one of its published OpenAPI description (`GET /monitors/{id}`, bearer key, statuses in capitals, seconds). No live account
was at hand, so what the service really sends may differ.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.fakes.listening import listening

KEY = "m777749809-aKeyThatOnlyTestsKnow0123"
MONITOR = 777749809


class UptimeRobotServer:
    """`monitor` is what the next request gets; `fault`: "429", "500", "html", "garbage", "list", "hang", "drip", "huge", "redirect"."""

    def __init__(self) -> None:
        self.monitor: dict[str, Any] = {
            "id": MONITOR,
            "friendlyName": "mail, port 25",
            "url": "mail.example.org",
            "type": "PORT",
            "port": 25,
            "interval": 300,
            "timeout": 30,
            "status": "UP",
            "currentStateDuration": 86_400,
            "lastIncidentId": None,
            "lastDayUptimes": {"bucketSize": 0, "histogram": []},
        }
        self.fault = ""
        self.asked: list[str] = []
        self.released = threading.Event()
        self.url = ""

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[UptimeRobotServer]:
        server = cls()
        with listening(_Handler, server.released, robot=server) as address:
            server.url = f"{address}/v3"
            yield server


class _Handler(BaseHTTPRequestHandler):
    robot: UptimeRobotServer

    def do_GET(self) -> None:
        robot = self.robot
        robot.asked.append(self.path)
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self._json(401, {"error": True, "message": "Unauthorized"})
        elif self.path != f"/v3/monitors/{MONITOR}":
            self._json(404, {"error": True, "message": "Monitor not found"})
        elif robot.fault:
            self._fail(robot.fault)
        else:
            self._json(200, robot.monitor)

    def _fail(self, fault: str) -> None:
        if fault == "hang":
            self.robot.released.wait(60)
        elif fault == "drip":
            self.send_response(200)
            self.end_headers()
            while not self.robot.released.wait(0.05):
                self.wfile.write(b" ")
        elif fault == "redirect":
            self.send_response(302)
            self.send_header("Location", "https://elsewhere.invalid/login")
            self.end_headers()
        else:
            bodies = {"html": "<html>Sign in</html>", "garbage": '{"id": ', "list": "[]", "huge": " " * (2 << 20)}
            status = int(fault) if fault.isdecimal() else 200
            self._text(status, bodies.get(fault, "{}"))

    def _json(self, status: int, value: object) -> None:
        self._text(status, json.dumps(value))

    def _text(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def handle(self) -> None:
        with contextlib.suppress(OSError):  # the client gave up, as it should
            super().handle()

    def log_message(self, *_arguments: object) -> None:
        pass
