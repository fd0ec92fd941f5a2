"""Wheels to try the installer with: small ones that say and refuse what a test wants, of the same name as the real one."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAME = "failsafe_mail"

PROGRAM = """
import os, sys

def main():
    words = sys.argv[1:]
    if words == ["--version"]:
        print("failsafe {version}")
    elif words == ["who"]:
        print(os.getuid(), os.environ.get("HOME", ""), oct(os.umask(0)))
    elif words[-1:] == ["init"]:
        open(os.path.join("{config}", "made-by-init"), "w").close()
    elif words[2:] in (["config", "check"], ["db", "upgrade"]):
        print("failsafe {version}:", *words, file=sys.stderr)
        sys.exit(4 if words[3] in {refuses!r} else 0)
"""


def small_wheel(
    folder: Path, version: str, *, refuses: tuple[str, ...] = (), config: Path = Path("/nowhere"), broken: bool = False
) -> Path:
    """A wheel whose command answers --version, and takes `config check` and `db upgrade` unless `refuses` names the second word.

    `broken`: pip takes it, and the command does not run.
    """
    file = folder / f"{NAME}-{version}-py3-none-any.whl"
    info = f"{NAME}-{version}.dist-info"
    program = "raise SystemExit(9)" if broken else PROGRAM.format(version=version, refuses=refuses, config=config)
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr("failsafe/__init__.py", program)
        for place in ("systemd", "cron", "logrotate"):
            for carried in (ROOT / "deploy" / place).iterdir():
                wheel.write(carried, f"failsafe/_deploy/{place}/{carried.name}")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: failsafe-mail\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\nfailsafe = failsafe:main\n")
        wheel.writestr(f"{info}/RECORD", "")
    return file


@cache
def real_wheel() -> Path:
    """failsafe itself, built once for this run of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="failsafe-wheel-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--disable-pip-version-check", "-w", str(folder), str(ROOT)]
    outcome = subprocess.run(build, capture_output=True, text=True, timeout=280, check=False)
    assert outcome.returncode == 0, outcome.stderr
    (wheel,) = folder.glob(f"{NAME}-*.whl")
    return wheel
