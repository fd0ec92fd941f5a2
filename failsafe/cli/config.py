"""`failsafe config check`, `failsafe config schema` and `failsafe config server`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from failsafe.cli.common import JSON_OPTION, answer, answer_json, config_path, say, verbs_app
from failsafe.cli.config_server import exit_code, look_at_servers, server, tell

app = verbs_app("Validate the configuration, print its schema, or print what is put on a mail server.")
app.command()(server)


@app.command()
def check(
    connect: bool = typer.Option(
        False, "--connect", help="Also log in to each mail server, and say what is missing there; exit 1 where something is."
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Validates the configuration and the files it names; every fault at once, exit 2.

    With --connect it also logs in to every mail server that is read over SSH, with the key of every night: is it let in, can it do no more than read, is the
    program there this failsafe's, does the list there name what the configuration wants. It prints the line that is missing in authorized_keys.

    Examples: failsafe --config ./failsafe.toml config check
              failsafe config check --connect
    """
    from failsafe.config.files import file_faults
    from failsafe.config.keep import keep_warnings
    from failsafe.config.load import load_config
    from failsafe.errors import ConfigError

    path = config_path()
    config = load_config(path)
    faults, warnings = file_faults(config)
    if faults:
        raise ConfigError(str(path), faults)
    warnings += keep_warnings(config)
    verdicts = look_at_servers(config, path) if connect else []
    if as_json:
        told = {"file": str(path), "ok": True, "warnings": [{"key": key, "text": text} for key, text in warnings]}
        answer_json(told | ({"servers": [asdict(verdict) for verdict in verdicts]} if connect else {}))
    else:
        for key, text in warnings:
            answer(f"warning: {key}: {text}")
        answer(
            f"{path}: ok ({len(config.mail_server)} mail server(s), {len(config.repository)} repositor(ies), {len(config.domain)} domain(s))"
        )
        for verdict in verdicts:
            tell(verdict)
        over_ssh = ", ".join(name for name, table in config.mail_server.items() if table.ssh is not None)
        if over_ssh and not connect:
            say(f"whether {over_ssh} lets failsafe in, and no further than to read: failsafe config check --connect")
    raise typer.Exit(exit_code(verdicts))


@app.command()
def schema() -> None:
    """Prints the JSON Schema of the configuration, for editors.

    Example: failsafe config schema > failsafe.schema.json
    """
    import json

    from failsafe.config.meanings import described
    from failsafe.config.schema import Config

    answer(json.dumps(described(Config.model_json_schema(mode="validation")), indent=2))
