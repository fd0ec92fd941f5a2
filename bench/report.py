"""What a benchmark found, as a table, with the facts of the machine it was found on."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


@dataclass(frozen=True)
class Line:
    """One measured figure. `target` and `met` are empty where there is none to meet."""

    what: str
    measured: str
    target: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        return {True: "met", False: "MISSED", None: ""}[self.met]


@dataclass
class Report:
    """The figures of one benchmark, and how they were taken."""

    name: str
    how: str
    lines: list[Line] = field(default_factory=list)
    tables: list[list[tuple[str, ...]]] = field(default_factory=list)  # further ones, each with its head first

    def at_most(self, what: str, value: float, unit: str, limit: float, digits: int = 2) -> None:
        """A figure that has a limit."""
        self.lines.append(Line(what, f"{value:.{digits}f} {unit}", f"<= {limit:g} {unit}", value <= limit))

    def fact(self, what: str, measured: str) -> None:
        """A figure without a limit."""
        self.lines.append(Line(what, measured))

    @property
    def missed(self) -> bool:
        return any(line.met is False for line in self.lines)

    def text(self) -> str:
        """As Markdown that also reads well in a terminal."""
        rows = [("what", "measured", "target", ""), *((one.what, one.measured, one.target, one.verdict) for one in self.lines)]
        parts = [f"# bench {self.name}", "", self.how, "", machine(), ""]
        for each in (rows, *self.tables):
            parts += [*_table(each), ""]
        return "\n".join(parts)

    def save(self) -> Path:
        """Keep it as the reference result."""
        RESULTS.mkdir(exist_ok=True)
        file = RESULTS / f"{self.name}.md"
        file.write_text(self.text(), encoding="utf-8")
        return file


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    table = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows]
    table.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return table


def machine() -> str:
    """One line about the machine: processor, cores, load, kernel, versions, commit."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _read("/proc/cpuinfo").splitlines() if line.startswith("model name")), "?"
    )
    memory = int(_read("/proc/meminfo").split()[1]) // 1_000_000
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "?")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    load, niceness = os.getloadavg()[0], os.getpriority(os.PRIO_PROCESS, 0)
    others = f"load {load:.1f} at the end" + (f", niceness {niceness}" if niceness else "")
    return (
        f"Machine: {model}, {os.cpu_count()} cores, {memory} GB; {others}; {system}, Linux {platform.release()}; "
        f"Python {platform.python_version()} ({sys.implementation.name}); commit {commit or '?'}."
    )


def file_system_of(folder: Path) -> str:
    """Its type, as `stat` names it: "tmpfs", "ext2/ext3"."""
    return subprocess.run(["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=True).stdout.strip()


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")
