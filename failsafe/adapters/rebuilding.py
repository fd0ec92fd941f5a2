"""Runs an archive's own rebuild.py the way its README.txt tells a person to: a Python without failsafe, nothing but the standard library."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from failsafe.adapters.process import Command, Ending, base_environment, run
from failsafe.backup.archive.layout import REBUILD
from failsafe.backup.opening import Rebuilt
from failsafe.errors import ProcessError

LEAST = timedelta(minutes=30)
SLOWEST = 500_000  # bytes a second that even a busy NAS writes and reads back
KEPT = 1000  # problems
STOPPED = 3  # its code where the disk ended it
EARLY = "stopped early: "


def rebuild(archive: Path, target: Path, mailboxes: Sequence[str], *, generation: int | None, size: int) -> Rebuilt:
    """See the port. -I and -S: neither this program's packages nor a user's are in reach."""
    chosen = [f"--mailbox={mailbox}" for mailbox in mailboxes]
    if generation is not None:
        chosen.append(f"--generation={generation}")
    python = shutil.which("python3") or sys.executable
    argv = (python, "-I", "-S", REBUILD, *chosen, "--", str(target))
    problems: list[str] = []
    notes: list[str] = []

    def listen(line: str) -> None:
        for mark, kept in (("PROBLEM: ", problems), ("note: ", notes)):
            if line.startswith(mark) and len(kept) < KEPT:
                kept.append(line.removeprefix(mark))

    deadline = LEAST + timedelta(seconds=2 * size / SLOWEST)
    finished = run(Command(argv, base_environment(), cwd=archive, deadline=deadline), on_stderr=listen)
    if finished.ending is not Ending.ITSELF:
        raise ProcessError(f"rebuild.py took longer than {deadline.total_seconds():.0f} s and was ended")
    if finished.code not in (0, 1, STOPPED) and not problems:
        problems.append("; ".join(finished.stderr[-3:]) or f"it ended with code {finished.code}")
    return Rebuilt(finished.code, tuple(problems), tuple(notes), _stopped(finished.code, problems))


def _stopped(code: int | None, problems: Sequence[str]) -> str:
    """In its words. The rebuild.py of an archive that an earlier version made has no code for it, and says it in them alone."""
    said = next((problem for problem in problems if problem.startswith(EARLY)), EARLY + "the disk ended it")
    return said if code == STOPPED or (code == 1 and said.startswith(f"{EARLY}[Errno")) else ""
