"""`failsafe status`, as typer sees it; the work is in `quick`, which runs without typer."""

from __future__ import annotations

import typer

from failsafe.cli.common import JSON_OPTION, verbs_app
from failsafe.cli.quick import run_status

app = verbs_app("The state of everything, at a glance.")


@app.command()
def status(
    mailboxes: bool = typer.Option(False, "--mailboxes", help="Show of every mailbox up to when it is proven safe."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Is my mail safe, where does it go now, what must I do? Exit 1 if there is any finding.

    Examples: failsafe status --mailboxes
              failsafe status --json
    """
    raise typer.Exit(run_status(as_json=as_json, mailboxes=mailboxes))
