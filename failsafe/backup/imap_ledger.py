"""What the inventory keeps of mailboxes that are read over IMAP: folders by name and state, messages by UID, contents by identity.

Two tables beside the inventory's own; entries are the same as for files, so that manifests, guards and `accept` are the same too.
"""
# ruff: noqa: S608 - the parts put into queries are our own constants

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from failsafe.backup.archive.staging import Staging
from failsafe.backup.imap_plan import Known
from failsafe.backup.inventory import Inventory, mailbox_name, raw, text
from failsafe.mail.imap import entry_name, folder_directory_among, split_flags
from failsafe.mail.maildir import INBOX, folder_name, keyword_letter
from failsafe.ports import FolderState, SourceMessage

LAYOUT = "maildir++"  # what rebuild.py writes: the layout that most servers read
SCHEMA = (
    """CREATE TABLE IF NOT EXISTS imap_folder (folder INTEGER PRIMARY KEY, name BLOB NOT NULL, subscribed INTEGER NOT NULL DEFAULT 0,
    uid_next INTEGER, messages INTEGER, modseq INTEGER, lacking TEXT NOT NULL DEFAULT '[]')""",
    "CREATE TABLE IF NOT EXISTS imap_use (folder INTEGER PRIMARY KEY, uses TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS imap_identity (mailbox INTEGER NOT NULL, identity BLOB NOT NULL, size INTEGER NOT NULL,
    internal_date INTEGER NOT NULL, content BLOB NOT NULL, stored INTEGER NOT NULL, header BLOB, PRIMARY KEY (mailbox, identity)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS imap_left_out (folder INTEGER NOT NULL, uid INTEGER NOT NULL, internal_date INTEGER,
    PRIMARY KEY (folder, uid)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS imap_identity_content ON imap_identity (mailbox, content)",
    "CREATE TEMP TABLE IF NOT EXISTS told (uid INTEGER PRIMARY KEY, mtime INTEGER NOT NULL)",
    "CREATE TEMP TABLE IF NOT EXISTS departed (folder INTEGER, uid INTEGER, PRIMARY KEY (folder, uid)) WITHOUT ROWID",
    "CREATE TEMP TABLE IF NOT EXISTS renumbered (folder INTEGER PRIMARY KEY)",
    "CREATE TEMP TABLE IF NOT EXISTS arrived (folder INTEGER, uid INTEGER, content BLOB, PRIMARY KEY (folder, uid)) WITHOUT ROWID",
)
BY_UID = "INDEXED BY entry_uid"  # said each time: the planner takes the folder alone for narrow enough, and reads all of it
SPECIAL = frozenset({"\\all", "\\archive", "\\drafts", "\\flagged", "\\important", "\\junk", "\\sent", "\\trash"})
FEW = 200  # UIDs that are looked for one by one
OF_SESSION = ("told", "departed", "renumbered", "arrived")
PRESENT = "e.gone_at IS NULL AND e.uid IS NOT NULL AND NOT EXISTS (SELECT 1 FROM departed d WHERE d.folder = e.folder AND d.uid = e.uid)"


@dataclass(frozen=True, slots=True)
class Same:
    """A stored message that another one may be the same as."""

    id: str
    size: int
    header: bytes | None  # SHA-256


class ImapLedger:
    """Works on one inventory during one pull. Commits nothing: that is done when segments are sealed, and at the end."""

    def __init__(self, inventory: Inventory, staging: Staging, *, fresh: bool) -> None:
        self.inventory, self.staging, self.db = inventory, staging, inventory.db
        self._words: dict[int, list[str]] = {}  # keywords by folder, in the order of their letters
        self.strange: set[str] = set()  # flags that nobody defined
        self.pending: dict[str, int] = {}  # contents in the segment that is still open, and their sizes
        for statement in SCHEMA:
            self.db.execute(statement)
        for table in OF_SESSION:
            self.db.execute(f"DELETE FROM {table}")
        if fresh or inventory.get("way") != "imap":
            self._begin_anew()
            inventory.put("way", "imap")

    def _begin_anew(self) -> None:
        """The inventory was made anew from the archive, or files were read until now: names come from the manifests, states from nowhere.

        UIDs of messages that were read as files count for nothing: a server's files may hold other bytes than it shows.
        """
        self.db.execute("DELETE FROM imap_folder")
        self.db.execute("DELETE FROM imap_use")
        self.db.execute("DELETE FROM imap_identity")
        self.db.execute("DELETE FROM imap_left_out")
        self.db.execute("UPDATE entry SET uid = NULL WHERE CAST(base AS TEXT) NOT GLOB '*.V[0-9]*U[0-9]*.imap'")
        newest = self.staging.newest()
        for number, path in self.inventory.rows("SELECT id, path FROM mailbox"):
            name = mailbox_name(text(path))
            if newest is None or name not in newest.mailboxes:
                continue
            for folder in self.staging.archive.mailbox(newest, name).folders:
                row = self.inventory.folder_id(number, folder.directory)
                values = (row, raw(folder.name), folder.subscribed)
                self.db.execute("INSERT OR REPLACE INTO imap_folder (folder, name, subscribed) VALUES (?, ?, ?)", values)
                self.note_uses(row, folder.uses)

    # -- folders ---------------------------------------------------------------------------------------------------------

    def mailbox_id(self, mailbox: str) -> int:
        return self.inventory.mailbox_id(path_of_mailbox(mailbox), LAYOUT)

    def folder(self, mailbox: int, name: str) -> Known:
        """Finds or adds it."""
        rows = self.inventory.rows(
            "SELECT f.id, f.uid_validity, f.cur, i.uid_next, i.messages, i.modseq, i.lacking FROM folder f JOIN imap_folder i "
            "ON i.folder = f.id WHERE f.mailbox = ? AND i.name = ?",
            mailbox,
            raw(name),
        )
        if not rows:
            return Known(self._add(mailbox, name), name)
        ((number, validity, whole, uid_next, messages, modseq, lacking),) = rows
        state = None if whole is None or validity is None else FolderState(validity, uid_next, messages, modseq)
        return Known(number, name, validity, state, tuple(json.loads(lacking)))

    def folders(self, mailbox: int) -> dict[str, int]:
        rows = self.inventory.rows(
            "SELECT i.name, f.id FROM folder f JOIN imap_folder i ON i.folder = f.id WHERE f.mailbox = ?", mailbox
        )
        return {text(name): number for name, number in rows}

    def _add(self, mailbox: int, name: str) -> int:
        taken = {text(row[0]) for row in self.inventory.rows("SELECT directory FROM folder WHERE mailbox = ?", mailbox)}
        directory = folder_directory_among(name, taken if name != INBOX else ())
        number = self.inventory.folder_id(mailbox, directory)
        self.db.execute("INSERT OR REPLACE INTO imap_folder (folder, name) VALUES (?, ?)", (number, raw(name)))
        self.db.execute("UPDATE mailbox SET dirty = 1 WHERE id = ?", (mailbox,))
        return number

    def subscribe(self, folder: int, *, subscribed: bool) -> None:
        changed = "UPDATE imap_folder SET subscribed = ? WHERE folder = ? AND subscribed <> ?"
        if self.db.execute(changed, (subscribed, folder, subscribed)).rowcount:
            self.db.execute("UPDATE mailbox SET dirty = 1 WHERE id = (SELECT mailbox FROM folder WHERE id = ?)", (folder,))

    def note_uses(self, folder: int, uses: Collection[str]) -> None:
        """What the server says that the folder is for; what is no special use (RFC 6154) is left out."""
        told = " ".join(sorted(SPECIAL.intersection(uses)))
        ((known,),) = self.inventory.rows("SELECT COALESCE((SELECT uses FROM imap_use WHERE folder = ?), '')", folder)
        if told != known:
            self.db.execute("INSERT OR REPLACE INTO imap_use VALUES (?, ?)", (folder, told))
            self.db.execute("UPDATE mailbox SET dirty = 1 WHERE id = (SELECT mailbox FROM folder WHERE id = ?)", (folder,))

    def begin_folder(self, folder: int, uid_validity: int, *, anew: bool) -> None:
        """From here on its UIDs are of this UIDVALIDITY; with `anew`, those of before stand for nothing any more."""
        if anew:
            self.db.execute("UPDATE entry SET uid = NULL WHERE folder = ?", (folder,))
            self.db.execute("DELETE FROM departed WHERE folder = ?", (folder,))
            self.db.execute("DELETE FROM imap_left_out WHERE folder = ?", (folder,))
            self.db.execute("UPDATE imap_folder SET lacking = '[]' WHERE folder = ?", (folder,))
        changed = "UPDATE folder SET uid_validity = ?, cur = NULL, dirty = 1 WHERE id = ? AND uid_validity IS NOT ?"
        self.db.execute(changed, (uid_validity, folder, uid_validity))
        if anew:  # until it has been read to its end
            self.db.execute("UPDATE folder SET cur = NULL, dirty = 1 WHERE id = ?", (folder,))

    def doubt(self, folder: int) -> None:
        """Messages come into it before it is read as a whole: the newest UID is no witness then, so next time all of it is compared."""
        self.db.execute("UPDATE folder SET cur = NULL WHERE id = ?", (folder,))

    def end_folder(self, folder: int, state: FolderState | None, lacking: Sequence[int], at: str) -> None:
        """`state` None: it was not read to its end, and is compared as a whole next time."""
        if state is None:
            self.doubt(folder)
            return
        values = (state.uid_next, state.messages, state.modseq, json.dumps(sorted(lacking)), folder)
        self.db.execute("UPDATE imap_folder SET uid_next = ?, messages = ?, modseq = ?, lacking = ? WHERE folder = ?", values)
        self.db.execute("UPDATE folder SET cur = 1, new = 1 WHERE id = ?", (folder,))
        if not lacking:
            self.db.execute("UPDATE folder SET proved_at = ? WHERE id = ?", (at, folder))
        moved_on = self.db.execute(
            "UPDATE folder SET uid_next = ? WHERE id = ? AND uid_next IS NOT ?", (state.uid_next, folder, state.uid_next)
        )
        if moved_on.rowcount:
            self.db.execute("UPDATE mailbox SET dirty = 1 WHERE id = (SELECT mailbox FROM folder WHERE id = ?)", (folder,))

    # -- messages --------------------------------------------------------------------------------------------------------

    def uids(self, folder: int) -> set[int]:
        return {row[0] for row in self.db.execute(f"SELECT e.uid FROM entry e WHERE e.folder = ? AND {PRESENT}", (folder,))}

    def lacks(self, folder: int, uids: Collection[int]) -> list[int]:
        """Those that are to be stored and are not."""
        left_out = self._left_out(folder)
        if len(uids) > FEW:
            mine = self.uids(folder)
            return [uid for uid in uids if uid not in mine and uid not in left_out]
        found = f"entry e {BY_UID} WHERE e.folder = ? AND e.uid = ? AND {PRESENT}"
        return [uid for uid in uids if uid not in left_out and not self.inventory.count(found, folder, uid)]

    def count(self, folder: int) -> int:
        """Of the messages there that are known, stored or left out."""
        stored = self.inventory.count(f"entry e WHERE e.folder = ? AND {PRESENT}", folder)
        return stored + self.inventory.count("imap_left_out WHERE folder = ?", folder)

    # -- what is there and is not archived -------------------------------------------------------------------------------

    def leave_out(self, folder: int, uid: int, internal_date: int | None = None) -> None:
        """`internal_date` in seconds, of a message that is too old; None for one that is nobody's mail (a canary)."""
        self.db.execute("INSERT OR REPLACE INTO imap_left_out VALUES (?, ?, ?)", (folder, uid, internal_date))

    def reconsider(self, since: int | None) -> None:
        """What was too old and is not any more, `since` now, is wanted again; folders that had such are compared as a whole."""
        which = "internal_date IS NOT NULL" if since is None else f"internal_date >= {int(since)}"
        self.db.execute(f"UPDATE folder SET cur = NULL WHERE id IN (SELECT folder FROM imap_left_out WHERE {which})")
        self.db.execute(f"DELETE FROM imap_left_out WHERE {which}")

    def keep_left_out(self, folder: int, there: Collection[int]) -> None:
        """Of a folder that was listed as a whole."""
        gone = self._left_out(folder).difference(there)
        self.db.executemany("DELETE FROM imap_left_out WHERE folder = ? AND uid = ?", ((folder, uid) for uid in gone))

    def _left_out(self, folder: int) -> set[int]:
        return {row[0] for row in self.db.execute("SELECT uid FROM imap_left_out WHERE folder = ?", (folder,))}

    # -- messages that are stored ----------------------------------------------------------------------------------------

    def tell(self, folder: int, told: Iterable[tuple[int, frozenset[str], int | None]]) -> tuple[int, list[int]]:
        """(uid, flags, internal date or None) as the server has them now. Gives how many changed, and UIDs that stand for another message."""
        rows = [(uid, self._letters(folder, flags), date) for uid, flags, date in told]
        dated = [(uid, date) for uid, _, date in rows if date is not None]
        self.db.execute("DELETE FROM told")
        self.db.executemany("INSERT OR REPLACE INTO told VALUES (?, ?)", dated)
        other = f"SELECT t.uid FROM told t CROSS JOIN entry e {BY_UID} ON e.folder = ? AND e.uid = t.uid WHERE e.gone_at IS NULL AND t.mtime <> e.mtime"
        replaced = [row[0] for row in self.inventory.rows(other, folder)]
        changed = self.db.executemany(
            f"UPDATE entry {BY_UID} SET letters = ?3 WHERE folder = ?1 AND uid = ?2 AND letters <> ?3 AND gone_at IS NULL",
            ((folder, uid, letters) for uid, letters, _ in rows),
        ).rowcount
        if changed > 0:
            self._dirty(folder)
        return max(0, changed), replaced

    def depart(self, folder: int, ranges: Iterable[tuple[int, int]]) -> None:
        """UIDs that are no longer there; their entries stay until the end of the pull, when losses are judged."""
        ranges = list(ranges)
        self.db.executemany(
            "DELETE FROM imap_left_out WHERE folder = ? AND uid BETWEEN ? AND ?",
            ((folder, first, last) for first, last in ranges),
        )
        self.db.executemany(
            f"INSERT OR IGNORE INTO departed SELECT folder, uid FROM entry {BY_UID} WHERE folder = ?1 AND uid BETWEEN ?2 AND ?3 "
            "AND gone_at IS NULL",
            ((folder, first, last) for first, last in ranges),
        )

    def void(self, folder: int, uids: Iterable[int]) -> None:
        """These UIDs stand for other messages now."""
        query = f"UPDATE entry {BY_UID} SET uid = NULL WHERE folder = ? AND uid = ?"
        self.db.executemany(query, ((folder, uid) for uid in uids))

    def stay(self, mailbox: int) -> None:
        """Nothing is to leave this mailbox: it was not read to its end."""
        for table in ("departed", "renumbered"):
            self.db.execute(f"DELETE FROM {table} WHERE folder IN (SELECT id FROM folder WHERE mailbox = ?)", (mailbox,))

    def depart_unnumbered(self, folder: int) -> None:
        """The whole folder has been read: what has no UID in it is from before its UIDs began anew."""
        self.db.execute("INSERT OR IGNORE INTO renumbered VALUES (?)", (folder,))

    def newest(self, folder: int) -> int | None:
        """The highest UID that is stored and there."""
        query = f"SELECT MAX(e.uid) FROM entry e {BY_UID} WHERE e.folder = ? AND {PRESENT}"
        found = self.inventory.rows(query, folder)[0][0]
        return None if found is None else int(found)

    def put(self, folder: int, message: SourceMessage, uid_validity: int, id_: str, size: int) -> None:
        """A message of that UID. One that is known by the same UID from before UIDs began anew is the same entry if its content is."""
        date, content = seconds_of(message), bytes.fromhex(id_)
        name = raw(entry_name(date, uid_validity, message.uid))
        letters = self._letters(folder, message.flags)
        self._dirty(folder)
        alike = self.inventory.rows(
            "SELECT twin, content FROM entry WHERE folder = ? AND base = ? AND size = ? AND mtime = ?", folder, name, size, date
        )
        for twin, other in alike:
            if other == content:
                key = (folder, name, size, date, twin)
                same = "UPDATE entry SET uid = ?, letters = ?, gone_at = NULL WHERE folder = ? AND base = ? AND size = ? AND mtime = ? AND twin = ?"
                self.db.execute(same, (message.uid, letters, *key))
                return
        self.db.execute(
            "INSERT INTO entry VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?, NULL)",
            (folder, name, size, date, max((twin for twin, _ in alike), default=-1) + 1, letters, message.uid, content),
        )
        self.db.execute("INSERT OR REPLACE INTO arrived VALUES (?, ?, ?)", (folder, message.uid, content))

    def take_back(self, folder: int, uid: int) -> None:
        """An entry of this pull that turned out not to be trusted."""
        for table in ("entry", "arrived"):
            self.db.execute(f"DELETE FROM {table} WHERE folder = ? AND uid = ?", (folder, uid))

    def content_of(self, mailbox: int, message: SourceMessage) -> Same | None:
        """What is stored of a message that the server calls the same. Its size and date must agree with that, too."""
        if not message.identity:
            return None
        found = self.inventory.rows(
            "SELECT content, stored, header FROM imap_identity WHERE mailbox = ? AND identity = ? AND size = ? AND internal_date = ?",
            mailbox,
            raw(message.identity),
            message.size,
            seconds_of(message),
        )
        if not found or not (message.certain or found[0][2]):
            return None
        id_ = found[0][0].hex()
        return Same(id_, found[0][1], found[0][2]) if id_ in self.pending or self.inventory.has_content(id_) else None

    def remember(self, mailbox: int, message: SourceMessage, id_: str, size: int, header: bytes | None) -> None:
        """`header` is its SHA-256, None where nobody needs it."""
        if message.identity:
            values = (mailbox, raw(message.identity), message.size, seconds_of(message), bytes.fromhex(id_), size, header)
            self.db.execute("INSERT OR REPLACE INTO imap_identity VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def recall(self, mailbox: int, folder: int, messages: Iterable[SourceMessage]) -> set[int]:
        """Notes identities of messages that are stored, as after the inventory was lost. Gives UIDs whose message has another one than before."""
        other = set()
        for message in messages:
            if not message.certain:
                continue
            rows = self.inventory.rows(
                f"SELECT content, size FROM entry {BY_UID} WHERE folder = ? AND uid = ? AND gone_at IS NULL", folder, message.uid
            )
            for content, size in rows:
                same = self.inventory.rows(
                    "SELECT content = ? FROM imap_identity WHERE mailbox = ? AND identity = ?",
                    content,
                    mailbox,
                    raw(message.identity),
                )
                known = bool(same) or self.inventory.count("imap_identity WHERE mailbox = ? AND content = ?", mailbox, content)
                if known and same != [(1,)]:
                    other.add(message.uid)
                elif not known:
                    self.remember(mailbox, message, content.hex(), size, None)
        return other

    def _letters(self, folder: int, flags: frozenset[str]) -> str:
        letters, keywords, strange = split_flags(flags)
        self.strange |= strange
        if not keywords:
            return letters
        if folder not in self._words:
            ((known,),) = self.inventory.rows("SELECT letters FROM folder WHERE id = ?", folder)
            self._words[folder] = json.loads(known)
        words = self._words[folder]
        added = sorted(keywords - set(words))
        if added:
            words += added
            self.db.execute("UPDATE folder SET letters = ? WHERE id = ?", (json.dumps(words), folder))
        return "".join(sorted([*letters, *(keyword_letter(words.index(word)) for word in keywords)]))

    def _dirty(self, folder: int) -> None:
        self.db.execute("UPDATE folder SET dirty = 1 WHERE id = ?", (folder,))


def path_of_mailbox(mailbox: str) -> str:
    """DOMAIN/USER, as mailboxes lie on servers that have files."""
    user, _, domain = mailbox.rpartition("@")
    return f"{domain}/{user}" if user else domain


def seconds_of(message: SourceMessage) -> int:
    return 0 if message.internal_date is None else int(message.internal_date.timestamp())


def names_of(inventory: Inventory, mailbox: int) -> Iterator[tuple[str, tuple[str, bool]]]:
    """directory -> (name, subscribed) of each folder of a mailbox."""
    rows = inventory.rows(
        "SELECT f.directory, i.name, i.subscribed FROM folder f LEFT JOIN imap_folder i ON i.folder = f.id WHERE f.mailbox = ?",
        mailbox,
    )
    for directory, name, subscribed in rows:
        yield text(directory), (folder_name(text(directory)) if name is None else text(name), bool(subscribed))
