"""What an idle `failsafe run` costs a NAS: memory, and how often it wakes the disk."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.report import Report
from bench.status import program
from bench.world import world

BEFORE_LIMIT, AFTER_LIMIT = 80, 120  # MB of resident memory: before the first SSH or provider call, and after
BURST_GAP = 5.0  # seconds without a change that end a burst of writing
PERIOD = 600.0  # seconds; at most one burst in each
START_SECONDS, SETTLE_SECONDS = 240, 15
Files = dict[str, tuple[int, int]]


def measure(minutes: float) -> Report:
    """The figures for `daemon`; the idle time is watched for `minutes`."""
    report = Report(
        "daemon",
        f"`failsafe run` with one mail server, one repository and one domain, probing once a minute, after its first jobs have ended; writes watched for "
        f"{minutes:g} minutes: every file in `state_dir`, and the daemon's own `write_bytes`. A burst ends after {BURST_GAP:g} s without a change.",
    )
    with tempfile.TemporaryDirectory(prefix="failsafe-bench-", dir="/var/tmp") as name:
        for place, provider in (("watching", False), ("provider", True)):
            folder = Path(name) / place
            folder.mkdir()
            with world(folder, provider=provider) as config, running(config, folder / "run.log") as daemon:
                settle(daemon, folder)
                if not provider:
                    report.at_most("resident memory before the first SSH or provider call", memory(daemon), "MB", BEFORE_LIMIT, 1)
                    continue
                report.at_most("resident memory after a provider call (Cloudflare's SDK)", memory(daemon), "MB", AFTER_LIMIT, 1)
                _watch_writes(report, daemon, folder, minutes)
                report.at_most("resident memory at the end", memory(daemon), "MB", AFTER_LIMIT, 1)
    return report


@contextlib.contextmanager
def running(config: Path, log: Path) -> Iterator[int]:
    """The daemon, as systemd would start and stop it; gives its process id."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*program(), "--config", str(config), "run"], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield process.pid
        if process.poll() is not None:
            raise RuntimeError(f"failsafe run ended with {process.returncode}: {log.read_text()[-4000:]}")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def settle(daemon: int, folder: Path) -> None:
    """Wait until it watches and has had no child for a while: its first backup, check and doctor are over."""
    deadline = time.monotonic() + START_SECONDS
    quiet_since = time.monotonic()
    database = folder / "state" / "failsafe.sqlite"
    while time.monotonic() < deadline:
        if children(daemon) or not database.exists():
            quiet_since = time.monotonic()
        if time.monotonic() - quiet_since > SETTLE_SECONDS:
            return
        time.sleep(0.25)
    raise RuntimeError(f"after {START_SECONDS} s the daemon is still busy: {(folder / 'run.log').read_text()[-4000:]}")


def children(daemon: int) -> list[str]:
    """The process ids of its child processes. Raises OSError when it has ended."""
    return [child for task in Path(f"/proc/{daemon}/task").iterdir() for child in (task / "children").read_text().split()]


def memory(daemon: int) -> float:
    """Resident memory of the daemon itself, in MB (1,000,000 bytes)."""
    line = next(line for line in Path(f"/proc/{daemon}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 / 1e6


@dataclass
class Burst:
    """Changes to files that follow each other closely. `news`: what happened meanwhile, by the audit trail; without any, it was idle."""

    begun: float
    ended: float
    changed: set[str]
    news: list[str]


def _watch_writes(report: Report, daemon: int, folder: Path, minutes: float) -> None:
    """Watch names, sizes and times of change; what is in the database is only looked at after it has changed."""
    state = folder / "state"
    begun, written, jobs = time.monotonic(), _written(daemon), 0
    bursts: list[Burst] = []
    files, rows = _files(state), _rows(state)
    while (now := time.monotonic()) - begun < minutes * 60:
        time.sleep(0.5)
        jobs += bool(children(daemon))
        found = _files(state)
        names = {name for name in files.keys() | found.keys() if files.get(name) != found.get(name)}
        if names:
            before, rows = rows, _rows(state)
            tables = {f"table {name}" for name in rows if rows[name] != before.get(name)}
            news = [row[2] for row in rows["event"] if row not in before["event"]]
            changed = tables or names
            if bursts and now - bursts[-1].ended < BURST_GAP:
                bursts[-1] = Burst(bursts[-1].begun, now, bursts[-1].changed | changed, bursts[-1].news + news)
            else:
                bursts.append(Burst(now, now, changed, news))
            found = _files(state)
        files = found
    seconds = time.monotonic() - begun
    idle = [burst for burst in bursts if not burst.news]
    report.at_most("bursts of writing in 10 minutes while nothing happened", len(idle) * PERIOD / max(seconds, PERIOD), "", 1, 1)
    report.fact("bursts seen in all, in how long", f"{len(bursts)} in {seconds / 60:.1f} minutes")
    for burst in bursts[:10]:
        told = f"; news: {', '.join(burst.news)}" if burst.news else ""
        report.fact(f"a burst at {burst.begun - begun:.0f} s", ", ".join(sorted(burst.changed)) + told)
    report.fact("bytes written by the daemon", f"{_written(daemon) - written:,}")
    report.fact("half-seconds with a job running", str(jobs))


def _rows(state: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in the database, by table."""
    with contextlib.closing(sqlite3.connect(f"file:{state / 'failsafe.sqlite'}?mode=ro", uri=True, timeout=10)) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        return {name: database.execute(f'select * from "{name}"').fetchall() for name in tables}


def _files(folder: Path) -> Files:
    found: Files = {}
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                seen = (Path(place) / name).stat()
                found[str((Path(place) / name).relative_to(folder))] = (seen.st_mtime_ns, seen.st_size)
    return found


def _written(daemon: int) -> int:
    """Bytes that the kernel has sent to disk for it."""
    lines = Path(f"/proc/{daemon}/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("write_bytes")))
