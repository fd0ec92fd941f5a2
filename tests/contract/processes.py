"""`failsafe` as a process of its own, and what a daemon of a test is not to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Container
from pathlib import Path
from typing import Any

from failsafe.app import App

ROOT = Path(__file__).parents[2]
PATIENCE = 280.0  # seconds, on a busy machine; less than a test may take


def command(config: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "failsafe", "--config", str(config), *words]


def surroundings(path: str = "") -> dict[str, str]:
    """Of a process that finds this package wherever it is started; `path` comes before the others in PATH."""
    found = {**os.environ, "PYTHONPATH": str(ROOT)}
    return {**found, "PATH": f"{path}:{found['PATH']}"} if path else found


def start(config: Path, *words: str, path: str = "", **how: Any) -> subprocess.Popen[str]:
    """`how`: as subprocess.Popen has it."""
    given = {"stdin": subprocess.DEVNULL, "text": True, "env": surroundings(path), "cwd": config.parent, **how}
    return subprocess.Popen(command(config, *words), **given)


def run(config: Path, *words: str, status: int | Container[int] = 0, path: str = "", **how: Any) -> tuple[str, str]:
    """Its stdout and stderr, once it has ended with (one of) `status`."""
    process = start(config, *words, path=path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how)
    with process:
        try:
            out, told = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    good = process.returncode == status if isinstance(status, int) else process.returncode in status
    assert good, (words, process.returncode, out, told)
    return out, told


def done_lately(app: App, *duties: str) -> None:
    """A daemon on this state has these behind it: they are slow, and not its test's matter."""
    now = app.clock.now()
    for name in duties:
        app.duties.started(name, now)
        app.duties.ended(name, now, ok=True)
