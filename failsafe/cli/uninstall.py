"""`failsafe uninstall --plan`."""

from __future__ import annotations

import shlex

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, config_path, verbs_app
from failsafe.errors import UsageError

app = verbs_app()

HEADS = {
    "first": "First, while everything still works",
    "server": "On mail servers",
    "dns": "At DNS providers",
    "login": "Accounts and passwords made for failsafe",
    "watching": "Other places that watch",
    "people": "What calls people, and kits",
    "backup": "Backups, which stay",
    "here": "On this machine, last",
}


@app.command()
def uninstall(
    plan: bool = typer.Option(False, "--plan", help="Print everything that failsafe left anywhere, and how each is removed."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Prints every trace of failsafe, on this machine and on others, in the order in which to remove them. It removes nothing itself, and no backup.

    Nobody is asked and nothing is looked at: it is what the configuration says. Do it from top to bottom: what is outside goes first, while
    the keys that open those places are still here.

    Examples: failsafe uninstall --plan
              failsafe uninstall --plan --json
    """
    from failsafe.config.load import load_config
    from failsafe.uninstalling import KINDS, traces

    if not plan:
        raise UsageError("failsafe removes nothing by itself", mend="failsafe uninstall --plan prints what to remove, and how")
    path = config_path()
    command = f"failsafe --config {shlex.quote(str(path))}"
    found = traces(load_config(path), path.absolute(), command)
    if as_json:
        answer_json({"traces": [{"kind": each.kind, "place": each.place, "what": each.what, "how": each.how} for each in found]})
        return
    number = 0
    for kind in KINDS:
        of_kind = [each for each in found if each.kind == kind]
        if of_kind:
            answer(f"{HEADS[kind]}:")
        for each in of_kind:
            number += 1
            answer(f"  {number}. {each.place}: {each.what}\n     {each.how}")
