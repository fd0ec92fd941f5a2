"""What TAB completes: verbs, options, and the names of the configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from failsafe.cli.names import domains, repositories, servers

CONFIG = """
[mail_server.vps]
[mail_server.vps2]
[repository.offsite]
[domain."example.org"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "failsafe.toml"
    file.write_text(CONFIG)
    return file


def tab(line: str, shell: str = "bash", **environment: str) -> list[str]:
    """What a shell is given for the line; a line that ends with a space asks for the next word."""
    asks = {"bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}, "zsh": {"_TYPER_COMPLETE_ARGS": line}}
    outcome = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['failsafe']; from failsafe.cli import main; main()"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **asks[shell], "_FAILSAFE_COMPLETE": f"complete_{shell}", **environment},
    )
    assert outcome.stderr == ""
    return outcome.stdout.split("\n")[:-1] if shell == "bash" else [outcome.stdout]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("failsafe snapshots --repo", ["--repository"]),
        ("failsafe backup v", ["vps", "vps2"]),
        ("failsafe snapshots --repository ", ["offsite"]),
        ("failsafe drill ", ["restore", "failover"]),
        ("failsafe fail", ["failover", "failback"]),
    ],
)
def test_tab_offers_what_can_stand_there(line: str, offered: list[str], config: Path) -> None:
    assert [each for each in tab(line, FAILSAFE_CONFIG=str(config)) if each in offered] == offered


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_names_come_from_the_configuration_that_the_line_itself_names(shell: str, config: Path) -> None:
    (offered, *_more) = tab(f"failsafe --config {config} backup v", shell, FAILSAFE_CONFIG="/nonexistent")

    assert "vps" in offered


@pytest.mark.parametrize("text", ["", "mail_server = 3", "this is no TOML", "[mail_server"])
def test_a_configuration_that_cannot_be_read_offers_nothing_and_says_nothing(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "failsafe.toml"
    file.write_text(text)
    monkeypatch.setenv("FAILSAFE_CONFIG", str(file))

    assert (servers(""), repositories(""), domains("")) == ([], [], [])
