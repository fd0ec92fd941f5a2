"""Finds, reads and validates the configuration file. Every fault is told at once, by its key, and what it should have been."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from failsafe.config.find import default_paths, find_config
from failsafe.config.schema import Config, Domain
from failsafe.config.vantages import vantage_faults
from failsafe.errors import ConfigError

__all__ = ["default_paths", "find_config", "load_config", "parse_config"]

MAXIMUM_BYTES = 1024 * 1024


def load_config(path: Path) -> Config:
    """Raises ConfigError with every fault."""
    try:
        with path.open("rb") as file:
            data = file.read(MAXIMUM_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(path), [("", f"cannot be read: {error.strerror}")]) from error
    if len(data) > MAXIMUM_BYTES:
        raise ConfigError(str(path), [("", "is larger than 1 MiB; that is not a configuration")])
    return parse_config(data, str(path))


def parse_config(data: bytes, source: str) -> Config:
    """TOML text -> Config. Raises ConfigError with every fault."""
    try:
        tables = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise ConfigError(source, [("", "is not UTF-8 text")]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(source, [("", f"is not valid TOML: {error}")]) from None
    _spread_domain_defaults(tables)
    try:
        config = Config.model_validate(tables)
    except ValidationError as error:
        raise ConfigError(source, _faults(error)) from None
    faults = _dangling_names(config)
    if faults:
        raise ConfigError(source, faults)
    return config


def _spread_domain_defaults(tables: dict[str, Any]) -> None:
    defaults = tables.pop("domain_defaults", {})
    domains = tables.get("domain", {})
    if isinstance(defaults, dict) and isinstance(domains, dict):
        for name, values in domains.items():
            if isinstance(values, dict):
                domains[name] = {**defaults, **values}
        if defaults and not domains:  # checked all the same
            unknown = set(defaults) - set(Domain.model_fields)
            if unknown:
                tables["domain_defaults"] = {key: defaults[key] for key in unknown}


def _faults(error: ValidationError) -> list[tuple[str, str]]:
    faults = []
    for fault in error.errors(include_url=False, include_input=False):
        key = _key(fault["loc"])
        if fault["type"] == "extra_forbidden":
            text = "unknown key" + _suggestion(fault["loc"])
        elif fault["type"] == "missing":
            text = "is missing"
        else:
            text = fault["msg"].removeprefix("Value error, ")
        faults.append((key, text))
    return faults


def _key(location: tuple[int | str, ...]) -> str:
    parts: list[str] = []
    for part in location:
        if part == "[key]":
            continue
        if isinstance(part, int):
            parts[-1:] = [f"{parts[-1]}[{part}]"] if parts else [str(part)]
        else:
            parts.append(f'"{part}"' if "." in part else part)
    return ".".join(parts)


def _suggestion(location: tuple[int | str, ...]) -> str:
    """ "did you mean …?" from the keys that the table has."""
    model: Any = Config
    for part in location[:-1]:
        field = model.model_fields.get(str(part)) if isinstance(model, type) and issubclass(model, BaseModel) else None
        if field is None:
            continue  # the name of a table in a dict, or a place in a list
        model = next((kind for kind in _models_in(field.annotation)), model)
    known = [field.alias or name for name, field in model.model_fields.items()]
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(sorted(known))}"


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in getattr(annotation, "__args__", ()) for model in _models_in(inner)]


def _dangling_names(config: Config) -> list[tuple[str, str]]:
    """Names that point at tables which are not there."""
    faults = []
    for name, domain in config.domain.items():
        key = f'domain."{name}"'
        if domain.server not in config.mail_server:
            faults.append((f"{key}.server", f"there is no [mail_server.{domain.server}]"))
        if domain.dns is not None and domain.dns not in config.dns:
            faults.append((f"{key}.dns", f"there is no [dns.{domain.dns}]"))
    for kind in ("probe", "canary"):
        faults += [
            (f"{kind}.{name}", f"there is no [mail_server.{name}]")
            for name in getattr(config, kind)
            if name not in config.mail_server
        ]
    faults += vantage_faults(config)
    places: dict[str, str] = {}
    for name, repository in config.repository.items():
        other = places.setdefault(repository.url.rstrip("/"), name)
        if other != name:
            faults.append(
                (
                    f"repository.{name}.url",
                    f"is the same place as repository.{other}; two names for one repository would hide its loss",
                )
            )
    return faults
