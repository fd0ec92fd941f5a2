"""The root of all verbs, by typer. Lists them without loading any; loads a verb's module when it is named."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from failsafe import __version__
from failsafe.cli import VERBS, module_of


class LazyVerbs(TyperGroup):
    """Loads a verb's module when the verb is named; lists all of them without loading any."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        module = import_module(module_of(cmd_name, sys.argv[1:]))
        command: Any = typer.main.get_command(module.app)
        group = getattr(command, "commands", {})
        for each in (command, *group.values()):
            each.help = _kept_lines(each.help)
        return group.get(cmd_name, command)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_module, text) in VERBS.items()])


def _kept_lines(text: str | None) -> str | None:
    """Examples keep their lines; a lone backspace before a paragraph is how that is said."""
    return None if text is None else text.replace("\n\nExample", "\n\n\b\nExample")


app = typer.Typer(
    cls=LazyVerbs,
    name="failsafe",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"failsafe {__version__}")
        raise typer.Exit


@app.callback()
def root(
    config: Path | None = typer.Option(
        None, "--config", metavar="FILE", help="The configuration (default: $FAILSAFE_CONFIG, then /etc/failsafe/failsafe.toml)."
    ),
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),  # noqa: ARG001
) -> None:
    """Backups, a second place for mail, and monitoring, for people who host their own mail.

    Begin with `failsafe config check`, then `failsafe doctor`, then `failsafe backup`.
    """
    if config is not None:
        os.environ["FAILSAFE_CONFIG"] = str(config)  # verbs, and child processes of the daemon, find it the same way
