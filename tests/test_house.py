"""The house keeps its own rules: style, types, import direction, sizes."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "failsafe").rglob("*.py"))
LONGEST_FILE = 400
LONGEST_FUNCTION = 60


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["ruff", "check", "failsafe", "tests", "migrations", "bench"], id="ruff"),
        pytest.param(["ruff", "format", "--check", "failsafe", "tests", "migrations", "bench"], id="format"),
        pytest.param(["mypy", "failsafe"], id="mypy", marks=pytest.mark.first),
        pytest.param(["lint-imports"], id="imports"),
    ],
)
def test_the_checkers_find_nothing(command: list[str]) -> None:
    program = Path(sys.executable).parent / command[0]

    outcome = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}

    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_function_is_longer_than_a_screen() -> None:
    assert [name for path in SOURCES for name, length in functions(path) if length > LONGEST_FUNCTION] == []


def test_the_wheel_carries_its_migrations(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--disable-pip-version-check",
        "-w",
        str(tmp_path),
        str(ROOT),
    ]

    outcome = subprocess.run(build, capture_output=True, text=True, timeout=280, check=False)

    assert outcome.returncode == 0, outcome.stderr
    (wheel,) = tmp_path.glob("failsafe_mail-*.whl")
    listing = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", str(wheel)], capture_output=True, text=True, check=True
    ).stdout
    assert "failsafe/_migrations/versions/0001_first.py" in listing
    assert "failsafe/_runbooks/flip.blocked.md" in listing
    assert "failsafe/backup/serverside/session.py" in listing
    assert "failsafe/backup/serverwrite/session.py" in listing
