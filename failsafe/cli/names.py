"""Shell completion of names from the configuration: servers, repositories, domains. Reads TOML and nothing else, so that TAB stays quick.

Never raises: a shell that completes has no place for an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MAXIMUM_BYTES = 1024 * 1024
MOST = 1_000


def servers(incomplete: str) -> list[str]:
    return _named("mail_server", incomplete)


def repositories(incomplete: str) -> list[str]:
    return _named("repository", incomplete)


def domains(incomplete: str) -> list[str]:
    return _named("domain", incomplete)


def _named(table: str, incomplete: str) -> list[str]:
    tables = _tables()
    found: Iterable[str] = tables.get(table, {}) if isinstance(tables.get(table), dict) else ()
    return [name for name in sorted(found) if name.startswith(incomplete)][:MOST]


def _tables() -> dict[str, Any]:
    import tomllib

    from failsafe.config.find import find_config
    from failsafe.errors import FailsafeError

    try:
        with (_given() or find_config()).open("rb") as file:
            return tomllib.loads(file.read(MAXIMUM_BYTES).decode("utf-8"))
    except (OSError, ValueError, FailsafeError):
        return {}


def _given() -> Path | None:
    """The --config of the line that is being completed; the shell hands that over in COMP_WORDS, and so do the others by typer's names."""
    words = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or "").split()
    for place, word in enumerate(words):
        if word.startswith("--config="):
            return Path(word.removeprefix("--config=")).expanduser()
        if word == "--config" and place + 1 < len(words):
            return Path(words[place + 1]).expanduser()
    return None
