"""Counts the messages of an archive that are stored as the server stores them: encrypted or compressed. Each segment is looked at once."""

from __future__ import annotations

import os

from failsafe.backup.archive.layout import path_of
from failsafe.backup.archive.staging import Staging
from failsafe.backup.inventory import Inventory
from failsafe.errors import ArchiveError
from failsafe.mail.headers import MAGIC_BYTES, Storage, storage_of
from failsafe.mail.maildir import ALPHABET

TABLE = "CREATE TABLE IF NOT EXISTS stored_as (segment TEXT PRIMARY KEY, encrypted INTEGER NOT NULL, compressed INTEGER NOT NULL)"


def count_stored(inventory: Inventory, staging: Staging) -> dict[str, int]:
    """How many messages on the disk are encrypted, how many compressed; kinds of which there are none are left out."""
    inventory.db.execute(TABLE)
    there = {str(row[0]) for row in inventory.rows("SELECT name FROM segment")}
    known = {str(row[0]) for row in inventory.rows("SELECT segment FROM stored_as")}
    inventory.db.executemany("DELETE FROM stored_as WHERE segment = ?", ((name,) for name in known - there))
    for name in sorted(there - known):
        try:
            inventory.db.execute("INSERT INTO stored_as VALUES (?, ?, ?)", (name, *_look(staging, name)))
        except (OSError, ArchiveError):
            continue  # a damaged one is `verify`'s to tell
    sums = inventory.rows("SELECT COALESCE(SUM(encrypted), 0), COALESCE(SUM(compressed), 0) FROM stored_as")[0]
    return {kind: int(count) for kind, count in zip(("encrypted", "compressed"), sums, strict=True) if count}


def stored_words(counts: object) -> list[str]:
    """Remarks on what `count_stored` gave."""
    found = counts.items() if isinstance(counts, dict) else ()
    return [f"{count} messages are stored as the server stores them: {kind}" for kind, count in found]


def crowded_words(inventory: Inventory) -> list[str]:
    """A remark where folders use every letter that a Maildir has for keywords: of further ones its files say nothing."""
    rows = inventory.rows("SELECT count(*) FROM folder WHERE json_array_length(letters) >= ?", ALPHABET)
    more = 'further keywords are in Dovecot\'s index files alone, and are kept only with read = "doveadm" or layout = "imap"'
    return [f"{rows[0][0]} folder(s) use all {ALPHABET} keyword letters of a Maildir: {more}"] if rows[0][0] else []


def _look(staging: Staging, name: str) -> tuple[int, int]:
    with (staging.archive.folder / path_of("segments", name)).open("rb") as file:
        handle = file.fileno()  # of a few bytes here and there, eight thousand more would be read for each
        kinds = [storage_of(os.pread(handle, MAGIC_BYTES, line.offset)) for line in staging.index(name)]
    return kinds.count(Storage.ENCRYPTED), kinds.count(Storage.COMPRESSED)
