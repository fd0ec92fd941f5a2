"""Every verb: how it is called, what it does, its options, its examples. Read from the command line itself."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from enum import Enum
from importlib import import_module
from typing import Any

import typer

from failsafe.cli import VERBS
from tests.tools.reference.tables import page, table

EXAMPLES = re.compile(r"^\s*Examples?: ", re.MULTILINE)
NOT_RUN = "<!-- not run: an example with other people's names -->"
HIDDEN = ("--help", "--install-completion", "--show-completion")


def render_commands() -> str:
    lines: list[str] = []
    for verb, module in _modules():
        command: Any = typer.main.get_command(import_module(module).app)
        command = getattr(command, "commands", {}).get(verb, command)
        for name, each in _with_children(verb, command):
            lines += _section(name, each)
    return page(
        "Commands",
        "`failsafe VERB`, or `failsafe --config FILE VERB`; the configuration is found by `--config`, by `$FAILSAFE_CONFIG`, or at `/etc/failsafe/failsafe.toml`. "
        "Each verb has `--help`; `--json` answers one JSON value and nothing else on stdout. [Exit codes](exit-codes.md).",
        table(("verb", "does"), ((f"[`{verb}`](#failsafe-{verb})", text) for verb, (_module, text) in VERBS.items())),
        lines,
    )


def _modules() -> Iterator[tuple[str, str]]:
    for verb, (module, _text) in VERBS.items():
        yield verb, module
        if verb == "restore":
            yield verb, "failsafe.cli.restore_server"


def _with_children(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", {})
    if not children:
        whole = name == "restore" and any(each.name == "ssh" for each in command.params)
        yield (f"{name} --to server:NAME" if whole else name), command
    else:
        yield name, command
        for child, each in children.items():
            yield from _with_children(f"{name} {child}", each)


def _section(name: str, command: Any) -> list[str]:
    help_text = re.sub(r"\b\x08\b|\x08", "", command.help or "")
    said, _, examples = _parted(help_text)
    level = "##" if " " not in name or "--to" in name else "###"
    lines = [f"{level} failsafe {name}", "", *_paragraphs(said)]
    lines += _parameters(command)
    if examples:
        lines += [NOT_RUN, "```sh", *examples, "```", ""]
    return lines


def _parted(text: str) -> tuple[str, str, list[str]]:
    found = EXAMPLES.search(text)
    if found is None:
        return text, "", []
    rest, _, after = text[found.end() :].partition("\n\n")
    return (
        text[: found.start()] + ("\n\n" + after if after.strip() else ""),
        "",
        [line.strip() for line in rest.splitlines() if line.strip()],
    )


def _paragraphs(text: str) -> list[str]:
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", textwrap.dedent(text).strip()):
        if paragraph.strip():
            lines += [_safe(" ".join(paragraph.split())), ""]
    return lines


def _safe(text: str) -> str:
    """What Markdown would take for its own."""
    return re.sub(r"(?<!`)([*_<>])(?!`)", r"\\\1", text) if "`" not in text else text


def _parameters(command: Any) -> list[str]:
    rows = [row for row in map(_row, command.params) if row is not None]
    return table(("", ""), rows) if rows else []


def _row(parameter: Any) -> tuple[str, str] | None:
    if getattr(parameter, "hidden", False):
        return None
    if parameter.param_type_name == "argument":
        shown = parameter.metavar or str(parameter.name).upper()
        return f"`{shown}`", _cell(getattr(parameter, "help", None), parameter)
    if set(parameter.opts) & set(HIDDEN):
        return None
    name = ", ".join([*parameter.opts, *parameter.secondary_opts])
    value = "" if parameter.is_flag else f" {parameter.metavar or _kind(parameter)}"
    return f"`{name}{value}`", _cell(parameter.help, parameter)


def _kind(parameter: Any) -> str:
    """Of an option without a word for its value: the choices, or its name."""
    if isinstance(parameter.default, Enum):
        return "|".join(str(each.value) for each in type(parameter.default))
    return str(parameter.name).upper()


def _cell(text: str | None, parameter: Any) -> str:
    said = _safe(" ".join((text or "").split()))
    default = parameter.default
    parts = [said] if said else []
    if parameter.required:
        parts.append("Required.")
    elif isinstance(default, str | int | float) and not isinstance(default, bool) and default != "" and "efault" not in said:
        parts.append(f"Default: `{getattr(default, 'value', default)}`.")
    return " ".join(parts)
