"""deploy/install.sh: installs, upgrades, and leaves what works alone when anything fails. With small wheels, so that it takes seconds."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.wheels import ROOT, small_wheel

SCRIPT = ROOT / "deploy" / "install.sh"
USER = "nobody"

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root: the installer changes owners")


@dataclass(frozen=True)
class Place:
    """A machine's folders, all below one."""

    folder: Path

    @property
    def command(self) -> Path:
        return self.folder / "bin" / "failsafe"

    @property
    def current(self) -> Path:
        return self.folder / "program" / "current"

    @property
    def config(self) -> Path:
        return self.folder / "config" / "failsafe.toml"

    def run(self, *words: object, start: str = "cron", path: str | None = None) -> subprocess.CompletedProcess[str]:
        there = {name: self.folder / name for name in ("program", "bin", "config", "state", "etc")}
        places = ["--prefix", there["program"], "--bin", there["bin"], "--config", there["config"], "--state", there["state"]]
        line = ["sh", SCRIPT, *places, "--user", USER, "--start", start, *words]
        environment = {
            **os.environ,
            "FAILSAFE_INSTALL_ETC": str(there["etc"]),
            "PATH": path or os.environ["PATH"],
            "PIP_NO_INDEX": "1",
        }
        environment.pop("PYTHONPATH", None)
        return subprocess.run(list(map(str, line)), capture_output=True, text=True, timeout=240, check=False, env=environment)

    def version(self) -> str:
        return subprocess.run([self.command, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout.strip()


@pytest.fixture(scope="module")
def installed() -> Iterator[Place]:
    """Version 1 with a configuration. Not below pytest's own folder, which every run closes to other users again."""
    with tempfile.TemporaryDirectory(prefix="failsafe-install-") as folder:
        Path(folder).chmod(0o755)
        place = Place(Path(folder))
        outcome = place.run(small_wheel(place.folder, "1.0", config=place.config.parent))
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        place.config.write_text("")
        yield place


def test_the_command_runs_as_the_user_who_owns_the_folders_whoever_of_root_calls_it(installed: Place) -> None:
    who = subprocess.run([installed.command, "who"], capture_output=True, text=True, timeout=30, check=True).stdout.split()

    user = pwd.getpwnam(USER)
    assert who == [str(user.pw_uid), user.pw_dir, "0o77"]
    for name in ("config", "state"):
        status = (installed.folder / name).stat()
        assert (status.st_uid, status.st_mode & 0o777) == (user.pw_uid, 0o700)


def test_what_init_writes_as_root_belongs_to_the_user_afterwards(installed: Place) -> None:
    subprocess.run([installed.command, "init"], timeout=30, check=True)

    assert (installed.folder / "config" / "made-by-init").stat().st_uid == pwd.getpwnam(USER).pw_uid


def test_the_cron_line_and_the_logrotate_file_have_this_installations_paths(installed: Place) -> None:
    cron = (installed.folder / "etc" / "cron.d" / "failsafe").read_text()
    rotate = (installed.folder / "etc" / "logrotate.d" / "failsafe").read_text()

    assert f"* * * * * {USER} umask 077; test ! -e {installed.config} ||" in cron
    assert f"{installed.folder}/state/failsafe.log {{" in rotate
    assert f"su {USER} " in rotate
    assert "/etc/failsafe" not in cron + rotate


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ({"broken": True}, "does not run"),
        ({"refuses": ("config",)}, ""),
        ({"refuses": ("check",)}, "does not take"),
        ({"refuses": ("upgrade",)}, "database could not be brought"),
    ],
    ids=["a program that does not run", "a pip that fails", "a configuration that is refused", "a database that fails"],
)
def test_whatever_fails_leaves_the_old_version_working(
    installed: Place, tmp_path: Path, fault: dict[str, object], says: str
) -> None:
    wheel = small_wheel(tmp_path, "2.0", **fault)  # type: ignore[arg-type]
    if not says:
        wheel.write_bytes(b"PK, and no wheel")
    before = installed.current.readlink()

    outcome = installed.run(wheel)

    assert outcome.returncode == 4, outcome.stdout + outcome.stderr
    assert says in outcome.stderr
    assert "the version in use stays" in outcome.stderr
    assert (installed.current.readlink(), installed.version()) == (before, "failsafe 1.0")
    assert [each for each in (installed.folder / "program" / "versions").iterdir() if each != before] == []


def test_run_again_it_upgrades_and_back_leads_to_the_version_before(installed: Place, tmp_path: Path) -> None:
    outcome = installed.run(small_wheel(tmp_path, "3.0", config=installed.folder / "config"))

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert installed.version() == "failsafe 3.0"
    assert f"failsafe 3.0: --config {installed.config} db upgrade" in outcome.stderr

    back = installed.run("--back")

    assert back.returncode == 0, back.stderr
    assert installed.version() == "failsafe 1.0"


def test_a_dry_run_says_each_step_and_does_none(tmp_path: Path) -> None:
    wheel = small_wheel(tmp_path, "1.0")

    outcome = Place(tmp_path / "nas").run("--dry-run", wheel)

    assert outcome.returncode == 0, outcome.stderr
    assert all(word in outcome.stdout for word in ("making", "installing", "moving", "etc/cron.d/failsafe"))
    assert not (tmp_path / "nas").exists()


def test_what_is_missing_is_named_with_the_way_to_get_it_and_nothing_is_done(tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "id", "apt-get", "sed", "basename", "dirname"):
        found = shutil.which(name)
        if found is not None:
            (programs / name).symlink_to(found)

    outcome = Place(tmp_path / "nas").run(path=str(programs))

    assert outcome.returncode == 2
    assert "Python 3.11 or newer (here: none): apt-get install python3 python3-venv" in outcome.stderr
    assert "restic 0.14 or newer: apt-get install restic" in outcome.stderr
    assert not (tmp_path / "nas").exists()


@pytest.mark.parametrize(
    "words", [["--prefix", "relative"], ["--user", "x;reboot"], ["--keep", "1"], ["--nonsense"], ["--state"], ["a.whl", "b.whl"]]
)
def test_words_that_it_does_not_take_are_exit_2(tmp_path: Path, words: list[str]) -> None:
    assert Place(tmp_path / "nas").run(*words).returncode == 2


def test_removed_it_leaves_configuration_and_state(tmp_path: Path) -> None:
    place = Place(tmp_path / "nas")
    for each in (
        place.command,
        place.folder / "state" / "failsafe.sqlite",
        place.config,
        place.current.parent / "versions" / "x",
    ):
        each.parent.mkdir(parents=True, exist_ok=True)
        each.write_text("")
    place.current.symlink_to("versions/x")

    outcome = place.run("--remove")

    assert outcome.returncode == 0, outcome.stderr
    assert not place.command.exists()
    assert not place.current.parent.exists()
    assert (place.folder / "state" / "failsafe.sqlite").exists()
    assert place.config.exists()
