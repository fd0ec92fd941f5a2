"""How long a person waits for `failsafe status`: a whole process each time, on a database with months of history."""

import datetime as dt
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.report import Report
from bench.world import DOMAIN, world

RUNS, WARM_UPS = 20, 3
TARGET_SECONDS = 0.35
EVENTS, EVIDENCE, BACKUPS = 20_000, 5_000, 500
"""Months of an ordinary home: what the stores keep before they tidy."""


def measure() -> Report:
    """The figures for `status`."""
    how = (
        f"`failsafe status` as a process of its own, {RUNS} runs after {WARM_UPS} to warm up, on a database with {EVENTS:,} events, {EVIDENCE:,} runs "
        f"of evidence and {BACKUPS} backups."
    )
    report = Report("status", how)
    with tempfile.TemporaryDirectory(prefix="failsafe-bench-", dir="/var/tmp") as name:
        folder = Path(name)
        with world(folder, provider=False) as config:
            _fill(folder / "state")
            for words in (["status"], ["status", "--json"]):
                took = [_run(config, words) for _ in range(WARM_UPS + RUNS)][WARM_UPS:]
                what = f"failsafe {' '.join(words)}"
                report.at_most(f"{what}, median", statistics.median(took), "s", TARGET_SECONDS, 3)
                report.fact(f"{what}, fastest and slowest", f"{min(took):.3f} s, {max(took):.3f} s")
    return report


def program() -> list[str]:
    """The command as it is installed; without an installation, the module."""
    installed = Path(sys.executable).parent / "failsafe"
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "failsafe"]


def _run(config: Path, words: list[str]) -> float:
    begun = time.perf_counter()
    done = subprocess.run([*program(), "--config", str(config), *words], capture_output=True, text=True, timeout=60, check=False)
    took = time.perf_counter() - begun
    if done.returncode not in {0, 1} or DOMAIN not in done.stdout:
        raise RuntimeError(f"failsafe {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return took


def _fill(state: Path) -> None:
    """A database that looks lived in."""
    from failsafe.clock import SystemClock
    from failsafe.store import schema
    from failsafe.store.engine import Store

    now, store = SystemClock().now(), Store.sqlite(state / "failsafe.sqlite")
    store.upgrade(now)

    def ago(number: int, step: dt.timedelta) -> dt.datetime:
        return now - number * step

    minutes = dt.timedelta(minutes=6)
    events = [
        {
            "at": ago(i, minutes),
            "name": "backup.done",
            "subject": "vps",
            "text": f"backup {i} ended: 1200 messages",
            "details": {"run": i},
        }
        for i in range(EVENTS, 0, -1)
    ]
    evidence = [
        {
            "server": "vps", "vantage": "here", "axis": "inbound", "seen": "up", "target": "127.0.0.1:25", "text": "250 ok", "transcript": "",
            "seconds": 0.1, "first_at": ago(i + 1, minutes * 5), "last_at": ago(i, minutes * 5), "count": 30,
        }
        for i in range(EVIDENCE, 0, -1)
    ]  # fmt: skip
    report = {
        "server": "vps",
        "result": "ok",
        "messages": {"total": 1200, "new": 3, "moved": 0, "reflagged": 1, "gone": 0},
        "missing": [],
        "snapshots": [],
    }
    backups = [
        {"server": "vps", "started_at": ago(i, minutes), "ended_at": ago(i, minutes), "result": "ok", "report": report}
        for i in range(BACKUPS, 0, -1)
    ]
    states = [
        {"domain": DOMAIN, "state": "normal", "since_at": ago(900, minutes), "serving": "primary", "epoch": 1, "changed_at": now}
    ]
    with store.begin() as connection:
        for table, rows in (
            (schema.event, events),
            (schema.evidence, evidence),
            (schema.backup_run, backups),
            (schema.domain_state, states),
        ):
            connection.execute(table.insert(), rows)
    store.close()
