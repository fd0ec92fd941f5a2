"""`failsafe homecoming`: mail from the secondary home, into the primary's mailboxes."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, open_app, progress, say, verbs_app
from failsafe.cli.names import domains
from failsafe.cli.search import for_terminal

if TYPE_CHECKING:
    from failsafe.deliveries import HomecomingReport

app = verbs_app()
SHOWN = 20  # messages that wait, for a person


@app.command()
def homecoming(
    domain: str = typer.Argument(..., autocompletion=domains, metavar="DOMAIN", help="As the configuration has it."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Gather, look at the primary, show what would be brought, and stop."),
    scheduled: bool = typer.Option(False, "--scheduled", hidden=True, help="Begun by the daemon."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Brings mail from the secondary home: gathers it into the archive, then adds to the primary's mailboxes what they have not.

    Each message comes once, with its date and flags and the keyword $Failsafe; running it again adds nothing twice. Nothing is deleted at the
    secondary. The daemon does this by itself: often after a failback, then slowly.

    Exit 1: something waits (and is tried again); 3: the domain is failed over, mail is gathered now and comes home later; 4: a server failed.

    Examples: failsafe homecoming example.org
              failsafe homecoming example.org --dry-run
    """
    from failsafe.deliveries import bring_home
    from failsafe.restores import told_once

    everything = open_app()
    with contextlib.closing(progress(quiet=as_json)) as shown:
        report = bring_home(everything, domain, shown, told_once(say), dry_run=dry_run, scheduled=scheduled)
    if as_json:
        answer_json(report.to_json())
    else:
        _show(report)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _show(report: HomecomingReport) -> None:
    found = report.outcome
    for each in found.waiting[:SHOWN]:
        say(
            f"waits: {for_terminal(each.mailbox)} {for_terminal(each.folder)} {for_terminal(each.message_id) or '(no Message-ID)'}: {each.why}"
        )
    if len(found.waiting) > SHOWN:
        say(f"… and {len(found.waiting) - SHOWN} more (--json lists them)")
        for why, count in Counter(each.why for each in found.waiting).most_common(5):
            say(f"  {count}: {why}")
    for note in found.notes:
        say(f"note: {note}")
    if report.gathering:
        say(f"gathering failed: {report.gathering}; what was gathered before is looked at all the same")
    if found.error:
        say(f"the primary: {found.error}; what waits is tried again" + (f"\n  what to do: {found.mend}" if found.mend else ""))
    if report.held:
        answer(f"nothing was given to the primary: {report.held}")
    elif report.dry_run:
        answer(
            f"{found.to_bring} message(s) would come home, {found.already_there} already there, {len(found.waiting)} wait; nothing was changed"
        )
    else:
        answer(
            f"{found.home} message(s) came home and were read back, {found.already_there} already there, {len(found.waiting)} wait"
        )
