"""`failsafe` as a process of its own, and what a daemon of a test is not to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from failsafe.app import App

ROOT = Path(__file__).parents[2]


def command(config: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "failsafe", "--config", str(config), *words]


def start(config: Path, *words: str, path: str = "", **pipes: Any) -> subprocess.Popen[str]:
    """`path` comes before the others in PATH."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment["PATH"] = f"{path}:{environment['PATH']}" if path else environment["PATH"]
    given = {"stdin": subprocess.DEVNULL, "text": True, "env": environment, "cwd": config.parent, **pipes}
    return subprocess.Popen(command(config, *words), **given)


def run(config: Path, *words: str, status: int | tuple[int, ...] = 0, seconds: float = 240, path: str = "") -> tuple[str, str]:
    """Its stdout and stderr, once it has ended with (one of) `status`."""
    process = start(config, *words, path=path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, told = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode in (status if isinstance(status, tuple) else (status,)), (words, process.returncode, out, told)
    return out, told


def done_lately(app: App, *duties: str) -> None:
    """A daemon on this state has these behind it: they are slow, and not its test's matter."""
    now = app.clock.now()
    for name in duties:
        app.duties.started(name, now)
        app.duties.ended(name, now, ok=True)
