"""`failsafe db upgrade`, `downgrade` and `put-back`."""

from __future__ import annotations

from pathlib import Path

import typer

from failsafe.cli.common import JSON_OPTION, YES_OPTION, answer, answer_json, confirm, open_app, verbs_app
from failsafe.errors import UsageError

app = verbs_app("Migrate the database.")


@app.callback()
def root() -> None:
    """The database."""


@app.command()
def upgrade(as_json: bool = JSON_OPTION) -> None:
    """Brings the database to this version's schema; a copy of an SQLite file is kept beside it. A running daemon refuses it (exit 3).

    Example: failsafe db upgrade
    """
    from failsafe.adapters.lock import FileLock
    from failsafe.daemon.loop import DAEMON_LOCK, migrate
    from failsafe.store.version import HEAD

    everything = open_app()
    with FileLock(everything.lock_file(DAEMON_LOCK), "failsafe db upgrade").hold():
        changed = migrate(everything, everything.clock.now())
    if as_json:
        answer_json({"changed": changed, "schema": HEAD})
    else:
        answer(f"the database has schema {HEAD}" + (", now" if changed else "; nothing was to be done"))


@app.command()
def downgrade(
    to: str = typer.Option(..., "--to", metavar="SCHEMA", help="Such as 0004; the older version says which one it needs."),
    yes: bool = YES_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Brings the database back to an older schema, before an older version of failsafe is installed; a copy of an SQLite file is kept beside it.

    What the older version has no table for is told and asked about first. Stop the daemon before (exit 3 while it runs).

    Example: failsafe db downgrade --to 0004
    """
    from failsafe.adapters.lock import FileLock
    from failsafe.daemon.loop import DAEMON_LOCK
    from failsafe.events import Event
    from failsafe.store.engine import migrations_folder
    from failsafe.store.version import HEAD
    from failsafe.store.versions import known_revisions

    known = known_revisions(migrations_folder())
    if to not in known:
        raise UsageError(f"there is no schema {to}", mend=f"this version knows {', '.join(known)}")
    everything = open_app()
    with FileLock(everything.lock_file(DAEMON_LOCK), "failsafe db downgrade").hold():
        store, now = everything.store, everything.clock.now()
        lost = {} if to == HEAD else store.lost_by(to)
        if any(lost.values()):
            told = ", ".join(f"{name} ({rows} rows)" for name, rows in lost.items() if rows)
            confirm(f"Schema {to} has no place for: {told}. The copy beside the database keeps them. Go on?", yes=yes)
        if to != HEAD:
            controller = everything.config.controller.id
            everything.record(Event("schema.downgraded", controller, f"the database goes back from {HEAD} to {to}", now))
            store.downgrade(to, now)
    if as_json:
        answer_json({"changed": to != HEAD, "schema": to, "lost": lost})
    else:
        answer(f"the database has schema {to}; now install the version that needs it: this one would bring it to {HEAD} again")


@app.command(name="put-back")
def put_back(
    copy: Path = typer.Argument(..., metavar="COPY", help="A file failsafe.sqlite.before-… beside the database."),
    yes: bool = YES_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Puts back a copy of the SQLite database that a migration kept; the one in use stays beside it. What happened since the copy is forgotten.

    Example: failsafe db put-back /var/lib/failsafe/failsafe.sqlite.before-0005-from-0004-20261122T170000Z
    """
    from failsafe.adapters.lock import FileLock
    from failsafe.daemon.loop import DAEMON_LOCK
    from failsafe.store.copies import put_back as put

    everything = open_app()
    file = everything.unchecked_store.file
    if file is None:
        raise UsageError("the database is PostgreSQL: its copies are yours", mend="put back a dump of your own")
    with FileLock(everything.lock_file(DAEMON_LOCK), "failsafe db put-back").hold():
        confirm(f"All that happened since {copy.name} was made is forgotten: flips, holds, what was sent. Go on?", yes=yes)
        everything.unchecked_store.close()
        aside = put(file, copy, everything.clock.now())
    if as_json:
        answer_json({"put_back": str(copy), "aside": str(aside)})
    else:
        answer(f"{copy} is the database again; the one before lies in {aside}")
