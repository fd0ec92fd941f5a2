"""`restore`: messages back, to files or to a server. The plan is shown first; only what is missing is added; then it is read back."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from failsafe.cli import search as options
from failsafe.cli.common import JSON_OPTION, YES_OPTION, answer, answer_json, confirm, open_app, progress, say, verbs_app
from failsafe.cli.names import repositories
from failsafe.cli.search import for_terminal, make_query
from failsafe.errors import EXIT_EXTERNAL, EXIT_FINDINGS, Interrupted, UsageError

if TYPE_CHECKING:
    from failsafe.app import App
    from failsafe.backup.catalog import Catalog
    from failsafe.backup.restore import RestoreReport
    from failsafe.backup.restore_plan import Plan, Wanted
    from failsafe.restores import Chosen, Request
    from failsafe.secrets import Secret

app = verbs_app()
SHOWN = 20  # messages and folders of a plan, for a person
IDS = typer.Option(None, "--id", metavar="HASH", help="A message's id, as `search` shows it; may be repeated.")
DEST = typer.Option(
    None,
    "--to",
    metavar="DEST",
    help="maildir:DIR, eml:DIR, mbox:FILE, zip:FILE, imap, imap:SERVER, or server:NAME (add --help).",
)


@app.command()
def restore(
    words: list[str] = options.WORDS,
    to: str | None = DEST,
    ids: list[str] = IDS,
    server: str | None = options.SERVER,
    mailbox: str | None = options.MAILBOX,
    folder: str | None = options.FOLDER,
    sender: str | None = options.SENDER,
    recipient: str | None = typer.Option(None, "--recipient", metavar="X", help="Text in the recipients (`search --to`)."),
    subject: str | None = options.SUBJECT,
    message_id: str | None = options.MESSAGE_ID,
    since: str | None = options.SINCE,
    until: str | None = options.UNTIL,
    gone: bool = options.GONE,
    gone_since: str | None = options.GONE_SINCE,
    at: str | None = typer.Option(None, "--at", metavar="T", help="As it was then: from the newest complete snapshot not later."),
    snapshot: str | None = typer.Option(None, "--snapshot", metavar="ID", help="As it is in this snapshot."),
    repository: str | None = typer.Option(
        None, "--repository", autocompletion=repositories, metavar="R", help="Read from this repository alone."
    ),
    into: str | None = typer.Option(None, "--into", metavar="FOLDER", help="Into this folder instead of the original ones."),
    into_mailbox: str | None = typer.Option(None, "--into-mailbox", metavar="USER@DOMAIN", help="Into this mailbox instead."),
    imap_user: str | None = typer.Option(
        None,
        "--imap-user",
        metavar="USER",
        help="Who logs in (default: the mailbox); {mailbox} in it is replaced: '{mailbox}*master'.",
    ),
    imap_password_file: Path | None = typer.Option(
        None, "--imap-password-file", metavar="FILE", help="Mode 0600; for this run only."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show the plan and stop."),
    yes: bool = YES_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Brings messages back. Shows its plan, adds only what is missing, reads it back; running it again adds nothing twice.

    Alone, on a terminal, it asks: whose mailbox, what is missing, since when; shows the messages; restores those you choose.

    A mailbox or folder means what is in it now; with --at, what was in it then; with --gone, what vanished from it.

    Examples: failsafe restore
              failsafe restore --mailbox ann@example.org --gone-since yesterday --to imap --imap-password-file ./pw
              failsafe restore --mailbox ann@example.org --folder INBOX --at 2026-11-20 --to maildir:/tmp/mail
    """
    given = {name: value for name, value in locals().items() if name != "imap_password_file"}
    password = _password(imap_password_file)
    if to is None:
        _ask(alone=not any(given.values()), password=password)
        return
    everything = open_app()
    report = _run(everything, _request(everything, to, given, password), dry_run=dry_run, yes=yes, as_json=as_json)
    if report.is_short or not report.verified:
        raise typer.Exit(EXIT_EXTERNAL)


def _request(everything: App, to: str, given: Mapping[str, Any], password: Callable[[str], Secret] | None) -> Request:
    """`given`: the options by their names. Raises UsageError."""
    from failsafe import restores

    query = make_query(everything, **given)
    if given["at"] is not None and given["snapshot"] is not None:
        raise UsageError("--at and --snapshot name two different states", mend="give one of them")
    if given["into_mailbox"] is not None and "@" not in given["into_mailbox"]:
        raise UsageError(f"{given['into_mailbox']!r} is not a mailbox", mend="write it as USER@DOMAIN")
    return restores.Request(
        query=query, to=to, at=query.at, snapshot=given["snapshot"], repository=given["repository"], into_folder=given["into"],
        into_mailbox=given["into_mailbox"], imap_user=given["imap_user"], password=password,
    )  # fmt: skip


def _ask(*, alone: bool, password: Callable[[str], Secret] | None) -> None:
    """The conversation, then the restore it came to."""
    from failsafe import restores
    from failsafe.cli.restore_ask import ask, demand_terminal, next_steps, queries

    if not alone:
        raise UsageError(
            "--to is missing: where the messages shall go", mend="say --to DEST, or `failsafe restore` alone: it asks"
        )
    demand_terminal()
    everything = open_app()
    decision = ask(everything)
    chosen = restores.Chosen(decision.rows, "the newest state, and what vanished before")
    request = restores.Request(queries(decision.wish)[0], decision.to, imap_user=decision.imap_user, password=password)
    report = _run(everything, request, chosen, dry_run=False, yes=False, as_json=False)
    wrong = report.is_short or not report.verified
    for line in next_steps(decision, everything.time_zone, nothing_to_add=report.added == 0 and not wrong, is_short=wrong):
        say(line)
    if wrong:
        raise typer.Exit(EXIT_EXTERNAL)


def _run(
    everything: App, request: Request, chosen: Chosen | None = None, *, dry_run: bool, yes: bool, as_json: bool
) -> RestoreReport:
    """`chosen`: what a person picked already; else what the request finds."""
    from failsafe import restores
    from failsafe.tombstones import Veil

    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(restores.workroom(everything))
        catalog = stack.enter_context(restores.catalog_of(everything, say))
        shown = stack.enter_context(_closing(progress(quiet=as_json)))
        tell = restores.told_once(say)
        origins = restores.sources(everything, request.repository, folder, shown.beside())
        chosen = chosen or restores.choose(everything, catalog, request, origins, tell)
        destination = stack.enter_context(_closing(restores.make_destination(everything, request, chosen.found, tell)))
        plan = restores.make_plan(catalog, request, chosen, destination, origins, shown, tell)
        shown.close()
        _tell_plan(plan, chosen, request.to)
        if not chosen.found:
            for word in Veil(everything, origins).words(request.query, nothing_found=True):
                say(word)
            _say_nothing_found(plan, request.to, _no_such_mailbox(catalog, request), as_json=as_json)
        if dry_run:
            if as_json:
                answer_json(_dry_json(plan, request.to))
            raise typer.Exit
        if plan.to_add:
            confirm(f"Add {len(plan.to_add)} message(s) to {request.to}?", yes=yes)
        report = restores.carry_out(everything, plan, origins, destination, request.to, shown, tell)
    _tell_report(report, as_json=as_json)
    return report


def _say_nothing_found(plan: Plan, to: str, why: str, *, as_json: bool) -> None:
    if as_json:
        answer_json(_dry_json(plan, to) | {"dry_run": False})
    say("nothing to restore: no message was found" + why)
    raise typer.Exit(EXIT_FINDINGS)


def _no_such_mailbox(catalog: Catalog, request: Request) -> str:
    """A mailbox that was never backed up is perhaps a slip of the pen."""
    from failsafe.backup.catalog_places import known_mailboxes
    from failsafe.backup.catalog_search import matches_mailbox
    from failsafe.cli.restore_words import match

    wanted, known = request.query.mailbox, [each.mailbox for each in known_mailboxes(catalog)]
    if wanted is None or not known or any(matches_mailbox(wanted, name) for name in known):
        return ""
    like = [for_terminal(known[place]) for place in match(wanted, known).places]
    return f"; there is no mailbox “{for_terminal(wanted)}” here" + (f". Did you mean {' or '.join(like)}?" if like else "")


def _tell_plan(plan: Plan, chosen: Chosen, to: str) -> None:
    """On stderr: a person reads it before the question, a script has the report."""
    say(f"From {chosen.state}, to {to}:")
    say(f"  to add: {len(plan.to_add)}   already there: {len(plan.already_there)}   not found: {len(plan.not_found)}")
    for (mailbox, folder), count in sorted(_places(plan.to_add).items())[:SHOWN]:
        say(f"    {count:7d}  {for_terminal(mailbox)} {for_terminal(folder)}")
    if len(plan.to_add) <= SHOWN:
        for item in plan.to_add:
            say(f"    + {for_terminal(item.target_folder)}: {for_terminal(item.label)}")
    for line in plan.notes:
        say(f"  {for_terminal(line)}")
    for line in plan.not_found[:SHOWN]:
        say(f"    not found: {for_terminal(line)}")
    if chosen.gone_besides:
        say(f"  {chosen.gone_besides} message(s) vanished from there earlier; say --gone to restore those")


def _places(items: tuple[Wanted, ...]) -> Counter[tuple[str, str]]:
    return Counter((item.target_mailbox, item.target_folder) for item in items)


def _dry_json(plan: Plan, to: str) -> dict[str, Any]:
    return {
        "planned": plan.planned,
        "to_add": len(plan.to_add),
        "added": 0,
        "already_there": len(plan.already_there),
        "missing": [{"why": line} for line in plan.not_found],
        "destination": to,
        "seconds": 0.0,
        "verified": False,
        "dry_run": True,
    }


def _tell_report(report: RestoreReport, *, as_json: bool) -> None:
    for item, why in report.missing[:SHOWN]:
        say(
            f"missing: {for_terminal(item.target_mailbox)} {for_terminal(item.target_folder)} “{for_terminal(item.label)}”: {why}"
        )
    if len(report.missing) > SHOWN:
        say(f"… and {len(report.missing) - SHOWN} more missing (--json lists all of them)")
    for one in report.elsewhere[:SHOWN]:
        item = one.item
        say(
            f"taken from {one.taken_from}, since damaged in {', '.join(one.damaged_in)}: {for_terminal(item.target_mailbox)}"
            f" {for_terminal(item.target_folder)} “{for_terminal(item.label)}”"
        )
    if len(report.elsewhere) > SHOWN:
        say(f"… and {len(report.elsewhere) - SHOWN} more (--json lists all of them)")
    for note in report.notes:
        say(f"note: {for_terminal(note)}")
    if as_json:
        answer_json(report.to_json())
        return
    proof = "read back and right" if report.verified else "NOT all of it is right"
    answer(
        f"{report.added} added ({proof}), {report.already_there} already there, {len(report.missing) + len(report.not_found)} missing"
    )


def _password(file: Path | None) -> Callable[[str], Secret] | None:
    """From the file; else asked, once a user, on a terminal; else not to be had."""
    from failsafe.secrets import Secret, read_secret

    if file is not None:
        return lambda _user: read_secret(file)
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    known: dict[str, Secret] = {}

    def ask(user: str) -> Secret:
        if user not in known:
            from getpass import getpass

            try:
                known[user] = Secret(getpass(f"IMAP password of {user}: "), "typed")
            except (KeyboardInterrupt, EOFError):
                say()
                raise Interrupted("nothing was done") from None
        return known[user]

    return ask


@contextlib.contextmanager
def _closing(thing: Any) -> Iterator[Any]:
    try:
        yield thing
    finally:
        thing.close()
