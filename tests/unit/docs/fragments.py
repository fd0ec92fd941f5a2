"""A piece of configuration from a page, made whole: laid over the commented example that is shipped."""

from __future__ import annotations

import json
import tomllib
from typing import Any

from tests.unit.docs.blocks import ROOT

EXAMPLE = ROOT / "deploy" / "failsafe.toml.example"
WHOLE = ("layout", "url", "kind")  # a table that says one of these is meant whole; any other adds to what stands in the example


def completed(text: str) -> bytes:
    """TOML with everything that a configuration needs. A page that shows a whole one is taken as it is."""
    fragment = tomllib.loads(text)
    if {"mail_server", "repository", "controller"} <= set(fragment):
        return text.encode()
    return _written(_merged(tomllib.loads(EXAMPLE.read_text(encoding="utf-8")), fragment)).encode()


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    if any(key in over for key in WHOLE):
        return over
    both = {key: _merged(base[key], over[key]) for key in over if isinstance(over[key], dict) and isinstance(base.get(key), dict)}
    return {**base, **over, **both}


def _written(tables: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(key)} = {_value(value)}\n" for key, value in tables.items())


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_value(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    return json.dumps(value)
