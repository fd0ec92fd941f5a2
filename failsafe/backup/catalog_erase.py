"""Takes mailboxes out of the catalog to the last byte: rows, words, free pages. What other mailboxes hold stays found there."""

from __future__ import annotations

import json
from collections.abc import Callable

from failsafe.backup.catalog import Catalog
from failsafe.backup.catalog_update import indexed, text_of, transaction


def mailboxes_in(catalog: Catalog, server: str) -> tuple[str, ...]:
    """Every mailbox of a server that it has ever seen."""
    with catalog.faults():
        rows = catalog.connection.execute(
            "SELECT b.name FROM mailbox b JOIN server s ON s.id = b.server WHERE s.name = ? ORDER BY b.name", (server,)
        )
        return tuple(text_of(name) for (name,) in rows)


def erase_mailboxes(catalog: Catalog, server: str, covers: Callable[[str], bool]) -> int:
    """Gives how many messages are no longer known. A kill leaves all of them or none; to run it again wipes what a kill left in free pages."""
    db = catalog.connection
    with catalog.faults():
        db.execute("PRAGMA secure_delete = ON")
        with transaction(db):
            rows = db.execute("SELECT b.id, b.name FROM mailbox b JOIN server s ON s.id = b.server WHERE s.name = ?", (server,))
            doomed = json.dumps([id_ for id_, name in rows.fetchall() if covers(text_of(name))])
            gone = _delete(catalog, doomed)
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return gone


def _delete(catalog: Catalog, mailboxes: str) -> int:
    """`mailboxes`: their ids, as JSON."""
    db = catalog.connection
    folders = "SELECT id FROM folder WHERE mailbox IN (SELECT value FROM json_each(?))"
    db.execute("CREATE TEMP TABLE IF NOT EXISTS doomed (message INTEGER PRIMARY KEY)")
    db.execute("DELETE FROM doomed")
    db.execute(f"INSERT OR IGNORE INTO doomed SELECT message FROM place WHERE folder IN ({folders})", (mailboxes,))  # noqa: S608
    for table in ("place", "shard"):
        db.execute(f"DELETE FROM {table} WHERE folder IN ({folders})", (mailboxes,))  # noqa: S608 - our own names
    db.execute("DELETE FROM folder WHERE mailbox IN (SELECT value FROM json_each(?))", (mailboxes,))
    db.execute("DELETE FROM mailbox WHERE id IN (SELECT value FROM json_each(?))", (mailboxes,))
    orphans = "SELECT d.message FROM doomed d WHERE NOT EXISTS (SELECT 1 FROM place p WHERE p.message = d.message)"
    gone = db.execute(f"DELETE FROM message WHERE id IN ({orphans})").rowcount  # noqa: S608
    if gone:
        renew_words(catalog)
    return gone


def renew_words(catalog: Catalog) -> None:
    """The index of words keeps parts of what was deleted from it until chance merges them away: it is made anew from what is left."""
    db = catalog.connection
    db.create_function("indexed_", 1, indexed, deterministic=True)
    db.execute("INSERT INTO words (words) VALUES ('delete-all')")
    db.execute(
        "INSERT INTO words (rowid, sender, recipient, subject) "
        "SELECT id, indexed_(sender), indexed_(recipient), indexed_(subject) FROM message"
    )
