"""Which entries of the inventory are no longer where they were: the conditions, for an entry `e`, and those that are nowhere at all."""
# ruff: noqa: S608 - the parts put into queries are our own constants

from __future__ import annotations

from collections.abc import Collection

from failsafe.backup.inventory import Inventory
from failsafe.backup.inventory_schema import index_seen

SAME = "s.folder = e.folder AND s.base = e.base AND s.size = e.size AND s.mtime = e.mtime AND s.twin = e.twin"
TOUCHED = "e.folder IN (SELECT folder FROM touched)"
VANISHED = f"{TOUCHED} AND e.gone_at IS NULL AND NOT EXISTS (SELECT 1 FROM seen s WHERE {SAME})"
KEY = "folder, base, size, mtime, twin"
ABSENT = f"temp.absent a CROSS JOIN entry e USING ({KEY})"  # once `find_absent` has been called: entries `e` that are VANISHED
# of an entry `e` in folder `f`: a file of that name is there, and in its mailbox none with the content that it had
REPLACED = (
    "EXISTS (SELECT 1 FROM seen s JOIN entry n USING (folder, base, size, mtime, twin) WHERE s.folder = e.folder AND s.base = e.base "
    "AND (s.size, s.mtime) <> (e.size, e.mtime)) AND NOT EXISTS (SELECT 1 FROM seen s JOIN entry n USING (folder, base, size, mtime, twin) "
    "JOIN folder g ON g.id = s.folder WHERE s.base = e.base AND n.content = e.content AND g.mailbox = f.mailbox)"
)
# a name alone says nothing of another folder, where imported mail has the same ones; in its own folder another content is REPLACED's
NOWHERE = (
    "NOT EXISTS (SELECT 1 FROM seen s JOIN folder g ON g.id = s.folder WHERE s.base = e.base "
    "AND (s.folder = e.folder OR (s.size = e.size AND s.mtime = e.mtime)) "
    "AND g.mailbox = (SELECT mailbox FROM folder WHERE id = e.folder))"
)


def find_absent(inventory: Inventory) -> None:
    """Table `absent`: the keys of entries that are no longer where they were. One walk over all of them, for all who ask afterwards."""
    inventory.db.execute("DROP TABLE IF EXISTS temp.absent")
    inventory.db.execute(f"CREATE TEMP TABLE absent AS SELECT {KEY} FROM entry e WHERE {VANISHED}")
    if inventory.count("absent"):
        index_seen(inventory.db)  # they are looked for elsewhere


def find_vanished(inventory: Inventory, excluded: Collection[int]) -> None:
    """Table `vanished`, from `absent`: entries whose name and content are nowhere in their mailbox. Clients without MOVE copy (to a new name) and
    expunge.
    """
    marks = ",".join(str(int(folder)) for folder in excluded) or "-1"
    for table in ("vanished", "kept"):
        inventory.db.execute(f"DROP TABLE IF EXISTS temp.{table}")
    inventory.db.execute(
        f"CREATE TEMP TABLE vanished AS SELECT f.mailbox, e.content, c.segment FROM {ABSENT} JOIN folder f ON f.id = e.folder "
        f"JOIN content c ON c.id = e.content WHERE e.folder NOT IN ({marks}) AND {NOWHERE}"
    )
    if not inventory.count("vanished"):
        return
    inventory.db.execute("CREATE INDEX temp.vanished_content ON vanished (content, mailbox)")
    inventory.db.execute(  # one walk over all entries, as there is no index of their contents
        "CREATE TEMP TABLE kept AS SELECT DISTINCT v.mailbox, v.content FROM entry e CROSS JOIN vanished v ON v.content = e.content "
        f"JOIN folder f ON f.id = e.folder AND f.mailbox = v.mailbox WHERE e.gone_at IS NULL AND (NOT {TOUCHED} "
        f"OR EXISTS (SELECT 1 FROM seen s WHERE {SAME}))"
    )
    inventory.db.execute("DELETE FROM vanished WHERE (mailbox, content) IN (SELECT mailbox, content FROM kept)")
