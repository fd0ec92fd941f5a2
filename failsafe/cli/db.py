"""`failsafe db upgrade`."""

from __future__ import annotations

from failsafe.cli.common import JSON_OPTION, answer, answer_json, open_app, verbs_app

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
