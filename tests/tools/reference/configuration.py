"""Every table and key of the configuration, with its default and what it is for. Read from the schema."""

from __future__ import annotations

import json
from typing import Any

from failsafe.config.meanings import described
from failsafe.config.schema import Config
from tests.tools.reference.tables import page, table

TABLES = {  # as they are written in the file
    "[controller]": "Controller",
    "[web]": "Web",
    "[notify]": "Notify",
    "[doctor]": "Doctor",
    "[own_line]": "OwnLine",
    "[mail_server.NAME]": "MailServer",
    "`imap` of a mail server": "ImapTable",
    "[repository.NAME]": "RepositoryTable",
    "`keep` of a repository": "Keep",
    "`check` of a repository": "CheckPlan",
    "[dns.NAME]": "Dns",
    '[domain."NAME"]': "Domain",
    '[domain."NAME".homecoming]': "Homecoming",
    "each of `accounts` of a homecoming": "Account",
    "`catch_all` of a homecoming": "CatchAll",
    "`deliver` of a homecoming": "Deliver",
    "`filter` of a homecoming": "Filter",
    "[probe.NAME]": "Probe",
    "`imap` of a probe": "ProbeImap",
    "each of `submission` of a probe": "EndpointTable",
    "[canary.NAME]": "Canary",
    "[vantage.NAME]": "Vantage",
}
SMALL_TYPES = {"30s": "duration", "2 MB/s": "rate", "mail.example.org:25": "host:port", "07:30": "time"}  # by their examples
HOST_NAME = "the host's name"  # the one default that differs from machine to machine
LIMITS = (
    "`controller.limit_download` and `limit_upload` hold for each pull, and once more for all repositories across a network together; what is on this machine "
    "has no limit. What binds what, and what the sums are: [backup.md](../backup.md#what-limit_download-and-limit_upload-hold)."
)


def render_configuration() -> str:
    schema: dict[str, Any] = described(Config.model_json_schema(mode="validation"))
    definitions: dict[str, Any] = schema["$defs"]
    lines: list[str] = []
    for title, name in TABLES.items():
        lines += [f"## {title}" if title.startswith("[") else f"### {title}", ""]
        wanted = definitions[name].get("required", [])
        rows = [_row(key, value, wanted, definitions) for key, value in definitions[name]["properties"].items()]
        lines += table(("key", "is", "left out", "for"), rows)
    return page(
        "Configuration",
        'One TOML file. Durations are written with their unit (`"30s"`, `"15m"`, `"7d"`), rates as `"2 MB/s"`. An unknown key is an error. `failsafe config check` '
        "names every fault at once; `failsafe config schema` prints the JSON Schema for editors; `deploy/failsafe.toml.example` is a commented example.",
        'What stands in `[domain_defaults]` holds for every domain that does not say otherwise: the keys of `[domain."NAME"]`.',
        LIMITS,
        lines,
    )


def left_out() -> set[str]:
    """Tables of the schema that the page does not show."""
    definitions = Config.model_json_schema(mode="validation")["$defs"]
    return {name for name, each in definitions.items() if each.get("type") == "object"} - set(TABLES.values())


def _row(key: str, value: dict[str, Any], wanted: list[str], definitions: dict[str, Any]) -> tuple[str, str, str, str]:
    return f"`{key}`", _kind(value, definitions), "must be there" if key in wanted else _default(key, value), value["description"]


def _kind(value: dict[str, Any], definitions: dict[str, Any]) -> str:
    kinds = [each for each in value.get("anyOf", [value]) if each.get("type") != "null"]
    first = kinds[0]
    if "$ref" in first:
        target = definitions[first["$ref"].rpartition("/")[2]]
        return _kind(target, definitions) if "enum" in target else "table"
    if "enum" in first:
        return " or ".join(f"`{each}`" for each in first["enum"])
    if first.get("type") == "array":
        return f"list of {_kind(first['items'], definitions)}"
    if first.get("format") == "path":
        return "path"
    if "examples" in first:
        example = first["examples"][0]
        return SMALL_TYPES.get(example, f"as `{example}`")
    return {"string": "text", "integer": "number", "boolean": "`true` or `false`", "object": "table"}[first["type"]]


def _default(key: str, value: dict[str, Any]) -> str:
    default = value.get("default")
    if key == "id":
        return HOST_NAME
    if default is None or default in ([], ""):
        return "nothing"
    return f"`{_written(default)}`"


def _written(default: Any) -> str:
    if isinstance(default, dict) and set(default) == {"host", "port"}:
        return f"{default['host']}:{default['port']}"
    if isinstance(default, list):
        return ", ".join(_written(each) for each in default)
    if isinstance(default, str):
        return _duration(default)
    if isinstance(default, dict):
        return json.dumps(default)
    return json.dumps(default)


def _duration(text: str) -> str:
    """ISO 8601, as the schema has it, in the way of the file: PT15M -> 15m."""
    if not text.startswith("P") or not text[1:2].isalnum() or not text[-1].isalpha() or not any(each.isdigit() for each in text):
        return text
    days, _, time = text[1:].partition("T")
    return (days + time).lower()
