"""Where the configuration is. Imports nothing heavy: `failsafe status` begins here."""

from __future__ import annotations

import os
from pathlib import Path

from failsafe.errors import ConfigError


def default_paths() -> tuple[Path, ...]:
    return (Path("/etc/failsafe/failsafe.toml"), Path("~/.config/failsafe/failsafe.toml").expanduser())


def find_config(given: Path | None = None) -> Path:
    """--config, else $FAILSAFE_CONFIG, else the usual places. Raises ConfigError that names where it looked."""
    if given is not None:
        return given
    if named := os.environ.get("FAILSAFE_CONFIG"):
        return Path(named)
    for path in default_paths():
        if path.exists():
            return path
    places = ", ".join(str(path) for path in default_paths())
    raise ConfigError(
        "no configuration", [("", f"looked in {places}; make one with `failsafe init`, or name it with --config FILE")]
    )


def named_config() -> Path | None:
    """What --config or $FAILSAFE_CONFIG says; None where nobody named one."""
    named = os.environ.get("FAILSAFE_CONFIG")
    return Path(named) if named else None
