"""`failsafe evidence` shows what was seen, and what was said."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from failsafe.clock import SystemClock
from failsafe.model import Axis, ProbeClass
from tests.unit.looks.world import MINUTE, configured, remember


def seen(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "failsafe", "--config", str(folder / "failsafe.toml"), "evidence", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_shows_runs_oldest_first_with_their_transcripts_on_demand(tmp_path: Path) -> None:
    now = SystemClock().now()
    with configured(tmp_path) as app:
        for minute in (9, 8, 7):
            remember(
                app,
                Axis.INBOUND,
                ProbeClass.UP,
                "the recipient is accepted (250)",
                now - minute * MINUTE,
                transcript="S: 220 hello",
            )
        remember(app, Axis.ACCESS, ProbeClass.DOWN, "no IMAP", now - MINUTE)
        app.history.flush(now)

    whole = seen(tmp_path, "vps", "--transcript")
    lines = whole.stdout.splitlines()
    assert whole.returncode == 0, whole.stderr
    assert "vps inbound from here: up: the recipient is accepted (250) (3 times since" in lines[0]
    assert lines[1] == "    S: 220 hello"
    assert "vps access from here: down: no IMAP" in lines[2]

    (found,) = json.loads(seen(tmp_path, "--axis", "inbound", "--json").stdout)["evidence"]
    assert (found["seen"], found["count"], found["transcript"]) == ("up", 3, "S: 220 hello")


def test_a_server_that_nobody_looks_at_is_a_usage_fault_that_names_the_others(tmp_path: Path) -> None:
    with configured(tmp_path):
        pass
    done = seen(tmp_path, "vsp")

    assert done.returncode == 2
    assert "vps" in done.stderr
