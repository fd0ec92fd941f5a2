"""The commands of failsafe in a page's blocks and prose, held against the real command line, without running any."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from typing import Any

import typer

from failsafe.cli import VERBS, module_of
from failsafe.cli.common import USAGE_FAULT

BEFORE = ("sudo", "exec", "time", "$", "#")  # what may stand before the command on its line
ROOT_OPTIONS = {"--config": 1, "--version": 0, "--help": 0, "-h": 0, "--install-completion": 0, "--show-completion": 0}


class Unknown(Exception):
    """A command that the command line would not take; the text says why."""


def commands_in(text: str) -> list[list[str]]:
    """The words of each `failsafe …` in a text of shell lines. Raises Unknown where a line cannot be taken apart."""
    joined = re.sub(r"\\\n\s*", " ", text)
    found = []
    for line in joined.splitlines():
        try:
            lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
            lexer.whitespace_split = True
            words = list(lexer)
        except ValueError as error:
            raise Unknown(f"{line!r} is no shell line: {error}") from None
        found += _of_line(words)
    return found


def _of_line(words: list[str]) -> list[list[str]]:
    found: list[list[str]] = []
    current: list[str] | None = []
    for word in words:
        if word and set(word) <= set("|&;()"):
            current = []
        elif current is None or (not current and (word in BEFORE or re.fullmatch(r"[A-Z_]+=.*", word))):
            continue
        elif not current and word != "failsafe":
            current = None
        elif word and set(word) <= set("<>"):
            current = None  # what is read or written comes after it
        else:
            if not current:
                found.append(current)
            current.append(word)
    return [each[1:] for each in found]


def command_of(verb: str, words: list[str]) -> Any:
    if verb not in VERBS:
        raise Unknown(f"there is no verb {verb!r}")
    command: Any = typer.main.get_command(import_module(module_of(verb, words)).app)
    return getattr(command, "commands", {}).get(verb, command)


def demand_taken(words: list[str]) -> None:
    """Parses a command as the program would, and runs nothing. Raises Unknown."""
    verb, rest = _verb(words)
    if verb is None:
        return
    command = command_of(verb, rest)
    name = verb
    while hasattr(command, "commands"):
        if not rest or rest[0] not in command.commands:
            raise Unknown(f"`failsafe {name}` knows no {rest[:1]}; it has {', '.join(command.commands)}")
        command, name, rest = command.commands[rest[0]], f"{name} {rest[0]}", rest[1:]
    if "--help" in rest or "-h" in rest:
        return
    try:
        command.make_context(name, list(rest))
    except USAGE_FAULT as error:
        raise Unknown(f"`failsafe {' '.join(words)}`: {error.message}") from None


def demand_known(words: list[str]) -> None:
    """Only the verb and its options must be there: prose leaves arguments out, and writes FILE for one. Raises Unknown."""
    verb, rest = _verb(words)
    if verb is None or re.fullmatch(r"[A-Z]+|…", verb):
        return
    command = command_of(verb, rest)
    while hasattr(command, "commands") and rest and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    subcommands = list(getattr(command, "commands", {}).values()) or [command]
    options = {name for each in subcommands for parameter in each.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in rest:
        option = word.split("=")[0].strip("[],.…")
        if option.startswith("--") and option not in options | {"--help"}:
            raise Unknown(f"`failsafe {' '.join(words)}`: there is no {option}")


def _verb(words: list[str]) -> tuple[str | None, list[str]]:
    rest = list(words)
    while rest and rest[0].startswith("-"):
        option = rest[0].split("=")[0]
        if option not in ROOT_OPTIONS:
            raise Unknown(f"`failsafe {' '.join(words)}`: there is no {option} before the verb")
        rest = rest[1 + (ROOT_OPTIONS[option] if "=" not in rest[0] else 0) :]
    return (rest[0], rest[1:]) if rest else (None, [])
