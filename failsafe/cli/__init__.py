"""What a person types. One file per group of verbs; each is imported only when it is used, so that `failsafe status` stays quick."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from failsafe import __version__

# verb -> (module with a typer app `app` that holds the verb, one line for the list)
VERBS: dict[str, tuple[str, str]] = {
    "status": ("failsafe.cli.status", "The state of everything, at a glance."),
    "backup": ("failsafe.cli.backup", "Pull, prove complete, snapshot: now."),
    "snapshots": ("failsafe.cli.backup", "What is stored where."),
    "verify": ("failsafe.cli.backup", "Check repositories and archives, reading data."),
    "search": ("failsafe.cli.search", "Find messages across all snapshots."),
    "restore": ("failsafe.cli.restore", "Bring messages back, to files or to a server."),
    "failover": ("failsafe.cli.failover", "Send mail to the secondary, by hand."),
    "failback": ("failsafe.cli.failover", "Send mail to the primary again, by hand."),
    "hold": ("failsafe.cli.failover", "Forbid flips of a domain for a while."),
    "release": ("failsafe.cli.failover", "End a hold."),
    "acknowledge": ("failsafe.cli.failover", "Tell a halted domain which side serves."),
    "adopt-mx": ("failsafe.cli.failover", "Plan and write the peace layout that the strategy needs."),
    "doctor": ("failsafe.cli.doctor", "Check everything a backup and a failover rely on."),
    "events": ("failsafe.cli.events", "The audit trail."),
    "run": ("failsafe.cli.run", "The daemon."),
    "tick": ("failsafe.cli.run", "One pass of everything that is due, for cron."),
    "notify": ("failsafe.cli.notify", "Send a test notice to every address."),
    "web": ("failsafe.cli.web", "The dashboard alone."),
    "config": ("failsafe.cli.config", "Validate the configuration, or print its schema."),
    "db": ("failsafe.cli.db", "Migrate the database."),
}


class LazyVerbs(TyperGroup):
    """Loads a verb's module when the verb is named; lists all of them without loading any."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        module = import_module(VERBS[cmd_name][0])
        command: Any = typer.main.get_command(module.app)
        return command.commands[cmd_name] if cmd_name in getattr(command, "commands", {}) else command

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_module, text) in VERBS.items()])


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


def main() -> None:
    """The command `failsafe`: every expected failure is one clear message and its exit code."""
    from failsafe.cli.common import run_cli

    sys.exit(run_cli(app))
