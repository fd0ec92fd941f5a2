"""`accept`: "this change was mine" lifts the guard that a backup raised."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, open_app, verbs_app
from failsafe.errors import UsageError

app = verbs_app()
LOCK_WAIT_SECONDS = 10.0  # for a backup or check that is about to end


class What(StrEnum):
    """What was meant by the person who did it."""

    LOSS = "loss"
    HOST_KEY = "host-key"
    REPOSITORY = "repository"
    TAMPERING = "tampering"


@app.command()
def accept(
    server: str = typer.Argument(..., metavar="SERVER"),
    mailbox: str = typer.Option(None, "--mailbox", metavar="M", help="Only this mailbox."),
    what: What = typer.Option(What.LOSS, "--what", help="What was meant."),
    reason: str = typer.Option(..., "--reason", metavar="TEXT", help="Kept in the audit trail."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Lifts the guard that a backup raised, because the change was meant.

    Examples: failsafe accept vps --mailbox old@example.org --reason "left the company"
              failsafe accept vps --what repository --reason "new disk"
    """
    everything = open_app()
    everything.server(server)
    if what in (What.LOSS, What.TAMPERING):
        text = _accept_loss(everything, server, mailbox, tampering=what is What.TAMPERING)
    elif what is What.REPOSITORY:
        text = _accept_repositories(everything)
    else:
        host = everything.server(server).ssh
        raise UsageError(
            f"host keys are accepted by hand, in {everything.server(server).known_hosts or '~/.ssh/known_hosts'}",
            mend=f"compare the server's fingerprint, then: ssh-keygen -R {host.host if host else server} -f FILE; ssh-keyscan … >> FILE",
        )
    from failsafe.events import Event

    everything.record(
        Event(
            "guard.accepted",
            server,
            f"{text}: {reason}",
            everything.clock.now(),
            {"what": what, "mailbox": mailbox or "", "reason": reason},
        )
    )
    if as_json:
        answer_json({"server": server, "what": what, "text": text})
    else:
        answer(f"{server}: {text}")


def _accept_loss(everything: Any, server: str, mailbox: str | None, *, tampering: bool) -> str:
    """Messages that vanished, or their old content, leave the manifests with the next backup; earlier snapshots keep them."""
    from failsafe.adapters.lock import FileLock
    from failsafe.backup.inventory import Inventory
    from failsafe.backups import HEAVY_LOCK

    file = everything.inventory_file(server)
    if not file.exists():
        raise UsageError(f"{server} was never backed up, so there is nothing to accept", mend=f"failsafe backup {server}")
    lock = FileLock(everything.lock_file(HEAVY_LOCK), f"accept {server}")  # a pull at work has judged by what was there before
    with lock.hold(wait_seconds=LOCK_WAIT_SECONDS), Inventory.open(file) as inventory:
        before = inventory.guards()
        gone = inventory.accept(mailbox, tampering=tampering)
        left = inventory.guards()
        lifted = sorted({code for mailbox, code, _text in before if (mailbox, code) not in {(m, c) for m, c, _ in left}})
    standing = ", ".join(sorted({code for _mailbox, code, _text in left}))
    still = f"; {standing} still stands" if standing else ""
    if not lifted and not gone:
        return f"no such guard stands{still}"
    return f"lifted {', '.join(lifted) or 'nothing yet'}; {gone} vanished messages leave the next snapshot, earlier ones keep them{still}"


def _accept_repositories(everything: Any) -> str:
    """Forgets which repositories we knew; each is known again by its id at the next backup."""
    known = [name for name, state in everything.duties.repositories().items() if state.restic_id]
    for name in known:
        everything.duties.change_repository(name, restic_id="")
    return f"the next backup takes the repositories as it finds them ({', '.join(known) or 'none was known'})"
