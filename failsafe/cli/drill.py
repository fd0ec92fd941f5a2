"""`failsafe drill`: rehearsals that leave evidence."""

from __future__ import annotations

from typing import Any

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, open_app, progress, say, verbs_app
from failsafe.cli.search import for_terminal
from failsafe.errors import EXIT_EXTERNAL, EXIT_FINDINGS, EXIT_OK, UsageError

app = verbs_app("Rehearsals that leave evidence. Nothing live is touched.\n\nExample: failsafe drill restore --repository nas")
SHOWN = 20  # findings of a server, for a person
ONE_REPOSITORY = typer.Option(None, "--repository", metavar="R", help="Only this repository.")


@app.command()
def restore(repository: str = ONE_REPOSITORY, as_json: bool = JSON_OPTION) -> None:
    """Brings mail back from each repository, opens it, and compares every message with the manifest: count, content, flags, dates.

    A rotating choice of mailboxes and always the newest message; with the credential that a restore would use, and without locks. The daemon
    does it every `drill_every`. Exit 1: something did not come back as it should be; exit 4: it could not be tried.

    Examples: failsafe drill restore
              failsafe drill restore --repository offsite --json
    """
    from failsafe.drills import drill_repository

    everything = open_app()
    names = [repository] if repository else sorted(everything.config.repository)
    if not names:
        raise UsageError("no repository is configured", mend="add a [repository.NAME] to the configuration")
    reports = []
    for name in names:
        shown = progress(quiet=as_json)
        try:
            reports.append(drill_repository(everything, name, shown))
        finally:
            shown.close()
        if not as_json:
            _tell(reports[-1], everything.time_zone)
    if as_json:
        answer_json({"repositories": [report.to_json() for report in reports]})
    codes = [report.exit_code for report in reports]
    raise typer.Exit(EXIT_EXTERNAL if EXIT_EXTERNAL in codes else EXIT_FINDINGS if EXIT_FINDINGS in codes else EXIT_OK)


@app.command()
def failover(domain: str = typer.Argument(..., metavar="DOMAIN")) -> None:
    """A rehearsal of a failover: not in this version.

    Example: failsafe failover example.org --dry-run
    """
    raise UsageError(
        f"drill failover is not in this version yet, so {domain} was not rehearsed",
        mend=f"failsafe failover {domain} --dry-run shows the plan, and failsafe doctor what stands in its way",
    )


def _tell(report: Any, zone: Any) -> None:
    from datetime import UTC, datetime

    from failsafe.drills import spoken
    from failsafe.render import spoken_instant

    answer(f"{report.repository}: {report.result}; {spoken(report)}")
    steps = report.timing
    answer(
        f"  restic {steps.restic:.1f} s, rebuild {steps.rebuild:.1f} s, open {steps.open:.1f} s; compare {steps.compare:.1f} s"
    )
    for server in report.servers:
        for each in server.mailboxes:
            answer(
                f"  {server.server} {for_terminal(each.mailbox)}: {each.part}, {each.messages} message(s), {'right' if each.ok else 'NOT right'}"
            )
        if server.canary is not None:
            canary = server.canary
            at = datetime.fromtimestamp(canary.entry.internal_date, UTC).astimezone(zone)
            answer(
                f"  {server.server} canary: {for_terminal(canary.mailbox)} {for_terminal(canary.folder)}, of {spoken_instant(at, zone)}"
            )
        for fault in server.faults[:SHOWN]:
            answer(f"  finding: {for_terminal(str(fault))}")
        if server.fault_count > SHOWN:
            answer(f"  … and {server.fault_count - SHOWN} more (--json lists up to 100)")
        for note in server.notes:
            say(f"note: {for_terminal(note)}")
    for trouble in (report.trouble, *(server.trouble for server in report.servers)):
        if trouble is not None:
            say(f"failsafe: {trouble.text}")
            say(f"  what to do: {trouble.mend}") if trouble.mend else None
