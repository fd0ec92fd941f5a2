"""Runs a command as a person would and watches what it takes: time, processor, memory of every process of its tree."""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

EVERY = 0.05  # seconds between two looks at memory
TAIL = 3_000  # characters of a failed command's words


@dataclass
class Run:
    """What one run took. Memory in bytes: the highest of each program, and of all of them together at one moment."""

    seconds: float
    cpu: float  # seconds, of the command and all that it started here
    memory: dict[str, int] = field(default_factory=dict)  # program -> highest resident memory of one process
    together: int = 0
    output: str = ""


def run(command: Sequence[str], environment: Mapping[str, str], *, also: int | None = None, fine: Sequence[int] = (0,)) -> Run:
    """Runs it to its end. `also`: a process whose descendants are watched too (the sshd). Raises RuntimeError for another exit code."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watch = _Watch(process.pid, also)
    watch.start()
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    took = time.perf_counter() - begun
    process.returncode = code = os.waitstatus_to_exitcode(status)
    watch.stop.set()
    watch.join()
    if code not in fine:
        raise RuntimeError(f"{' '.join(command[:6])} ended with {code}:\n{output[-TAIL:]}")
    return Run(took, usage.ru_utime + usage.ru_stime, watch.highest, watch.together, output)


class _Watch(threading.Thread):
    def __init__(self, pid: int, also: int | None) -> None:
        super().__init__(daemon=True)
        self._pid, self._also, self.stop = pid, also, threading.Event()
        self.highest: dict[str, int] = {}
        self.together = 0

    def run(self) -> None:
        while not self.stop.wait(EVERY):
            parents = _parents()
            here = _tree(parents, {self._pid})
            self.together = max(self.together, sum(self._note(pid, "") for pid in here))
            for pid in _tree(parents, {self._also}) - {self._also} if self._also else ():
                self._note(pid, "server: ")

    def _note(self, pid: int, where: str) -> int:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return 0
        facts = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if "VmHWM" not in facts:
            return 0
        name, peak = where + facts["Name"].strip(), int(facts["VmHWM"].split()[0]) * 1024
        self.highest[name] = max(self.highest.get(name, 0), peak)
        return int(facts["VmRSS"].split()[0]) * 1024


def _parents() -> dict[int, int]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found[int(entry.name)] = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
            except OSError:
                continue
    return found


def _tree(parents: Mapping[int, int], tops: set[int]) -> set[int]:
    found = set(tops)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found
