"""UptimeRobot as a vantage: what one of its monitors says, by API version 3 with a read-only or a monitor-specific key.

`GET /v3/monitors/{id}` answers with `status` (UP, DOWN, LOOKS_DOWN, PAUSED, STARTED) and `interval` in seconds; when it looked last is not among its
fields. Only UP and DOWN say something. LOOKS_DOWN is being verified by them; paused and not yet checked monitors saw nothing; one that looks too
rarely is stale by design; a histogram whose newest part is old says that the monitor stands still.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from failsafe.adapters.web_answer import NoAnswer, fetch
from failsafe.errors import SecretError
from failsafe.mail.replies import printable
from failsafe.model import Axis, Evidence, ProbeClass
from failsafe.secrets import read_secret

API = "https://api.uptimerobot.com/v3"
RAREST = timedelta(minutes=10)  # between its own looks: with the default down_for that is at least one look within the wait
STANDS_STILL = timedelta(hours=3)  # since the newest part of its histogram began; the parts' length is not documented
REFUSALS = {
    401: "the key is not accepted: check the key file",
    403: "the key may not read this monitor: make a monitor-specific or a read-only key",
    404: "there is no such monitor for this key: check `monitor`, the number in the monitor's address",
    429: "too many requests for this account (10 a minute on the free plan)",
}


class UptimeRobot:
    """Asks about one monitor. The key is read at every look, and goes into one header alone."""

    def __init__(self, server: str, vantage: str, monitor: str, key_file: Path, *, url: str = API, seconds: float = 15.0) -> None:
        self._server, self._vantage, self._monitor = server, vantage, monitor
        self._key_file, self._url, self._seconds = key_file, url.rstrip("/"), seconds

    @property
    def target(self) -> str:
        return f"UptimeRobot's monitor {self._monitor}"

    def probe(self, now: datetime) -> Evidence:
        """One look; never raises for anything that the service or a network can do."""
        started = time.monotonic()
        seen, text = self._look(now)
        seconds = round(time.monotonic() - started, 3)
        return Evidence(self._server, self._vantage, Axis.INBOUND, seen, now, printable(text), self.target, seconds)

    def _look(self, now: datetime) -> tuple[ProbeClass, str]:
        try:
            key = read_secret(self._key_file).reveal().strip()
            headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
            answer = fetch(f"{self._url}/monitors/{self._monitor}", self._seconds, headers)
        except (NoAnswer, SecretError) as error:
            return ProbeClass.UNKNOWN, f"UptimeRobot could not be asked: {error}"
        if answer.status != 200:
            return ProbeClass.UNKNOWN, f"UptimeRobot: {REFUSALS.get(answer.status, f'it answered with status {answer.status}')}"
        try:
            monitor = json.loads(answer.body)
        except (ValueError, RecursionError):
            return ProbeClass.UNKNOWN, "UptimeRobot: its answer is not JSON"
        if not isinstance(monitor, dict):
            return ProbeClass.UNKNOWN, "UptimeRobot: its answer is not a monitor"
        return judge_monitor(monitor, self._monitor, now)


def judge_monitor(monitor: Mapping[str, Any], wanted: str, now: datetime) -> tuple[ProbeClass, str]:
    """What the answer about a monitor says; everything that is not clear is unknown."""
    if str(monitor.get("id")) != wanted:
        return ProbeClass.UNKNOWN, "UptimeRobot: its answer is about another monitor"
    status, interval = monitor.get("status"), monitor.get("interval")
    if status not in ("UP", "DOWN"):
        known = {
            "PAUSED": "is paused",
            "STARTED": "has not been checked yet",
            "LOOKS_DOWN": "looks down to it, and is being verified",
        }
        return ProbeClass.UNKNOWN, f"UptimeRobot: the monitor {known.get(str(status), f'has the status {status!r}')}"
    if isinstance(interval, (int, float)) and interval > RAREST.total_seconds():
        return (
            ProbeClass.UNKNOWN,
            f"UptimeRobot: the monitor looks only every {interval / 60:.0f} min; set its interval to 5 min or less",
        )
    age = _age(monitor, now)
    if age is not None and age > STANDS_STILL:
        return (
            ProbeClass.UNKNOWN,
            f"UptimeRobot: the monitor stands still; it was last counted {age.total_seconds() / 3600:.0f} h ago",
        )
    since = monitor.get("currentStateDuration")
    lasting = f" for {since / 60:.0f} min" if isinstance(since, (int, float)) and since > 0 else ""
    return (ProbeClass.UP if status == "UP" else ProbeClass.DOWN), f"UptimeRobot says {status}{lasting}"


def _age(monitor: Mapping[str, Any], now: datetime) -> timedelta | None:
    """Since the newest part of its histogram began; None where there is none (it is empty on the free plan)."""
    uptimes = monitor.get("lastDayUptimes")
    rows = uptimes.get("histogram") if isinstance(uptimes, dict) else None
    stamps = [row.get("timestamp") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    known = [
        stamp / 1000 if stamp > 1e11 else float(stamp) for stamp in stamps if isinstance(stamp, (int, float)) and 0 < stamp < 1e14
    ]
    return now - datetime.fromtimestamp(max(known), UTC) if known else None
