"""`failsafe config check`, `failsafe config schema` and `failsafe config server`."""

from __future__ import annotations

from failsafe.cli.common import JSON_OPTION, answer, answer_json, config_path, verbs_app
from failsafe.cli.config_server import server

app = verbs_app("Validate the configuration, print its schema, or print what is put on a mail server.")
app.command()(server)


@app.command()
def check(as_json: bool = JSON_OPTION) -> None:
    """Validates the configuration and the files it names; every fault at once, exit 2.

    Example: failsafe --config ./failsafe.toml config check
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
    if as_json:
        answer_json({"file": str(path), "ok": True, "warnings": [{"key": key, "text": text} for key, text in warnings]})
        return
    for key, text in warnings:
        answer(f"warning: {key}: {text}")
    answer(
        f"{path}: ok ({len(config.mail_server)} mail server(s), {len(config.repository)} repositor(ies), {len(config.domain)} domain(s))"
    )


@app.command()
def schema() -> None:
    """Prints the JSON Schema of the configuration, for editors.

    Example: failsafe config schema > failsafe.schema.json
    """
    import json

    from failsafe.config.meanings import described
    from failsafe.config.schema import Config

    answer(json.dumps(described(Config.model_json_schema(mode="validation")), indent=2))
