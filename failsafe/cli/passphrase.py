"""The passphrase of a recovery kit: from a file, or typed at a terminal; never an argument."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from failsafe.cli.common import say
from failsafe.errors import UsageError

if TYPE_CHECKING:
    from failsafe.secrets import Secret


def new_passphrase(file: Path | None) -> Secret:
    """From the file, else typed twice. Raises UsageError where it is no good, or nobody is there to type it."""
    from failsafe.kits.file import check_passphrase
    from failsafe.secrets import Secret, read_secret

    if file is not None:
        return check_passphrase(read_secret(file))
    _demand_terminal("or say --plain for a kit that is not encrypted")
    from getpass import getpass

    say("Choose a passphrase for the kit: four or five words that have nothing to do with each other.")
    first = check_passphrase(Secret(getpass("Passphrase: "), "typed"))
    if getpass("Once more: ") != first.reveal():
        raise UsageError("the two differ; nothing was written", mend="run it again")
    return first


def known_passphrase(file: Path | None) -> Callable[[], Secret]:
    """Asks when it is needed: a kit that is not encrypted has none."""

    def ask() -> Secret:
        from failsafe.secrets import Secret, read_secret

        if file is not None:
            return read_secret(file)
        _demand_terminal("or say which open kit to take")
        from getpass import getpass

        return Secret(getpass("Passphrase of the kit: "), "typed")

    return ask


def _demand_terminal(otherwise: str) -> None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            "a passphrase for the kit is asked for, and this is not a terminal",
            mend=f"name a file that holds it with --passphrase-file, {otherwise}",
        )
