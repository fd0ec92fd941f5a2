"""What a long pull over IMAP has seen on the server and not read yet: a table that lasts as long as the pull."""
# ruff: noqa: S608 - the parts put into queries are our own constants

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from failsafe.backup.imap_ledger import BY_UID, seconds_of
from failsafe.backup.inventory import mailbox_name, text
from failsafe.backup.stretch import DAY, Slice, Waiting
from failsafe.ports import SourceMessage

# of a row `a`: it is not here. Looked up by UID and never noted: however a message came, it counts as here
NOT_HERE = f"NOT EXISTS (SELECT 1 FROM entry e {BY_UID} WHERE e.folder = a.folder AND e.uid = a.uid AND e.gone_at IS NULL)"


class Awaited:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        db.execute("DROP TABLE IF EXISTS temp.awaited")
        db.execute(
            "CREATE TEMP TABLE awaited (folder INTEGER NOT NULL, uid INTEGER NOT NULL, size INTEGER NOT NULL, date INTEGER NOT NULL, "
            "PRIMARY KEY (folder, uid)) WITHOUT ROWID"
        )

    def add(self, folder: int, messages: Iterable[SourceMessage]) -> None:
        rows = ((folder, message.uid, message.size, seconds_of(message)) for message in messages)
        self._db.executemany("INSERT OR REPLACE INTO awaited VALUES (?, ?, ?, ?)", rows)

    def uids(self, folder: int, part: Slice) -> list[int]:
        """Those of this age, the newest first."""
        query = (
            f"SELECT a.uid FROM awaited a WHERE a.folder = ? AND a.date >= ? AND a.date < ? AND {NOT_HERE} ORDER BY a.uid DESC"
        )
        return [row[0] for row in self._db.execute(query, (folder, *part))]

    def mailboxes(self, part: Slice) -> list[str]:
        """Those of which something of this age has not come, in order of their names."""
        query = (
            "SELECT DISTINCT m.path FROM awaited a JOIN folder f ON f.id = a.folder JOIN mailbox m ON m.id = f.mailbox "
            f"WHERE a.date >= ? AND a.date < ? AND {NOT_HERE}"
        )
        return sorted(mailbox_name(text(path)) for (path,) in self._db.execute(query, part))

    def by_day(self) -> dict[int, Waiting]:
        """By the day of its date (seconds since 1970 // 86,400)."""
        query = f"SELECT a.date / {DAY}, COUNT(*), SUM(a.size) FROM awaited a WHERE {NOT_HERE} GROUP BY 1"
        return {int(day): Waiting(count, size) for day, count, size in self._db.execute(query)}

    def by_mailbox(self) -> dict[str, Waiting]:
        query = (
            "SELECT m.path, COUNT(*), SUM(a.size) FROM awaited a JOIN folder f ON f.id = a.folder JOIN mailbox m ON m.id = f.mailbox "
            f"WHERE {NOT_HERE} GROUP BY m.id"
        )
        return {mailbox_name(text(path)): Waiting(count, size) for path, count, size in self._db.execute(query)}
