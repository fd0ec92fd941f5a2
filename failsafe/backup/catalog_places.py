"""Which mailboxes and folders the catalog knows: those that are there, and those that once were."""

from __future__ import annotations

from dataclasses import dataclass

from failsafe.backup.catalog import Catalog
from failsafe.backup.catalog_update import bytes_of, text_of


@dataclass(frozen=True, slots=True)
class KnownMailbox:
    server: str
    mailbox: str


def known_mailboxes(catalog: Catalog) -> tuple[KnownMailbox, ...]:
    """Sorted by mailbox. Raises StoreError."""
    with catalog.faults():
        rows = catalog.connection.execute("SELECT s.name, b.name FROM mailbox b JOIN server s ON s.id = b.server")
        found = [KnownMailbox(str(server), text_of(mailbox)) for server, mailbox in rows]
    return tuple(sorted(found, key=lambda known: (known.mailbox.casefold(), known.server)))


def known_folders(catalog: Catalog, of: KnownMailbox) -> dict[str, int]:
    """Folder -> messages in it now; 0 also for one that is no more. Raises StoreError."""
    with catalog.faults():
        rows = catalog.connection.execute(
            "SELECT f.name, (SELECT count(*) FROM place p WHERE p.folder = f.id AND p.gone IS NULL AND p.replaced = 0)"
            " FROM folder f JOIN mailbox b ON b.id = f.mailbox JOIN server s ON s.id = b.server WHERE s.name = ? AND b.name = ?",
            (of.server, bytes_of(of.mailbox)),
        )
        return dict(sorted((text_of(folder), int(now)) for folder, now in rows))
