"""`failsafe config server`: what is put on a mail server, as a script for a person who may be root there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, open_app, say
from failsafe.errors import EXIT_EXTERNAL, EXIT_FINDINGS, EXIT_OK, ExternalError, UsageError

if TYPE_CHECKING:
    from failsafe.app import App
    from failsafe.backup.layouts import Source
    from failsafe.config.schema import Config
    from failsafe.server_install import Verdict


def server(
    name: str = typer.Argument(metavar="NAME", help="As in [mail_server.NAME]."),
    remove: bool = typer.Option(False, "--remove", help="Print the script that takes all of it away again."),
    public_key: Path | None = typer.Option(
        None, "--public-key", metavar="FILE", help="The key to let in. Default: that of ssh_key."
    ),
    look_as: str | None = typer.Option(
        None,
        "--look-as",
        metavar="USER[@HOST]",
        help="A login of your own, for this once: to find a layout's containers before ours is let in.",
    ),
    look_key: Path | None = typer.Option(
        None, "--look-key", metavar="FILE", help="Its private key. Default: your agent and ~/.ssh."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Prints a shell script that installs failsafe's side on a mail server, or renews it; you run it there as root.

    It puts one program there, the list of what that program may read and run, and a line in authorized_keys by which failsafe's key can start that
    program and nothing else (docs/server-side.md). Read it first: it is plain shell. It may be run again at any time, and after every update of failsafe.

    Examples: failsafe config server vps | less
              failsafe config server vps | ssh root@mail.example.org sh
              failsafe config server cow --look-as root | ssh root@mail.example.org sh
              failsafe config server vps --remove | ssh root@mail.example.org sh
    """
    from failsafe.server_install import authorized_keys_line, install_script, remove_script, settings_of, steps
    from failsafe.server_install.script import login_of
    from failsafe.server_side import public_key_of

    app = open_app()
    table = app.server(name)
    login_of(table, name)
    key = public_key_of(table, name, public_key)
    if remove:
        script = remove_script(table, key, name=name)
        answer_json({"server": name, "script": script}) if as_json else print(script, end="", flush=True)
        return
    source = _look(app, name, look_as, look_key)
    script = install_script(table, key, name=name, source=source)
    if not as_json:
        print(script, end="", flush=True)
        return
    answer_json(
        {
            "server": name,
            "script": script,
            "authorized_keys": authorized_keys_line(key),
            "settings": settings_of(table, source),
            "steps": [{"what": step.what, "why": step.why, "command": step.command} for step in steps(table, key, name=name)],
        }
    )


def _look(app: App, name: str, look_as: str | None, look_key: Path | None) -> Source | None:
    """None where the configuration says everything, or nobody can look and it says enough."""
    from failsafe.backup.layouts import plan_look
    from failsafe.config.wanted import whole_wanted_of
    from failsafe.server_install.listed import needs_a_look
    from failsafe.server_side import find_source, host_for_a_look

    table = app.server(name)
    if table.ssh is None or plan_look(whole_wanted_of(table)) is None:
        return None
    try:
        return find_source(host_for_a_look(app, name, look_as, look_key), table)
    except ExternalError as error:
        if needs_a_look(table):
            raise UsageError(
                f"where the mail of {name} lies is only known once the server was looked at: {error}",
                mend="say --look-as root: a login of your own there, for this once",
            ) from error
        say(f"{name} could not be looked at ({error}): compose files and the like are not in the list; run this again later")
        return None


def look_at_servers(config: Config, path: Path) -> list[Verdict]:
    """Logs in to each mail server whose files are read over SSH."""
    from failsafe.app import App
    from failsafe.backup.serverside import digest
    from failsafe.server_install import authorized_keys_line, judge_shown
    from failsafe.server_side import ask_server, public_key_of

    app, verdicts = App(config, path), []
    for name, table in sorted(config.mail_server.items()):
        if table.ssh is None or table.read == "doveadm":
            continue
        try:
            line = authorized_keys_line(public_key_of(table, name))
        except UsageError:
            line = ""  # by an agent: who it is that is let in is the agent's to say
        verdicts.append(judge_shown(name, table.ssh, ask_server(app, name), line, digest()))
    return verdicts


def tell(verdict: Verdict) -> None:
    answer(f"{verdict.server}: {'ok' if verdict.ok else 'missing there' if verdict.reached else 'not reached'}: {verdict.text}")
    if verdict.line:
        answer(f"  the line:   {verdict.line}")
    if verdict.mend:
        answer(f"  what to do: {verdict.mend}")


def exit_code(verdicts: Sequence[Verdict]) -> int:
    if any(not verdict.reached for verdict in verdicts):
        return EXIT_EXTERNAL
    return EXIT_OK if all(verdict.ok for verdict in verdicts) else EXIT_FINDINGS
