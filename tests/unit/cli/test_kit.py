"""`failsafe kit`: what it refuses before any work, and what it leaves behind then: nothing."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from failsafe.errors import ExternalError, UsageError
from failsafe.kits.file import check_passphrase, default_name, read_kit, write_kit
from failsafe.secrets import Secret
from tests.unit.kits.sample import KIT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "failsafe.toml").write_text(
        f'[controller]\nid = "nas"\nstate_dir = "{tmp_path}/state"\n'
        f'[repository.nas]\nurl = "{tmp_path}/repository"\npassword_file = "{tmp_path}/password"\n'
    )
    return tmp_path


def kit(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "failsafe", "--config", str(folder / "failsafe.toml"), "kit", *words]
    root = str(Path(__file__).parents[3])
    return subprocess.run(
        command, cwd=folder, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": root}, capture_output=True, text=True, timeout=60,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param([], "not a terminal", id="nobody is there to type a passphrase"),
        pytest.param(["--plain", "--passphrase-file", "phrase"], "--plain encrypts nothing", id="encrypted and not"),
        pytest.param(["--plain", "--output", "failsafe.toml"], "there already", id="something is there"),
        pytest.param(["--plain", "--output", "nowhere/kit.html"], "no folder", id="no such folder"),
        pytest.param(["--plain"], "cannot read", id="the password of a repository is gone"),
    ],
)
def test_it_refuses_with_exit_2_and_writes_nothing(folder: Path, words: list[str], says: str) -> None:
    before = (folder / "failsafe.toml").read_text()

    outcome = kit(folder, *words)

    assert (outcome.returncode, outcome.stdout) == (2, "")
    assert says in outcome.stderr
    assert (list(folder.rglob("*.html")), (folder / "failsafe.toml").read_text()) == ([], before)


@pytest.mark.parametrize("text", ["short", "x" * 201, "pässwort mit umlaut", " begins with a blank", "two\nlines of words"])
def test_a_passphrase_that_is_weak_or_not_typed_alike_everywhere_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_passphrase(Secret(text))

    assert text not in str(caught.value) + caught.value.mend


def test_signs_digits_and_inner_blanks_are_well() -> None:
    check_passphrase(Secret("four words' $that `nobody` \"says 42"))


def test_the_second_kit_of_a_day_gets_a_number(tmp_path: Path) -> None:
    first = default_name("nas", KIT.made_at, tmp_path)
    first.touch()

    assert first.name == "failsafe-kit-nas-2026-11-29.html"
    assert default_name("nas", KIT.made_at, tmp_path).name == "failsafe-kit-nas-2026-11-29-2.html"


def test_a_kit_is_written_closed_and_reads_back(tmp_path: Path) -> None:
    assert write_kit(tmp_path / "kit.html", KIT, None)

    assert (tmp_path / "kit.html").stat().st_mode & 0o777 == 0o600
    assert read_kit(tmp_path / "kit.html", lambda: pytest.fail("an open kit asks for no passphrase")) == KIT


def test_a_link_that_waits_at_the_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kit.html").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(UsageError, match="there already"):
        write_kit(tmp_path / "kit.html", KIT, None)

    assert not (tmp_path / "elsewhere").exists()


def test_where_there_is_no_room_nothing_is_left_behind(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(ExternalError, match="cannot be written"):
            write_kit(tmp_path / "kit.html", KIT, None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list(tmp_path.iterdir()) == []
