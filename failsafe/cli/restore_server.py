"""`restore --to server:NAME`: a whole server comes back. What is asked, shown and answered; the work is in failsafe/server_restore.py."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from failsafe.cli.common import JSON_OPTION, YES_OPTION, answer, answer_json, open_app, progress, say, verbs_app
from failsafe.cli.names import repositories
from failsafe.cli.search import for_terminal
from failsafe.errors import EXIT_EXTERNAL, EXIT_FINDINGS, EXIT_OK, Interrupted, UsageError

if TYPE_CHECKING:
    from failsafe.mail.manifest import Generation
    from failsafe.server_restore import Plan, Report
    from failsafe.server_states import Request
    from failsafe.server_target import Service, Stranger

app = verbs_app()
SHOWN = 20  # of a list, for a person
PREFIX = "server:"
ONE_REPOSITORY = typer.Option(
    None, "--repository", autocompletion=repositories, metavar="R", help="Read from this repository alone."
)


@dataclass(frozen=True, slots=True)
class Ways:
    """How a run is answered and shown."""

    dry_run: bool
    yes: bool
    as_json: bool
    confirm: str | None
    host_key: str | None

    @property
    def can_ask(self) -> bool:
        return sys.stdin.isatty() and sys.stderr.isatty()


@app.command()
def restore(
    to: str = typer.Option(..., "--to", metavar="server:NAME", help="The mail server, as in [mail_server.NAME]."),
    at: str | None = typer.Option(None, "--at", metavar="T", help="As it was then: from the newest complete snapshot not later."),
    snapshot: str | None = typer.Option(None, "--snapshot", metavar="ID", help="As it is in this snapshot."),
    repository: str | None = ONE_REPOSITORY,
    ssh: str | None = typer.Option(None, "--ssh", metavar="USER@HOST[:PORT]", help="The machine to write to; for this run only."),
    ssh_key: Path | None = typer.Option(
        None, "--ssh-key", metavar="FILE", help="The key of that login (default: agent, ~/.ssh)."
    ),
    host_key: str | None = typer.Option(
        None, "--host-key", metavar="SHA256:…", help="The fingerprint that the machine must show."
    ),
    confirm: str | None = typer.Option(None, "--confirm", metavar="NAME", help="The server's name, in place of typing it."),
    pull_there: bool = typer.Option(False, "--pull-there", help="The new machine reads the repository itself, by restic there."),
    pull_url: str | None = typer.Option(None, "--pull-url", metavar="URL", help="The repository, as restic there names it."),
    credential_file: Path | None = typer.Option(
        None, "--credential-file", metavar="FILE", help="NAME=VALUE lines for restic there; mode 0600, for this run only."
    ),
    mail_owner: str | None = typer.Option(
        None, "--mail-owner", metavar="USER:GROUP", help="Owns all mail (default: as backed up)."
    ),
    mail_root: str | None = typer.Option(None, "--mail-root", metavar="FOLDER", help="Holds mailboxes (default: by the layout)."),
    maildir: str | None = typer.Option(None, "--maildir", metavar="NAME", help="A mailbox's folder that is its Maildir, if any."),
    start: str | None = typer.Option(None, "--start", metavar="COMMAND", help="Run there as soon as people can work."),
    doveadm: str | None = typer.Option(None, "--doveadm", metavar="COMMAND", help="doveadm there (default: in the container)."),
    imap_user: str = typer.Option("{mailbox}", "--imap-user", metavar="USER", help="Logs in afterwards: '{mailbox}*master'."),
    imap_password_file: Path | None = typer.Option(
        None,
        "--imap-password-file",
        metavar="FILE",
        help="Then every mailbox is compared over IMAP; mode 0600, for this run only.",
    ),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="Show the plan and stop; the machine is looked at, nothing is written."
    ),
    yes: bool = YES_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Brings a whole server back: accounts, keys and configuration, then the newest 30 days of every mailbox, then the rest.

    Where mail is there already, the server's name must be typed (or --confirm NAME said), and a snapshot of it comes first.
    Cut off at any moment, the same command goes on. docs/restore-server.md is the runbook.

    Examples: failsafe restore --to server:vps --ssh root@192.0.2.7 --ssh-key ~/.ssh/id_ed25519 --dry-run
              failsafe restore --to server:vps --at yesterday --ssh root@192.0.2.7 --start 'docker compose -f /srv/compose.yaml up -d'
              failsafe restore --to server:vps --ssh root@192.0.2.7 --pull-there --repository offsite --credential-file ./read-only.env
    """
    from failsafe.cli.times import parse_time
    from failsafe.secrets import read_secret
    from failsafe.server_states import Request

    everything = open_app()
    name = to.removeprefix(PREFIX)
    moment = None if at is None else parse_time(at, everything.clock.now(), everything.time_zone)
    request = Request(
        name, moment, snapshot, repository, ssh, ssh_key, pull_there, pull_url, credential_file,
        mail_owner, mail_root, maildir, start, doveadm, imap_user,
        None if imap_password_file is None else lambda: read_secret(imap_password_file),
    )  # fmt: skip
    _run(everything, request, Ways(dry_run, yes, as_json, confirm, host_key))


def _run(everything: Any, request: Request, ways: Ways) -> None:
    from failsafe import restores, server_restore, server_states, server_target
    from failsafe.backup.write_session import WriteSession
    from failsafe.tombstones import Veil

    server_restore.check(everything, request)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(restores.workroom(everything))
        shown = progress(quiet=ways.as_json)
        stack.callback(shown.close)
        chosen = server_states.choose(everything, request, folder, say)
        chosen = replace(chosen, generation=Veil(everything, chosen.sources).without_erased(chosen.generation, say))
        target = server_target.reach(
            everything, request.server, request.ssh, request.ssh_key, folder, lambda stranger: _believe(stranger, ways)
        )
        session = stack.enter_context(WriteSession(target.host(everything, request.server)))
        plan = server_restore.make_plan(everything, request, chosen, target, session)
        _tell_plan(everything, plan)
        if ways.dry_run:
            if ways.as_json:
                answer_json(_plan_json(plan) | {"dry_run": True})
            raise typer.Exit
        _ask_name(plan, ways)
        kept = server_restore.secure_live_target(everything, plan, shown, say) if plan.is_live else ""
        report, newest = server_restore.carry_out(everything, plan, session, folder, shown, say)
    report.notes += [kept] if kept else []
    _end(everything, plan, report, newest, ways)


def _believe(stranger: Stranger, ways: Ways) -> None:
    """A new host key is confirmed once: on the terminal, or by --host-key. --yes is no answer to this."""
    from failsafe.server_target import judge_answer

    for key in stranger.before:
        say(f"known until now for {stranger.address}: {key.kind} {key.fingerprint}")
    say(f"{stranger.address} shows: {stranger.key.kind} {stranger.key.fingerprint}")
    if ways.host_key is not None:
        judge_answer(stranger, ways.host_key)
        return
    if not ways.can_ask:
        raise UsageError(
            f"the host key of {stranger.address} is not known, and nobody is there to compare it: {stranger.key.kind} {stranger.key.fingerprint}",
            mend="compare on the machine's own console (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then say --host-key SHA256:…",
        )
    print("Is this the machine's own fingerprint? (ssh-keygen -lf on its console) [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Interrupted("nothing was done")


def _ask_name(plan: Plan, ways: Ways) -> None:
    """The name, typed; by --confirm where nobody is there. --yes is enough for a machine without mail, and never for one that has some."""
    server = plan.request.server
    if ways.confirm is not None and ways.confirm != server:
        raise UsageError(f"--confirm says {ways.confirm!r}, and the server is {server!r}: nothing was done")
    if ways.confirm == server or (ways.yes and not plan.is_live):
        return
    if not ways.can_ask:
        raise UsageError(
            f"nobody is there to type the server's name: {_there(plan)}",
            mend=f"say --confirm {server}" + ("" if plan.is_live else " or --yes") + ", or --dry-run to see the plan",
        )
    print(f"Type the server's name to go on ({_there(plan)}): ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != server:
        raise Interrupted("nothing was done")


def _there(plan: Plan) -> str:
    sight = plan.sight
    if plan.goes_on:
        return "an earlier run of this restore was cut off there; this one goes on"
    if not sight.messages:
        return "no mail is there"
    count = "more than 100,000" if sight.messages > 100_000 else f"{sight.messages:,}"
    return f"{count} messages in {sight.folders:,} folders are there"


def _tell_plan(everything: Any, plan: Plan) -> None:
    """On stderr: a person reads it before the question."""
    chosen, request = plan.chosen, plan.request
    generation = chosen.generation
    say(f"The whole server {request.server}, as of {_local(everything, generation.at)} (from {chosen.source.name}):")
    say(
        f"  {len(generation.mailboxes):,} mailboxes, {plan.messages:,} messages, {len(plan.files.files):,} files of the server, {plan.bytes / 1e9:.2f} GB"
    )
    say(f"  to {plan.target.name}, mailboxes into {plan.root}: {_there(plan)}")
    if plan.is_live:
        say(
            f"  first a snapshot of what is there; then mailboxes of the same names are moved into {plan.sight.work}, and nothing is deleted"
        )
    how = "by restic there, straight from the repository" if request.pull_there else "from here, over SSH"
    say(f"  mail goes {how}: accounts and configuration first, then the newest 30 days of every mailbox, then the rest")
    uid, gid = plan.owner or plan.usual
    say(f"  mail belongs to {uid}:{gid}" + ("" if plan.owner else " where the backup says nothing else"))
    if plan.nameless:
        say(f"  users without a name there: {', '.join(map(str, plan.nameless[:SHOWN]))} (in containers that is usual)")
    if plan.files.by_hand:
        say(
            f"  {len(plan.files.by_hand)} files are laid aside for you, not put into place (database dumps, what belongs to one machine)"
        )
    if chosen.lost_at is not None:
        say(
            f"  from before {_local(everything, chosen.lost_at)}: since then a guard stands, as mail had vanished (failsafe status)"
        )
    if plan.gone:
        say(
            f"  {plan.gone:,} messages had vanished when that state was taken, and a guard stood: they are not part of it; afterwards: "
            f"failsafe restore --server {request.server} --gone --to imap"
        )
    if generation.missing or str(generation.result) != "ok":
        say(f"  that backup was {generation.result}: {len(generation.missing)} things were missing in it")
    say("  Stop the mail server there (if it runs) until people can work: what arrives meanwhile is moved aside.")


def _local(everything: Any, at: Any) -> str:
    return str(at.astimezone(everything.time_zone).isoformat(" ", "minutes"))


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "planned": plan.messages,
        "added": 0,
        "already_there": 0,
        "missing": [],
        "destination": f"server:{plan.request.server}",
        "seconds": 0.0,
        "verified": False,
        "as_of": f"{plan.chosen.generation.at:%Y-%m-%dT%H:%M:%SZ}",
        "files": len(plan.files.files),
        "target": plan.target.name,
        "live": plan.is_live,
        "goes_on": plan.goes_on,
    }


def _end(everything: Any, plan: Plan, report: Report, newest: Generation, ways: Ways) -> None:
    """The key is kept, services are looked at, the doctor looks at the new address; then the words."""
    from failsafe.server_after import after

    tally = report.tally
    ending = after(everything, plan, report, newest)
    for text in [*tally.notes[:SHOWN], *report.notes, *ending.notes]:
        say(f"note: {for_terminal(text)}")
    for text in tally.problems[:SHOWN]:
        say(f"problem: {for_terminal(text)}")
    for row in tally.missing[:SHOWN]:
        say(
            f"missing: {for_terminal(' '.join(part for part in (row['mailbox'], row['folder'], row['name']) if part))}: {row['why']}"
        )
    if ways.as_json:
        answer_json(_report_json(plan, report, ending.to_json()))
    else:
        _answer(plan, report, ending.services, ending.clients, ending.person)
    if tally.missing_count:
        raise typer.Exit(EXIT_EXTERNAL)
    raise typer.Exit(EXIT_FINDINGS if tally.problem_count or report.start_failed else EXIT_OK)


def _answer(plan: Plan, report: Report, services: tuple[Service, ...], clients: list[str], person: list[str]) -> None:
    tally = report.tally
    proof = "read back and right" if not tally.missing_count else f"{tally.missing_count} MISSING"
    answer(
        f"{plan.request.server} on {plan.target.name}: {tally.added:,} messages and {tally.files:,} files written, {tally.already + tally.files_there:,} "
        f"were there ({proof}), in {report.seconds:.0f} s"
    )
    answer("\nServices, as our own probes see them:")
    for one in services:
        answer(f"  {one.name}: {'works' if one.good else 'not looked at' if one.good is None else 'DOES NOT WORK'}: {one.text}")
    answer("\nWhat mail programs will show:")
    for text in clients:
        answer(f"  - {for_terminal(text)}")
    answer("\nWhat you must still do:")
    for number, text in enumerate(person, start=1):
        answer(f"  {number}. {for_terminal(text)}")


def _report_json(plan: Plan, report: Report, ending: dict[str, Any]) -> dict[str, Any]:
    tally = report.tally
    return {
        **_plan_json(plan),
        "planned": tally.planned,
        "added": tally.added,
        "already_there": tally.already,
        "missing": tally.missing,
        "missing_count": tally.missing_count,
        "seconds": round(report.seconds, 3),
        "verified": not tally.missing_count,
        "files": tally.files + tally.files_there,
        "files_written": tally.files,
        "problems": tally.problems,
        "moved_aside": tally.moved_aside,
        "work": tally.work,
        "by_hand": list(tally.by_hand),
        "folders": {"uids_kept": tally.kept_uids, "new_uid_validity": tally.new_uids, "unnumbered": tally.unnumbered},
        "indexes_made_anew": report.resynced,
        "notes": [*tally.notes, *report.notes],
        **ending,
    }
