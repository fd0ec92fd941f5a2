"""Brings entries up to date with what was read over IMAP: what left, what of it is lost, guards, manifests.

Here a message is lost when its content is nowhere in its mailbox any more; by content, since UIDs and names say nothing across folders.
"""
# ruff: noqa: S608 - the parts put into queries are our own constants

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from failsafe.backup.archive.staging import Staging
from failsafe.backup.imap_awaited import Awaited
from failsafe.backup.imap_ledger import BY_UID, names_of
from failsafe.backup.inventory import Inventory, text
from failsafe.backup.keep import Keeper
from failsafe.backup.losses import Loss, Rebuilt
from failsafe.backup.stretch import Waiting
from failsafe.mail.manifest import FileRef

KEY = "folder, base, size, mtime, twin"
LOST = "NOT EXISTS (SELECT 1 FROM living v WHERE v.mailbox = l.mailbox AND v.canonical = l.canonical)"


class ImapKeeper(Keeper):
    """Keeper for a server that is read over IMAP. First `gather_leaving`, then the others."""

    def __init__(self, inventory: Inventory, staging: Staging, *, keeps_gone: bool = False) -> None:
        """`keeps_gone`: what is lost stays in the manifests, marked, also where no guard stands; until `drop_gone`."""
        super().__init__(inventory, staging)
        self._keeps_gone = keeps_gone
        self.awaited = Awaited(self.db)
        for name in ("leaving", "living"):
            self.db.execute(f"DROP TABLE IF EXISTS temp.{name}")
        self.db.execute(
            "CREATE TEMP TABLE leaving (folder INTEGER, base BLOB, size INTEGER, mtime INTEGER, twin INTEGER, mailbox INTEGER, "
            "content BLOB, canonical BLOB, PRIMARY KEY (folder, base, size, mtime, twin))"
        )
        self.db.execute(
            "CREATE TEMP TABLE living (mailbox INTEGER, canonical BLOB, PRIMARY KEY (mailbox, canonical)) WITHOUT ROWID"
        )

    def waiting_by_day(self) -> dict[int, Waiting]:
        return self.awaited.by_day()

    def waiting_by_mailbox(self) -> dict[str, Waiting]:
        return self.awaited.by_mailbox()

    def gather_leaving(self, gone_folders: Collection[int], excluded: Collection[int]) -> None:
        """What is no longer in its folder; entries of excluded folders go at once, and nobody calls that a loss."""
        for folder in excluded:
            self.db.execute("UPDATE folder SET dirty = 1 WHERE id = ? AND messages > 0", (folder,))
            self.db.execute("DELETE FROM entry WHERE folder = ?", (folder,))
        self.db.execute("CREATE TEMP TABLE IF NOT EXISTS gone_folder (folder INTEGER PRIMARY KEY)")
        self.db.execute("DELETE FROM gone_folder")
        self.db.executemany("INSERT INTO gone_folder VALUES (?)", ((folder,) for folder in {*gone_folders, *excluded}))
        columns = "e.folder, e.base, e.size, e.mtime, e.twin, f.mailbox, e.content, c.canonical"
        joined = "JOIN folder f ON f.id = e.folder JOIN content c ON c.id = e.content WHERE e.gone_at IS NULL"
        for source in (
            f"departed d CROSS JOIN entry e {BY_UID} ON e.folder = d.folder AND e.uid = d.uid {joined}",
            f"renumbered r CROSS JOIN entry e {BY_UID} ON e.folder = r.folder AND e.uid IS NULL {joined}",
            f"gone_folder g JOIN entry e ON e.folder = g.folder {joined}",
        ):
            self.db.execute(f"INSERT OR IGNORE INTO leaving SELECT {columns} FROM {source}")
        self.db.execute(
            "INSERT OR IGNORE INTO living SELECT f.mailbox, c.canonical FROM entry e JOIN folder f ON f.id = e.folder "
            "JOIN content c ON c.id = e.content WHERE e.gone_at IS NULL AND f.mailbox IN (SELECT mailbox FROM leaving UNION "
            "SELECT g.mailbox FROM entry x JOIN folder g ON g.id = x.folder WHERE x.gone_at IS NOT NULL) "
            f"AND ({KEY}) NOT IN (SELECT {KEY} FROM leaving)"
        )

    def loss_by_mailbox(self, present: Collection[str], now: datetime) -> tuple[Loss, ...]:
        """`present`: paths of mailboxes that are there."""

        def vanished(which: str) -> dict[int, int]:
            query = (
                f"SELECT l.mailbox, COUNT(*) FROM leaving l JOIN content c ON c.id = l.content WHERE {which} AND {LOST} "
                "GROUP BY l.mailbox"
            )
            return dict(self.inventory.rows(query))

        return self._losses(vanished, {}, present, now)

    def rebuilt_by(self, renewed: int, mailboxes_now: int) -> Rebuilt:
        """`renewed`: folders whose UIDVALIDITY is another than it was."""
        return Rebuilt(self.inventory.count("folder WHERE uid_validity IS NOT NULL"), renewed, len(self.before), mailboxes_now)

    def moves(self) -> tuple[int, int]:
        """(messages that came and are the same as one that left its folder in this mailbox, others that came)."""
        same = "EXISTS (SELECT 1 FROM folder f JOIN leaving l ON l.mailbox = f.mailbox WHERE f.id = a.folder AND l.content = a.content)"
        came = self.inventory.count("arrived")
        self.db.execute("CREATE INDEX IF NOT EXISTS temp.leaving_content ON leaving (mailbox, content)")
        moved = self.inventory.count(f"arrived a WHERE {same}")
        return moved, came - moved

    def let_leave(self, at: str) -> int:
        """What left leaves the manifests too, or is marked in them where a guard stands and it is lost. Gives how many left."""
        left = self.inventory.count("leaving")
        self.db.execute("UPDATE folder SET dirty = 1 WHERE id IN (SELECT folder FROM leaving)")
        kept = ",".join(str(folder) for folder in self._guarded_folders()) or "-1"
        which = "TRUE" if self._keeps_gone else f"folder IN ({kept})"
        self.db.execute(
            f"UPDATE entry SET gone_at = ? WHERE ({KEY}) IN (SELECT {KEY} FROM leaving l WHERE {which} AND {LOST})", (at,)
        )
        self.db.execute(f"DELETE FROM entry WHERE gone_at IS NULL AND ({KEY}) IN (SELECT {KEY} FROM leaving)")
        self._let_return()
        self._tidy_away()
        return left

    def drop_gone(self, before: str) -> None:
        """Lets go of what has been marked since before then (ISO 8601, UTC)."""
        which = "gone_at IS NOT NULL AND gone_at < ?"
        self.db.execute(f"UPDATE folder SET dirty = 1 WHERE id IN (SELECT folder FROM entry WHERE {which})", (before,))
        self.db.execute(f"DELETE FROM entry WHERE {which}", (before,))

    def _let_return(self) -> None:
        """What had vanished under a guard and is in its mailbox again is no longer gone."""
        back = (
            "FROM entry AS e WHERE e.gone_at IS NOT NULL AND EXISTS (SELECT 1 FROM folder f JOIN content c ON c.id = e.content "
            "JOIN living v ON v.mailbox = f.mailbox AND v.canonical = c.canonical WHERE f.id = e.folder)"
        )
        self.db.execute(f"UPDATE folder SET dirty = 1 WHERE id IN (SELECT e.folder {back})")
        self.db.execute(f"DELETE {back}")

    def _tidy_away(self) -> None:
        empty = "SELECT g.folder FROM gone_folder g WHERE NOT EXISTS (SELECT 1 FROM entry e WHERE e.folder = g.folder)"
        self.db.execute(f"UPDATE mailbox SET dirty = 1 WHERE id IN (SELECT mailbox FROM folder WHERE id IN ({empty}))")
        self.db.execute(f"DELETE FROM imap_left_out WHERE folder IN ({empty})")
        self.db.execute(f"DELETE FROM imap_folder WHERE folder IN ({empty})")
        self.db.execute(f"DELETE FROM imap_use WHERE folder IN ({empty})")
        self.db.execute(f"DELETE FROM folder WHERE id IN ({empty})")
        self._lift_returned()
        self.db.execute("DELETE FROM imap_identity WHERE mailbox NOT IN (SELECT id FROM mailbox)")

    def _names(self, mailbox: int, files: tuple[FileRef, ...]) -> dict[str, tuple[str, bool]]:  # noqa: ARG002 - IMAP says it itself
        return dict(names_of(self.inventory, mailbox))

    def _uses(self, mailbox: int) -> dict[str, tuple[str, ...]]:
        rows = self.inventory.rows(
            "SELECT f.directory, u.uses FROM folder f JOIN imap_use u ON u.folder = f.id WHERE f.mailbox = ?", mailbox
        )
        return {text(directory): tuple(uses.split()) for directory, uses in rows}

    def _letters(self, known: str) -> tuple[str, ...]:  # noqa: ARG002 - letters are our own here
        return ()
