"""`failsafe licences`."""

from __future__ import annotations

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, say, verbs_app
from failsafe.errors import EXIT_FINDINGS, UsageError

app = verbs_app()


@app.command()
def licences(
    texts: bool = typer.Option(False, "--texts", help="Print the licence files themselves, one after the other."),
    as_json: bool = JSON_OPTION,
) -> None:
    """The licence of failsafe and of every Python package that it is installed with, as each says it of itself.

    Exit 1: one of them does not say. restic, OpenSSH and Python are programs of their own, with their own licences.

    Examples: failsafe licences
              failsafe licences --texts > licences.txt
    """
    from failsafe.licences import UNKNOWN, installed
    from failsafe.licences import texts as texts_of

    found = installed()
    if not found:
        raise UsageError("failsafe is not installed: it runs from a folder of sources", mend="pip install . (or ./dev setup)")
    if as_json:
        answer_json(
            {
                "packages": [
                    {"name": each.name, "version": each.version, "licence": each.licence, "address": each.address}
                    for each in found
                ]
            }
        )
    elif texts:
        for each in found:
            for file, text in texts_of(each.name):
                answer(f"==== {each.name} {each.version}: {file}\n\n{text.rstrip()}\n")
    else:
        wide = max(len(each.name) + len(each.version) + 1 for each in found)
        for each in found:
            answer(f"{each.name + ' ' + each.version:{wide}}  {each.licence}")
    silent = [each.name for each in found if each.licence == UNKNOWN]
    if silent:
        say(f"failsafe: no licence is named by: {', '.join(silent)}")
        raise typer.Exit(EXIT_FINDINGS)
