"""Between versions of the schema: which are known, how one becomes another, and the way out where this version is too old."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import Connection

from failsafe.store.version import HEAD


def known_revisions(folder: Path) -> tuple[str, ...]:
    """Oldest first: the files of migrations are named by their revision ("0001_first.py")."""
    return tuple(sorted(file.name.partition("_")[0] for file in (folder / "versions").glob("[0-9]*_*.py")))


def migrate_to(connection: Connection, folder: Path, revision: str) -> None:
    """Up or down, in the connection's own transaction."""
    from alembic import command
    from alembic.config import Config

    settings = Config()
    settings.set_main_option("script_location", str(folder))
    settings.attributes["connection"] = connection
    if _revision(connection) > revision:
        command.downgrade(settings, revision)
    else:
        command.upgrade(settings, revision)


def _revision(connection: Connection) -> str:
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision() or ""


def copies_beside(file: Path) -> list[Path]:
    """The copies that migrations kept of an SQLite database, oldest first: their names end with their time."""
    return sorted(file.parent.glob(f"{file.name}.before-*"), key=lambda path: path.name.rpartition("-")[2])


def way_out(found: str | None, file: Path | None, known: tuple[str, ...]) -> str:
    """What a person does where the database is not of this version."""
    if found is None or found in known:
        return "run `failsafe db upgrade` (a running daemon does it when it starts)"
    newer = f"install the newer version of failsafe again, which wrote it; or with that one, to keep all that can be kept: failsafe db downgrade --to {HEAD}"
    copies = [] if file is None else [copy for copy in copies_beside(file) if f"-from-{HEAD}-" in copy.name]
    if not copies:
        return newer
    return (
        f"{newer}; or, losing what happened since it was made, put back the copy of that time: failsafe db put-back {copies[-1]}"
    )
