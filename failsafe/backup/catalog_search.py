"""Questions to the catalog. A question is a value; an answer is a row for each message in each folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from failsafe.backup.catalog import Catalog
from failsafe.backup.catalog_paths import rows_of
from failsafe.backup.catalog_query import Query, matches_folder, matches_mailbox
from failsafe.backup.catalog_update import bytes_of, text_of
from failsafe.mail.headers import Headers

__all__ = ["Found", "Query", "folders_that_hold", "headers_of", "matches_folder", "matches_mailbox", "search"]


@dataclass(frozen=True, slots=True)
class Found:
    """A message in a folder, now or once."""

    id: str
    canonical: str
    server: str
    mailbox: str
    folder: str
    message_id: str
    sender: str
    recipient: str
    subject: str
    date: datetime | None
    internal_date: int  # seconds since the epoch
    flags: str  # Maildir letters
    keywords: tuple[str, ...]
    size: int
    first_seen_at: datetime
    last_seen_at: datetime
    gone_at: datetime | None
    first_generation: int
    last_generation: int  # the newest in whose manifests it is
    opaque: bool
    directory: str = ""  # of the folder below its mailbox, as on the server
    layout: str = "maildir++"  # of the mailbox
    headers_known: bool = True
    sealed: bool = False  # stored encrypted or compressed


def search(catalog: Catalog, query: Query, *, limit: int | None = None) -> Iterator[Found]:
    """The newest first. Raises StoreError; memory is one row, or `limit` rows."""
    with catalog.faults():
        for row in rows_of(catalog, query, limit):
            yield _found(row)


def folders_that_hold(catalog: Catalog, server: str, mailbox: str, ids: Sequence[str]) -> dict[str, frozenset[str]]:
    """id -> names of the folders of one mailbox that hold it now.

    CROSS JOIN keeps SQLite to this order: it would begin with the mailbox, and go through all ids for each of its messages.
    """
    with catalog.faults():
        rows = catalog.connection.execute(
            "SELECT m.digest, f.name FROM json_each(?) j CROSS JOIN message m ON m.digest = unhex_(j.value)"
            " CROSS JOIN place p ON p.message = m.id CROSS JOIN folder f ON f.id = p.folder JOIN mailbox b ON b.id = f.mailbox JOIN server s ON s.id = b.server"
            " WHERE p.gone IS NULL AND p.replaced = 0 AND b.name = ? AND s.name = ?",
            (json.dumps(list(ids)), bytes_of(mailbox), server),
        )
        held: dict[str, set[str]] = {}
        for digest, folder in rows:
            held.setdefault(digest.hex(), set()).add(text_of(folder))
    return {id_: frozenset(names) for id_, names in held.items()}


def headers_of(catalog: Catalog, ids: Sequence[str]) -> dict[str, Headers]:
    """id -> what is known of its headers (no date), for those it knows."""
    with catalog.faults():
        rows = catalog.connection.execute(
            "SELECT m.digest, m.message_id, m.sender, m.recipient, m.subject, m.opaque, m.sealed FROM json_each(?) j"
            " CROSS JOIN message m ON m.digest = unhex_(j.value)",
            (json.dumps(list(ids)),),
        )
        return {
            digest.hex(): Headers(message_id, sender, recipient, subject, opaque=bool(opaque), sealed=bool(sealed))
            for digest, message_id, sender, recipient, subject, opaque, sealed in rows
        }


def _found(row: tuple[object, ...]) -> Found:
    digest, canonical, server, mailbox, folder, message_id, sender, recipient, subject, date, internal_date, flags, keywords = (
        row[:13]
    )
    size, since, seen, gone, first_generation, last_generation, opaque, directory, layout, sealed = row[13:23]
    assert (
        isinstance(digest, bytes) and isinstance(canonical, bytes) and isinstance(folder, bytes) and isinstance(directory, bytes)
    )
    assert isinstance(mailbox, bytes)
    return Found(
        id=digest.hex(),
        canonical=canonical.hex(),
        server=str(server),
        mailbox=text_of(mailbox),
        folder=text_of(folder),
        message_id=str(message_id),
        sender=str(sender),
        recipient=str(recipient),
        subject=str(subject),
        date=_moment(date),
        internal_date=_number(internal_date),
        flags=str(flags),
        keywords=() if keywords == "[]" else tuple(json.loads(str(keywords))),
        size=_number(size),
        first_seen_at=_some(since),
        last_seen_at=_some(seen),
        gone_at=_moment(gone),
        first_generation=_number(first_generation),
        last_generation=_number(last_generation),
        opaque=bool(opaque),
        directory=text_of(directory),
        layout=str(layout),
        sealed=bool(sealed),
    )


def _number(value: object) -> int:
    assert isinstance(value, int)
    return value


def _some(value: object) -> datetime:
    return datetime.fromtimestamp(_number(value), UTC)


def _moment(value: object) -> datetime | None:
    """None for none, and for a date that no calendar has."""
    if value is None:
        return None
    try:
        return datetime.fromtimestamp(_number(value), UTC)
    except (ValueError, OverflowError, OSError):
        return None
