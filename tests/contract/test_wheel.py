"""The wheel alone: the program runs from it, from an empty folder, with the repository of sources out of sight.

Its dependencies are those of the tests' own environment here; that they are all declared is shown in clean roots (test_clean_install.py).
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from failsafe import __version__
from tests.contract.wheels import ROOT, real_wheel
from tests.ports import free_port
from tests.support import wait_until


@dataclass(frozen=True)
class Installed:
    folder: Path
    program: Path
    config: Path
    port: int

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *words],
            cwd=self.folder / "empty",
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(self.folder),
                "FAILSAFE_CONFIG": str(self.config),
                "FAILSAFE_CONTAINER": "0",
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    venv, port = folder / "venv", free_port()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=120)
    pip = [sys.executable, "-m", "pip", "--python", venv / "bin" / "python", "install", "-q", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--no-index", real_wheel()], check=True, timeout=120)
    (site,) = venv.glob("lib/python3*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (folder / "empty").mkdir()
    config = folder / "failsafe.toml"
    config.write_text(f'[controller]\nid = "nas"\nstate_dir = "{folder}/state"\n[web]\nlisten = "127.0.0.1:{port}"\n')
    return Installed(folder, venv / "bin" / "failsafe", config, port)


def test_the_repository_of_sources_is_out_of_sight(installed: Installed) -> None:
    code = "import failsafe, sys; print(failsafe.__file__); print([each for each in sys.path])"
    said = subprocess.run(
        [installed.program.parent / "python", "-c", code],
        cwd=installed.folder / "empty",
        env={"PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout

    assert said.startswith(str(installed.folder))
    assert f"'{ROOT}'" not in said


@pytest.mark.parametrize(
    ("words", "begins"),
    [
        (["--version"], f"failsafe {__version__}"),
        (["config", "schema"], "{"),
        (["licences"], ""),
        (["config", "check"], ""),
        (["db", "upgrade"], "the database has schema"),
        (["status"], ""),
        (["uninstall", "--plan"], "First"),
    ],
    ids=" ".join,
)
def test_it_runs(installed: Installed, words: list[str], begins: str) -> None:
    outcome = installed.run(*words)

    assert outcome.returncode in (0, 1), outcome.stderr
    assert outcome.stdout.startswith(begins)
    assert "Traceback" not in outcome.stderr


def test_completion_works_from_it(installed: Installed) -> None:
    outcome = installed.run(_FAILSAFE_COMPLETE="complete_bash", COMP_WORDS="failsafe lic", COMP_CWORD="1")

    assert outcome.stdout.split() == ["licences"]


def listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def page(installed: Installed) -> Iterator[str]:
    with subprocess.Popen(
        [installed.program, "web"],
        cwd=installed.folder / "empty",
        env={"PATH": "/usr/bin:/bin", "FAILSAFE_CONFIG": str(installed.config)},
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        assert "the dashboard is at" in server.stderr.readline()
        try:
            wait_until(lambda: listens(installed.port), 60, "the dashboard listens")
            yield f"http://127.0.0.1:{installed.port}"
        finally:
            server.terminate()


def test_the_dashboards_page_and_its_figures_come_out_of_it(page: str) -> None:
    with urllib.request.urlopen(f"{page}/", timeout=30) as answer:
        assert "failsafe" in answer.read().decode()
    with urllib.request.urlopen(f"{page}/metrics", timeout=30) as answer:
        assert b"failsafe_" in answer.read()


def test_everything_that_is_no_python_is_in_it_and_nothing_of_the_tests() -> None:
    with zipfile.ZipFile(real_wheel()) as wheel:
        names = set(wheel.namelist())

    carried = [
        path
        for path in (ROOT / "failsafe").rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".py") and "__pycache__" not in path.parts
    ]
    assert len(carried) >= 3
    assert [str(path.relative_to(ROOT)) for path in carried if str(path.relative_to(ROOT)) not in names] == []
    for folder, place in (("migrations/versions", "_migrations/versions"), ("deploy/systemd", "_deploy/systemd")):
        assert [each.name for each in (ROOT / folder).glob("*.*") if f"failsafe/{place}/{each.name}" not in names] == []
    assert not [name for name in names if re.match(r"(tests|bench|docs)/", name)]


def test_its_words_say_what_it_needs() -> None:
    with zipfile.ZipFile(real_wheel()) as wheel:
        (name,) = [each for each in wheel.namelist() if each.endswith(".dist-info/METADATA")]
        said = wheel.read(name).decode()

    assert "Requires-Python: >=3.11" in said
    assert "License-Expression: MIT" in said
