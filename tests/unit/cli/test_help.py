"""Help: every verb is there, with an example that can be copied."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from failsafe.cli import VERBS, restore_server
from failsafe.cli.root import app

FAILSAFE = [sys.executable, "-m", "failsafe"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*FAILSAFE, *words], capture_output=True, text=True, timeout=60, check=False)


def test_the_list_names_every_verb() -> None:
    listed = run("--help").stdout

    assert [verb for verb in VERBS if f"  {verb} " not in listed] == []


def every_command() -> Iterator[tuple[str, str]]:
    """(words, help) of each verb and of each verb below it, and of the other form of `restore`."""
    root: Any = typer.main.get_command(app)
    context = root.make_context("failsafe", [], resilient_parsing=True)
    for verb in VERBS:
        command = root.get_command(context, verb)
        below = getattr(command, "commands", {})
        yield from ((f"{verb} {name}", each.help or "") for name, each in below.items())
        if not below or command.invoke_without_command:
            yield verb, command.help or ""
    whole: Any = typer.main.get_command(restore_server.app)
    yield "restore", whole.help or next(iter(whole.commands.values())).help


COMMANDS = list(every_command())


@pytest.mark.parametrize(("words", "text"), [pytest.param(*each, id=each[0]) for each in COMMANDS])
def test_every_verb_has_an_example_that_can_be_copied(words: str, text: str) -> None:
    _before, example, after = text.partition("Example")
    lines = [line.strip() for line in after.removeprefix("s").removeprefix(":").splitlines()]

    assert example, "its help has no example"
    # Options may stand between: failsafe --config FILE VERB; of cron's own line the command is the end.
    assert any(re.search(rf"failsafe (\S+ )*{words}\b", line) for line in lines), lines


def test_an_example_keeps_its_lines() -> None:
    helped = run("backup", "--help").stdout

    assert "failsafe backup vps --json" in [line.strip() for line in helped.splitlines()]


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
