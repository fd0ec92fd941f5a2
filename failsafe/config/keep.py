"""Rules of `keep` that look well and are not. Pure."""

from __future__ import annotations

from failsafe.config.schema import Config, RepositoryTable

COUNTED = (
    "keep counts snapshots without `within`, and the credential of every day may only add: whoever has it can add snapshots until yours are "
    "beyond the count"
)


def keep_warning(table: RepositoryTable) -> str:
    """A place to which a stranger with this machine's credential can add but not delete: counting is then the way to make us delete. "" if well."""
    appends_only = table.maintenance == "elsewhere" or table.maintenance_environment_file is not None
    counts = table.keep is not None and table.keep.within is None and any(table.keep.model_dump().values())
    return COUNTED if appends_only and counts else ""


def keep_warnings(config: Config) -> list[tuple[str, str]]:
    """(key, text) for `config check`."""
    found = ((f"repository.{name}.keep", keep_warning(table)) for name, table in config.repository.items())
    return [(key, text) for key, text in found if text]
