"""`catalog rebuild`: makes what `search` looks at anew, from a repository alone."""

from __future__ import annotations

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, open_app, progress, say, verbs_app
from failsafe.cli.names import repositories

app = verbs_app(
    "The catalog of all messages ever seen, which `search` and `restore` look at. It is never the only copy of anything.\n\n"
    "Example: failsafe catalog rebuild"
)


@app.callback()
def catalog() -> None:
    """The catalog."""


@app.command()
def rebuild(
    repository: str = typer.Option(
        None, "--repository", autocompletion=repositories, metavar="R", help="From this one (default: the nearest that answers)."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Makes the catalog anew from the snapshots of a repository alone: this machine's staging and database are not needed.

    Metadata of all snapshots is fetched, then each segment once for the beginnings of its messages, so that a repository far away takes as
    long as reading all mail from it. The old catalog stays until the new one is whole. What came and went between two snapshots is not in it.

    Examples: failsafe catalog rebuild
              failsafe catalog rebuild --repository offsite --json
    """
    from failsafe.catalogs import rebuild_catalog

    everything = open_app()
    shown = progress(quiet=as_json)
    try:
        report = rebuild_catalog(everything, repository, shown, say)
    finally:
        shown.close()
    if as_json:
        answer_json(report.to_json())
    for each in report.servers if not as_json else ():
        answer(f"{each.server}: {each.messages} messages of {each.snapshots} snapshot(s) in {report.repository}")
        if each.skipped:
            answer(f"  {len(each.skipped)} snapshot(s) could not be read; what only they show is missing")
        if each.unread:
            answer(f"  the headers of {each.unread} message(s) could not be read; they are found by mailbox, folder and date")
    raise typer.Exit(report.exit_code)
