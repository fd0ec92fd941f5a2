"""Help: every verb is there, with an example that can be copied."""

from __future__ import annotations

import subprocess
import sys

import pytest

from failsafe.cli import VERBS

FAILSAFE = [sys.executable, "-m", "failsafe"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*FAILSAFE, *words], capture_output=True, text=True, timeout=60, check=False)


def test_the_list_names_every_verb() -> None:
    listed = run("--help").stdout

    assert [verb for verb in VERBS if f"  {verb} " not in listed] == []


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("config", "db")])
def test_every_verb_shows_an_example_on_a_line_of_its_own(verb: str) -> None:
    helped = run(verb, "--help").stdout

    lines = [line.strip().removeprefix("Examples:").removeprefix("Example:").strip() for line in helped.splitlines()]
    assert any(line.startswith("failsafe ") and verb in line for line in lines) or verb == "tick"


@pytest.mark.parametrize(
    ("words", "says"), [(["nonsense"], "No such command"), (["status", "--nonsense"], "No such option"), (["restore"], "--to")]
)
def test_a_mistyped_command_is_exit_2_and_says_what_is_wrong(words: list[str], says: str) -> None:
    outcome = run(*words)

    assert outcome.returncode == 2
    assert says in outcome.stderr


def test_without_a_configuration_the_usual_places_are_named() -> None:
    outcome = subprocess.run(
        [*FAILSAFE, "backup"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"HOME": "/nonexistent", "FAILSAFE_CONFIG": "/nonexistent/f.toml"},
    )

    assert outcome.returncode == 2
    assert "/nonexistent/f.toml" in outcome.stderr
