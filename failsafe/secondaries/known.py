"""Reads known.toml, which lies beside this file."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from failsafe.secondaries.provider import FACTS, Fact, Plan, SecondaryProvider, Verification, recognise

_WORDS = {"value", "source", "read", "note"}


@cache
def known_providers() -> tuple[SecondaryProvider, ...]:
    """All of them, in the file's order."""
    return parse(files("failsafe.secondaries").joinpath("known.toml").read_text(encoding="utf-8"))


def provider_of(exchanges: tuple[str, ...]) -> SecondaryProvider | None:
    """See provider.recognise."""
    return recognise(exchanges, known_providers())


def parse(text: str) -> tuple[SecondaryProvider, ...]:
    """Raises ValueError for a fact that is none: a value without its source or its day, or a word that nobody knows."""
    return tuple(_provider(key, table) for key, table in tomllib.loads(text).items())


def _provider(key: str, table: dict[str, Any]) -> SecondaryProvider:
    strange = sorted(set(table) - {"name", "recognised_by", *FACTS})
    if strange:
        raise ValueError(f"{key}: {', '.join(strange)} is not known")
    facts: dict[str, Any] = {name: _fact(f"{key}.{name}", table[name]) for name in FACTS if name in table}
    return SecondaryProvider(key, table["name"], tuple(table["recognised_by"]), **facts)


def _fact(place: str, row: dict[str, Any]) -> Fact[Any]:
    strange = sorted(set(row) - _WORDS)
    if strange:
        raise ValueError(f"{place}: {', '.join(strange)} is not known")
    if "value" in row and not (row.get("source") and row.get("read")):
        raise ValueError(f"{place}: a value needs its source and the day it was read")
    return Fact(_value(place, row.get("value")), row.get("source", ""), row.get("read"), row.get("note", ""))


def _value(place: str, value: Any) -> Any:
    kind = place.rpartition(".")[2]
    if value is None:
        return None
    if kind == "verification":
        return Verification(**value)
    if kind == "plans":
        return tuple(Plan(**row) for row in value)
    return tuple(value) if isinstance(value, list) else value
