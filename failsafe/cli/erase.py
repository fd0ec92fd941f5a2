"""`erase`: a mailbox or a domain leaves everything that failsafe keeps here; and when its last copies disappear elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from failsafe.cli.common import JSON_OPTION, YES_OPTION, answer, answer_json, open_app, say, verbs_app
from failsafe.cli.names import domains, servers
from failsafe.cli.search import for_terminal, plain
from failsafe.errors import EXIT_FINDINGS, EXIT_OK, Interrupted, UsageError

if TYPE_CHECKING:
    from failsafe.backup.last_copy import LastCopy
    from failsafe.erasure import Outcome, Target

app = verbs_app()
SHOWN = 20  # mailboxes of a domain, for a person


@app.command()
def erase(
    name: str = typer.Argument(..., autocompletion=domains, metavar="MAILBOX|DOMAIN"),
    server: str = typer.Option(None, "--server", autocompletion=servers, metavar="S", help="Only on this mail server."),
    reason: str = typer.Option("", "--reason", metavar="TEXT", help="Kept in the audit trail."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only show what would be erased, and when the last copies disappear."),
    undo: bool = typer.Option(
        False, "--undo", help="Let the next backup archive it again from the server; nothing erased comes back."
    ),
    yes: bool = YES_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Stops archiving a mailbox or all of a domain, takes it out of catalog, staging and inventory, and says when its last copies disappear.

    Nothing of it is found or restored any more, not even from snapshots that still have it. Messages that other mailboxes hold stay theirs.
    On the mail server nothing changes. There is no way back to what is erased here; run again, it finishes what was interrupted.

    Examples: failsafe erase ann@example.org --dry-run
              failsafe erase ann@example.org --reason "asked for by letter of 3 May"
              failsafe erase example.net --server vps --yes --json
    """
    from failsafe import erasure

    everything = open_app()
    targets = erasure.find_targets(everything, name, server)
    if undo:
        _undo(everything, name, targets, reason, dry_run=dry_run, as_json=as_json)
        return
    now = everything.clock.now()
    if not as_json or dry_run:
        copies = erasure.last_copies(everything, name, targets, now)
        _tell(everything, name, targets, copies, as_json=as_json)
    if dry_run:
        if as_json:
            answer_json(_json(name, [erasure.Outcome(each, "not erased") for each in targets], copies, dry_run=True))
        raise typer.Exit(EXIT_FINDINGS if any(copy.holding is None for copy in copies) else EXIT_OK)
    _demand_word(name, yes=yes)
    outcomes = [erasure.erase(everything, name, each, reason, say) for each in targets]
    done = erasure.find_targets(everything, name, server)
    copies = erasure.last_copies(everything, name, done, now)
    if as_json:
        answer_json(_json(name, outcomes, copies, dry_run=False))
    else:
        _tell_outcome(name, outcomes)
    raise typer.Exit(EXIT_FINDINGS if any(each.left for each in outcomes) or any(c.holding is None for c in copies) else EXIT_OK)


def _undo(everything: Any, name: str, targets: tuple[Target, ...], reason: str, *, dry_run: bool, as_json: bool) -> None:
    from failsafe import erasure

    standing = [each for each in targets if each.erased_at is not None]
    if not standing:
        raise UsageError(f"{name} was not erased", mend="give the name as it was given to `failsafe erase`")
    for each in standing if not dry_run else ():
        erasure.readmit(everything, name, each, reason)
    if as_json:
        answer_json({"name": plain(name), "readmitted": [each.server for each in standing], "dry_run": dry_run})
        return
    for each in standing:
        answer(
            f"{each.server}: {for_terminal(name)} is archived again from the next backup on; what was erased here does not come back by that"
        )


def _demand_word(name: str, *, yes: bool) -> None:
    """There is no way back, so that a yes is not enough: the name is typed."""
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"Erase {for_terminal(name)}? Nobody is there to answer: this is not a terminal",
            mend="say --yes to go on, or --dry-run to see the plan",
        )
    print(f"There is no way back. Type {for_terminal(name)} to erase it: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() != name.lower():
        raise Interrupted("nothing was done")


def _tell(everything: Any, name: str, targets: tuple[Target, ...], copies: tuple[LastCopy, ...], *, as_json: bool) -> None:
    if as_json:
        return
    for each in targets:
        again = f"; erased on {each.erased_at:%Y-%m-%d} already" if each.erased_at is not None else ""
        answer(
            f"{each.server}: {for_terminal(name)}: {len(each.mailboxes)} mailbox(es), {each.messages} message(s) in staging{again}"
        )
        for mailbox in each.mailboxes[:SHOWN]:
            answer(f"  {for_terminal(mailbox)}")
        if len(each.mailboxes) > SHOWN:
            answer(f"  … and {len(each.mailboxes) - SHOWN} more")
    answer("The last copy disappears" if copies else "No repository is configured.")
    for copy in copies:
        answer(f"  {copy.repository} ({copy.server}): {_when(everything, copy)}")
        for line in copy.why:
            answer(f"    {line}")


def _when(everything: Any, copy: LastCopy) -> str:
    def day(at: Any) -> str:
        return f"{at.astimezone(everything.time_zone):%Y-%m-%d}"

    if copy.holding is None:
        return "nobody knows"
    if copy.holding == 0:
        return "it has none"
    if copy.gone_at is not None:
        return f"{day(copy.gone_at)} at the latest: {copy.holding} snapshot(s), the last is forgotten by {day(copy.forgotten_at)}, prune follows"
    if copy.forgotten_at is not None:
        return f"{copy.holding} snapshot(s), the last is forgotten by {day(copy.forgotten_at)}; when its data goes is not up to this machine"
    return f"never by itself: {copy.holding} snapshot(s)"


def _tell_outcome(name: str, outcomes: list[Outcome]) -> None:
    for each in outcomes:
        if each.left:
            answer(
                f"{each.target.server}: {for_terminal(name)} is not archived, found or restored any more; in staging {each.left}"
            )
        else:
            answer(f"{each.target.server}: {for_terminal(name)} is erased here")


def _json(name: str, outcomes: list[Outcome], copies: tuple[LastCopy, ...], *, dry_run: bool) -> dict[str, Any]:
    servers = [{**each.to_json(), "mailboxes": [plain(box) for box in each.target.mailboxes]} for each in outcomes]
    return {"name": plain(name), "servers": servers, "repositories": [copy.to_json() for copy in copies], "dry_run": dry_run}
