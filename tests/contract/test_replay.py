"""`failsafe replay` on a database that a watch has filled: the table, JSON, gaps, and what is told where nothing was recorded."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from failsafe.clock import SystemClock
from failsafe.model import Axis, Evidence, OwnLine, ProbeClass
from failsafe.store.engine import Store
from failsafe.store.history import HistoryStore
from tests.contract.verbs import run_verb

CONFIG = """
[controller]
id = "nas"
state_dir = "{folder}/state"
time_zone = "Europe/Warsaw"
[mail_server.vps]
layout = "maildir"
path = "{folder}/mail"
[probe.vps]
[own_line]
references = ["127.0.0.1:1"]
[domain."example.org"]
server = "vps"
zone = "example.org"
primary = ["mail.example.org"]
secondary = ["mx.away.example"]
strategy = "on-demand"
quorum = 1
"""
MINUTE = timedelta(minutes=1)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "failsafe.toml"
    file.write_text(CONFIG.format(folder=tmp_path))
    (tmp_path / "state").mkdir()
    return file


def watched(config: Path, now: datetime) -> None:
    """A day of looks, each minute: an outage of 40 minutes, one of 8, and two hours in which nobody looked."""
    with closing(Store.sqlite(config.parent / "state" / "failsafe.sqlite")) as store:
        store.upgrade(now)
        history = HistoryStore(store)
        for minute in range(24 * 60):
            at = now - timedelta(days=1) + minute * MINUTE
            if 1000 <= minute < 1120:
                continue
            history.record_line(OwnLine(at, 3, 3))
            seen = ProbeClass.DOWN if 300 <= minute < 340 or 600 <= minute < 608 else ProbeClass.UP
            history.record(Evidence("vps", "here", Axis.INBOUND, seen, at, f"looked: {seen}", "mail.example.org:25"), MINUTE)
        history.flush(now)


def test_a_recorded_day_with_the_configured_and_other_thresholds(config: Path) -> None:
    watched(config, SystemClock().now())
    code, out, told = run_verb(config, "replay", "--since", "2d", "--down-for", "5m", "--down-for", "1h", "--json")
    assert code == 0, told
    [domain] = json.loads(out)["domains"]
    rows = {row["down_for_seconds"]: row for row in domain["rows"]}
    assert [(span, row["flips"], row["unproven"], row["false"], row["blips"]) for span, row in rows.items()] == [
        (900, 1, 1, 0, 1),
        (300, 2, 2, 0, 0),
        (3600, 0, 0, 0, 2),
    ]
    [here] = domain["coverage"]
    assert len(here["gaps"]) == 1
    assert 91 < here["known_percent"] < 93
    assert any(note.startswith("nothing was recorded before") for note in domain["notes"])

    code, out, _told = run_verb(config, "replay", "--down-for", "5m")
    assert code == 0
    assert "15 min *" in out
    assert "unproven: here alone said down" in out
    assert "1 gap(s), the longest 2 h" in out


def test_where_nothing_was_recorded_the_answer_is_that(config: Path) -> None:
    code, out, told = run_verb(config, "replay", "--json")
    assert code == 1
    assert json.loads(out)["domains"][0]["notes"] == ["nothing was recorded in this time"]
    assert "no evidence is recorded" in told


@pytest.mark.parametrize(
    "words", [("--down-for", "15"), ("--since", "never"), ("--since", "1h", "--until", "2h"), ("example.net",)]
)
def test_what_cannot_be_understood_is_exit_2(config: Path, words: tuple[str, ...]) -> None:
    assert run_verb(config, "replay", *words)[0] == 2
