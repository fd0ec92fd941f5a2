"""`failsafe kit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, open_app, say, verbs_app
from failsafe.cli.passphrase import new_passphrase
from failsafe.errors import EXIT_FINDINGS, UsageError

if TYPE_CHECKING:
    from failsafe.backup.kit import Kit

app = verbs_app()


@app.command()
def kit(
    output: Path | None = typer.Option(
        None, "--output", metavar="FILE", help="A new file, or a folder; default: failsafe-kit-ID-DATE.html here."
    ),
    plain: bool = typer.Option(
        False, "--plain", help="Do not encrypt it: to be printed at once, or kept where nobody else comes."
    ),
    passphrase_file: Path | None = typer.Option(
        None, "--passphrase-file", metavar="FILE", help="Mode 0600; default: asked for twice at the terminal."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Makes the recovery kit: one printable page with all that is needed to get the mail back without this machine.

    It holds every password and key, so it is encrypted; a stock openssl opens it, by a command on its first page. Exit 1 if it lacks something.

    Examples: failsafe kit --output /media/stick/failsafe-kit.html
              failsafe kit --plain --output ./kit.html    (then print it, and shred it)
    """
    from failsafe.events import Event
    from failsafe.kits import file, gather
    from failsafe.own_layer import what_is_lost

    if plain and passphrase_file is not None:
        raise UsageError("--plain encrypts nothing, so it takes no --passphrase-file", mend="say one of them")
    everything = open_app()
    where = _where(everything, output)
    if lost := what_is_lost(where):
        raise UsageError(f"{where} {lost}; no kit was made", mend="name a file in a folder that is mounted: --output /backup")
    file.demand_free(where)
    passphrase = None if plain else new_passphrase(passphrase_file)
    facts = gather.facts_of(everything)
    made = gather.make_kit(everything, say)
    is_closed = file.write_kit(where, made, passphrase)
    gather.remember(everything, made, where, encrypted=not plain, facts=facts)
    kind = "not encrypted" if plain else "encrypted"
    details: dict[str, object] = {"file": str(where), "encrypted": not plain, "lacking": list(made.all_lacking)}
    everything.record(
        Event(
            "kit.made", everything.config.controller.id, f"a recovery kit was written to {where}, {kind}", made.made_at, details
        )
    )
    _tell(made, where, plain=plain, is_closed=is_closed, as_json=as_json)
    if made.all_lacking or (plain and not is_closed):
        raise typer.Exit(EXIT_FINDINGS)


def _where(everything: Any, output: Path | None) -> Path:
    """A folder gets a file of the default name."""
    from failsafe.kits.file import default_name

    if output is not None and not output.is_dir():
        return output.absolute()
    return default_name(everything.config.controller.id, everything.clock.now(), (output or Path.cwd()).absolute())


def _tell(made: Kit, where: Path, *, plain: bool, is_closed: bool, as_json: bool) -> None:
    for text in made.all_lacking:
        say(f"lacking: {text}")
    if not is_closed:
        say(f"{where} lies on a file system that keeps no modes: everyone who can reach it can read it")
    if as_json:
        answer_json(_json(made, where, plain=plain))
        return
    answer(f"{where}")
    say(
        f"Carry it away from this machine, and keep it with your papers. {'It shows every password.' if plain else 'Its first page says how it is opened.'}"
    )
    if not plain:
        say("Without its passphrase nobody can open it, you neither: write that down, and keep it at another place than the kit.")


def _json(made: Kit, where: Path, *, plain: bool) -> dict[str, Any]:
    return {
        "file": str(where),
        "encrypted": not plain,
        "made_at": made.made_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "repositories": [
            {"repository": each.name, "has_keys": bool(each.files), "lacking": each.lacking} for each in made.repositories
        ],
        "servers": [each.name for each in made.servers],
        "lacking": list(made.all_lacking),
    }
