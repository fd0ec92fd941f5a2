"""`failsafe [--config FILE] status [--json]` without typer, pydantic or SQLAlchemy: those cost more time than the answer.

Anything else on the command line is left to typer (`run_quick` gives None), so there is one grammar and this is only its short cut.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from failsafe.errors import EXIT_FINDINGS, EXIT_INTERRUPTED, EXIT_OK, FailsafeError

if TYPE_CHECKING:
    from datetime import tzinfo

    from failsafe.status.roster import Roster
    from failsafe.status.values import Status
    from failsafe.store.glance import Glance


def run_quick(arguments: Sequence[str]) -> int | None:
    """The exit code, or None where this is not the short cut's business."""
    rest, config = list(arguments), None
    if len(rest) >= 2 and rest[0] == "--config":
        config, rest = rest[1], rest[2:]
    elif rest and rest[0].startswith("--config="):
        config, rest = rest[0].removeprefix("--config="), rest[1:]
    if rest not in (["status"], ["status", "--json"]) or config == "":
        return None
    if config is not None:
        os.environ["FAILSAFE_CONFIG"] = config
    try:
        return run_status(as_json="--json" in rest)
    except FailsafeError as error:
        return tell_error(error)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader went away, as `| head` does
        return EXIT_OK


def tell_error(error: FailsafeError) -> int:
    """One message and its mend on stderr; gives the exit code."""
    print(f"failsafe: {error}", file=sys.stderr, flush=True)
    if error.mend:
        print(f"  what to do: {error.mend}", file=sys.stderr, flush=True)
    return error.exit_code


def run_status(*, as_json: bool, mailboxes: bool = False) -> int:
    """Prints the status; exit 1 if there is any finding."""
    import json

    from failsafe.clock import SystemClock
    from failsafe.config.find import find_config
    from failsafe.status.as_json import to_json
    from failsafe.status.build import build_status
    from failsafe.status.roster import read_roster

    roster = read_roster(Path(find_config()))
    now = SystemClock().now()
    found = build_status(roster, _glance(roster), now)
    if as_json:
        print(json.dumps(to_json(found), ensure_ascii=False), flush=True)
    else:
        zone = roster.zone or now.astimezone().tzinfo
        assert zone is not None
        _show(found, zone, mailboxes=mailboxes)
    return EXIT_FINDINGS if found.findings else EXIT_OK


def _glance(roster: Roster) -> Glance:
    from failsafe.store.glance import glance_file, glance_store

    if roster.database_file is not None:
        return glance_file(roster.database_file)
    from failsafe.cli.common import open_app

    return glance_store(open_app().unchecked_store)


def _show(found: Status, zone: tzinfo, *, mailboxes: bool) -> None:
    from failsafe.status.words import answer_all, render_plain

    lines = render_plain(found, zone, mailboxes=mailboxes)
    if not sys.stdout.isatty():
        print("\n".join(lines), flush=True)
        return
    from rich.console import Console
    from rich.text import Text

    answers = answer_all(found, zone)
    colours = {"good": "bold green", "look": "bold yellow", "bad": "bold red"}
    console = Console()
    for place, line in enumerate(lines):
        style = ""
        if place == 0:
            style = colours[answers.mail_safe_mood]
        elif place <= len(answers.mail_goes):
            style = colours[answers.mail_goes_mood]
        elif line.startswith("fail "):
            style = "red"
        elif line.startswith("warn "):
            style = "yellow"
        console.print(Text(line, style=style))
