"""A vantage that is anybody's monitor: one URL whose answer, JSON or text, says up or down (Uptime Kuma, Gatus, Healthchecks, a status page).

What cannot be understood is unknown, never down: an error, a login page, a cached or a garbled answer, a monitor that is itself dead.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from failsafe.adapters.web_answer import NoAnswer, WebAnswer, fetch
from failsafe.errors import SecretError
from failsafe.failover.up_when import Condition, Heard, Understood, judge_answer
from failsafe.mail.replies import printable
from failsafe.model import Axis, Evidence, ProbeClass
from failsafe.secrets import read_secret

OLDEST = 300  # seconds that an answer may have lain in a cache
PAGES = ("text/html", "application/xhtml+xml")


class HttpVantage:
    """Asks one URL. `down` None: another value of the same place says down (failover/up_when.py)."""

    def __init__(
        self,
        server: str,
        vantage: str,
        url: str,
        up: Condition,
        down: Condition | None = None,
        *,
        key_file: Path | None = None,
        seconds: float = 15.0,
    ) -> None:
        self._server, self._vantage, self._url = server, vantage, url
        self._up, self._down, self._key_file, self._seconds = up, down, key_file, seconds

    @property
    def target(self) -> str:
        """The monitor's host alone: a URL's path may be the secret that lets people see it."""
        return f"the monitor at {urlsplit(self._url).hostname}"

    def probe(self, now: datetime) -> Evidence:
        """One look; never raises for anything that a monitor or a network can do."""
        started = time.monotonic()
        seen, text = self._look()
        seconds = round(time.monotonic() - started, 3)
        return Evidence(self._server, self._vantage, Axis.INBOUND, seen, now, printable(text), self.target, seconds)

    def _look(self) -> tuple[ProbeClass, str]:
        try:
            answer = fetch(self._url, self._seconds, key_header(self._key_file))
        except (NoAnswer, SecretError) as error:
            return ProbeClass.UNKNOWN, f"the monitor could not be asked: {error}"
        fault = _fault(answer)
        if fault:
            return ProbeClass.UNKNOWN, f"the monitor's answer says nothing: {fault}"
        understood = judge_answer(Heard(answer.body, page=answer.kind in PAGES), self._up, self._down)
        return _CLASSES[understood.holds], f"the monitor {_says(understood)}: {understood.text}"


_CLASSES = {True: ProbeClass.UP, False: ProbeClass.DOWN, None: ProbeClass.UNKNOWN}


def _says(understood: Understood) -> str:
    return {True: "says up", False: "says down", None: "says neither up nor down"}[understood.holds]


def _fault(answer: WebAnswer) -> str:
    if not 200 <= answer.status <= 299:
        return f"it answered with status {answer.status}"
    if answer.age_seconds > OLDEST:
        return f"it has lain in a cache for {answer.age_seconds} s"
    return ""


def key_header(file: Path | None) -> Mapping[str, str]:
    """The header that a key file stands for: a whole one ("X-Api-Key: …"), or a token alone, which goes as a bearer's. Raises SecretError."""
    if file is None:
        return {}
    text = read_secret(file).reveal().strip()
    name, colon, value = text.partition(":")
    if colon and name.replace("-", "").isalnum() and value.strip():
        return {name.strip(): value.strip()}
    return {"Authorization": f"Bearer {text}"}
