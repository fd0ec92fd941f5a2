"""`accept`: "this change was mine" lifts the guard that a backup raised."""

from __future__ import annotations

from enum import StrEnum

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, open_app, say, verbs_app
from failsafe.cli.names import servers

app = verbs_app()


class What(StrEnum):
    """What was meant by the person who did it; each lifts its own guards and no others."""

    LOSS = "loss"
    HOST_KEY = "host-key"
    REPOSITORY = "repository"
    TAMPERING = "tampering"
    CLOCK = "clock"


@app.command()
def accept(
    server: str = typer.Argument(..., autocompletion=servers, metavar="SERVER"),
    mailbox: str = typer.Option(None, "--mailbox", metavar="M", help="Only this mailbox (of losses and tampering)."),
    what: What = typer.Option(What.LOSS, "--what", help="What was meant."),
    reason: str = typer.Option(..., "--reason", metavar="TEXT", help="Kept in the audit trail."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Lifts the guard that a backup raised, because the change was meant. Each --what lifts its own guards and no others.

    With --what host-key both fingerprints are shown, and the known key in known_hosts is replaced by the one that the guard told of.

    Examples: failsafe accept vps --mailbox old@example.org --reason "left the company"
              failsafe accept vps --what host-key --reason "reinstalled; compared on its console"
              failsafe accept vps --what repository --reason "new disk"
    """
    from failsafe.acceptance import accept as lift
    from failsafe.events import Event

    everything = open_app()
    everything.server(server)
    text = lift(everything, server, str(what), mailbox or None, say)
    details: dict[str, object] = {"what": str(what), "mailbox": mailbox or "", "reason": reason}
    everything.record(Event("guard.accepted", server, f"{text}: {reason}", everything.clock.now(), details))
    if as_json:
        answer_json({"server": server, "what": str(what), "text": text})
    else:
        answer(f"{server}: {text}")
