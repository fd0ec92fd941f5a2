"""Takes one generation into the catalog: only the mailboxes and shards that changed are read, and of those only new messages' headers.

A mailbox is a transaction, the server's generation number the last one. Rows are asked for and written by hundreds: a flag change in
each of a hundred shards touches 50,000 rows.
"""
# ruff: noqa: S608 - the parts put into queries are our own constants

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from failsafe.backup.archive import Archive, Location
from failsafe.backup.archive.layout import UIDS_PER_SHARD, path_of
from failsafe.backup.archive.segment import read_range
from failsafe.errors import ArchiveError
from failsafe.mail.headers import HEAD_BYTES, HEAD_LIMIT, Headers, head_is_whole, parse_headers
from failsafe.mail.manifest import Entry, FolderManifest, Generation, MailboxManifest

PARSED_AT_ONCE = 50_000  # new messages looked for in one walk over a mailbox's index files: 6 MB
FAMILIAR = 200  # old shards whose messages are held in memory: 10 MB
ASKED_AT_ONCE = 500  # values in one query; SQLite takes 999 in its oldest limit
PRESENT = "UPDATE place SET shard = ?1 WHERE id = ?2"  # nothing else about it changed
CHANGED = (
    "UPDATE place SET shard = ?1, uid = ?2, internal_date = ?3, flags = ?4, keywords = ?5, last_generation = NULL, gone = ?6, "
    "last_seen = CASE WHEN ?6 IS NULL THEN NULL ELSE coalesce(last_seen, ?7) END WHERE id = ?8"
)
AWAY = "UPDATE place SET replaced = 1 WHERE id = ?"  # it was away and is back: a presence of its own
ADDED = (
    "INSERT INTO place (shard, uid, internal_date, flags, keywords, folder, message, name, known_since, first_seen, first_generation, gone, "
    "last_seen) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"
)


@dataclass(frozen=True, slots=True)
class _Known:
    """A place as the catalog has it."""

    id: int
    shard: int | None
    facts: tuple[object, ...]  # uid, internal date, flags, keywords
    gone: int | None
    ended: bool  # it has a last generation
    known_since: int


class Enough(Exception):
    """Whoever asked for the update wants no more of it now; what was taken in stays, and the next one goes on from there."""


class Update:
    """One generation of one server. `enough` is asked between transactions; True raises Enough. `leaves_out`: mailboxes that were erased."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        archive: Archive,
        generation: Generation,
        enough: Callable[[], bool] = lambda: False,
        leaves_out: Callable[[str], bool] = lambda _mailbox: False,
    ) -> None:
        self.db, self.archive, self.generation, self._enough, self._leaves_out = (
            connection,
            archive,
            generation,
            enough,
            leaves_out,
        )
        self.at = seconds(generation.at)
        self._left: list[tuple[int, int, Entry]] = []  # (folder, shard, entry) that the shard has no more

    def run(self) -> None:
        with transaction(self.db):
            self.db.execute("INSERT OR IGNORE INTO server (name) VALUES (?)", (self.generation.server,))
        row = self.db.execute(
            "SELECT id, generation, generation_at FROM server WHERE name = ?", (self.generation.server,)
        ).fetchone()
        self.server, self.before, self.before_at = int(row[0]), int(row[1]), row[2]
        if self.generation.number <= self.before and (self.before_at is None or self.at <= self.before_at):
            return
        for mailbox, manifest_name in self.generation.mailboxes.items():
            if not self._leaves_out(mailbox):
                self._mailbox(mailbox, manifest_name)
        known = self.db.execute(
            "SELECT id, name FROM mailbox WHERE server = ? AND manifest IS NOT NULL", (self.server,)
        ).fetchall()
        with transaction(self.db):
            for id_, name in known:
                if text_of(name) not in self.generation.mailboxes:
                    self._close_mailbox(id_)
            self.db.execute(
                "UPDATE server SET generation = ?, generation_at = ? WHERE id = ?", (self.generation.number, self.at, self.server)
            )

    def _mailbox(self, name: str, manifest_name: str) -> None:
        query = "SELECT id, manifest FROM mailbox WHERE server = ? AND name = ?"
        row = self.db.execute(query, (self.server, bytes_of(name))).fetchone()
        if row is not None and row[1] == manifest_name:
            return
        manifest = self.archive.manifest(manifest_name)
        known = {} if row is None else self._known_shards(row[0])
        for folder in manifest.folders:
            fresh = (shard for shard in folder.shards if (folder.name, shard) not in known)
            self._learn(manifest, folder, fresh, self._familiar(_replaced(folder, known)))
        with transaction(self.db):
            id_ = self._row_id("mailbox", "server", self.server, bytes_of(name))
            kept: set[int] = set()
            self._left = []
            for folder in manifest.folders:
                kept |= self._folder(id_, folder, known)
            self._close_left()
            for shard in set(known.values()) - kept:
                self._close("shard = ?", shard)
                self.db.execute("DELETE FROM shard WHERE id = ?", (shard,))
            self.db.execute("UPDATE mailbox SET manifest = ?, layout = ? WHERE id = ?", (manifest_name, manifest.layout, id_))

    def _known_shards(self, mailbox: int) -> dict[tuple[str, str], int]:
        rows = self.db.execute(
            "SELECT f.name, s.name, s.id FROM shard s JOIN folder f ON f.id = s.folder WHERE f.mailbox = ?", (mailbox,)
        )
        return {(text_of(folder), shard): int(id_) for folder, shard, id_ in rows}

    def _folder(self, mailbox: int, folder: FolderManifest, known: Mapping[tuple[str, str], int]) -> set[int]:
        """Takes in the shards that are new; gives the ids of all shards that the folder has now."""
        id_ = self._row_id("folder", "mailbox", mailbox, bytes_of(folder.name))
        self.db.execute("UPDATE folder SET directory = ? WHERE id = ?", (bytes_of(folder.directory), id_))
        old = {self._bucket(name): (name, known[folder.name, name]) for name in _replaced(folder, known)}
        kept = set()
        for name in folder.shards:
            shard = known.get((folder.name, name))
            kept.add(self._shard(id_, name, old.pop(self._bucket(name), None)) if shard is None else shard)
        return kept

    def _bucket(self, shard: str) -> object:
        """What a shard and the one that takes its place have in common; one that cannot be read has nothing."""
        with contextlib.suppress(ArchiveError):
            for entry in self.archive.shard(shard):
                return None if entry.uid is None else entry.uid // UIDS_PER_SHARD
        return shard

    def _shard(self, folder: int, name: str, old: tuple[str, int] | None) -> int:
        """Takes in a new shard. Mostly it is an old one with some lines changed: then it has that one's row, and only these are looked at."""
        if old is None:
            shard, entries = self._row_id("shard", "folder", folder, name), self.archive.shard(name)
        else:
            shard = old[1]
            fresh, left = self.archive.shard_changes(old[0], name)
            self.db.execute("UPDATE shard SET name = ? WHERE id = ?", (name, shard))
            still = {(entry.name, entry.id) for entry in fresh}
            self._left += [(folder, shard, entry) for entry in left if (entry.name, entry.id) not in still]
            entries = iter(fresh)
        while batch := list(islice(entries, ASKED_AT_ONCE)):
            self._place(folder, shard, batch)
        return shard

    def _place(self, folder: int, shard: int, entries: Sequence[Entry]) -> None:
        messages = self._messages(bytes.fromhex(entry.id) for entry in entries)
        known = self._places(folder, {bytes_of(entry.name) for entry in entries})
        present: list[tuple[object, ...]] = []
        changed: list[tuple[object, ...]] = []
        added: list[tuple[object, ...]] = []
        away: list[tuple[int]] = []
        for entry in entries:
            name, message = bytes_of(entry.name), messages[bytes.fromhex(entry.id)]
            gone = None if entry.gone_at is None else seconds(datetime.fromisoformat(entry.gone_at))
            last_seen = None if gone is None else (self.before_at or self.at)
            facts = (entry.uid, entry.internal_date, entry.flags, json.dumps(entry.keywords) if entry.keywords else "[]")
            old = known.get((name, message))
            if old is not None and (old.shard is not None or gone is not None):
                if old.facts == facts and old.gone is None and gone is None and not old.ended:
                    if old.shard != shard:
                        present.append((shard, old.id))
                else:
                    changed.append((shard, *facts, gone, last_seen, old.id))
                continue
            if old is not None:
                away.append((old.id,))
            since = self.at if old is None else old.known_since
            added.append((shard, *facts, folder, message, name, since, self.at, self.generation.number, gone, last_seen))
            known[name, message] = _Known(0, shard, facts, gone, ended=False, known_since=since)
        for query, rows in ((PRESENT, present), (CHANGED, changed), (AWAY, away), (ADDED, added)):
            self.db.executemany(query, rows)

    def _messages(self, digests: Iterable[bytes]) -> dict[bytes, int]:
        """The number of each of these messages that is known."""
        wanted = list(dict.fromkeys(digests))
        found: dict[bytes, int] = {}
        for start in range(0, len(wanted), ASKED_AT_ONCE):
            part = wanted[start : start + ASKED_AT_ONCE]
            found.update(self.db.execute(f"SELECT digest, id FROM message WHERE digest IN ({_marks(part)})", part))
        return found

    def _places(self, folder: int, names: set[bytes]) -> dict[tuple[bytes, int], _Known]:
        columns = "name, message, id, shard, uid, internal_date, flags, keywords, gone, last_generation IS NOT NULL, known_since"
        query = f"SELECT {columns} FROM place WHERE folder = ? AND replaced = 0 AND name IN ({_marks(names)})"
        return {
            (name, message): _Known(id_, shard, (uid, date, flags, keywords), gone, bool(ended), since)
            for name, message, id_, shard, uid, date, flags, keywords, gone, ended, since in self.db.execute(
                query, (folder, *names)
            )
        }

    def _close_left(self) -> None:
        """What left a shard that goes on is gone, unless another shard took it in: then it has that one's number by now."""
        while self._left:
            batch, self._left = self._left[:ASKED_AT_ONCE], self._left[ASKED_AT_ONCE:]
            messages = self._messages(bytes.fromhex(entry.id) for _, _, entry in batch)
            for folder in {folder for folder, _, _ in batch}:
                known = self._places(folder, {bytes_of(entry.name) for other, _, entry in batch if other == folder})
                for other, shard, entry in batch:
                    place = known.get((bytes_of(entry.name), messages.get(bytes.fromhex(entry.id), 0)))
                    if other == folder and place is not None and place.shard == shard:
                        self._close("id = ?", place.id)

    def _close(self, where: str, value: int) -> None:
        """What still hangs on a shard that is no more was not in any of the new ones: it is gone since this generation."""
        closed = "shard = NULL, gone = coalesce(gone, ?), last_seen = coalesce(last_seen, ?), last_generation = ?"
        self.db.execute(f"UPDATE place SET {closed} WHERE {where}", (self.at, self.before_at, self.before, value))

    def _close_mailbox(self, mailbox: int) -> None:
        self._close("shard IN (SELECT s.id FROM shard s JOIN folder f ON f.id = s.folder WHERE f.mailbox = ?)", mailbox)
        self.db.execute("DELETE FROM shard WHERE folder IN (SELECT id FROM folder WHERE mailbox = ?)", (mailbox,))
        self.db.execute("UPDATE mailbox SET manifest = NULL WHERE id = ?", (mailbox,))

    def _row_id(self, table: str, parent: str, parent_id: int, name: str | bytes) -> int:
        self.db.execute(f"INSERT OR IGNORE INTO {table} ({parent}, name) VALUES (?, ?)", (parent_id, name))
        row = self.db.execute(f"SELECT id FROM {table} WHERE {parent} = ? AND name = ?", (parent_id, name)).fetchone()
        return int(row[0])

    def _familiar(self, shards: Sequence[str]) -> set[str]:
        """Messages that these shards named, which are known for that: there is no need to ask for each."""
        found: set[str] = set()
        for shard in shards[:FAMILIAR]:
            with contextlib.suppress(ArchiveError):
                found |= self.archive.shard_ids(shard)
        return found

    def _learn(self, manifest: MailboxManifest, folder: FolderManifest, shards: Iterable[str], familiar: set[str]) -> None:
        """Reads the headers of messages never seen, whole portions at a time: each portion is one walk over index files."""
        portion: set[str] = set()
        for shard in shards:
            ids = self.archive.shard_ids(shard) - familiar
            known = self._messages(map(bytes.fromhex, ids))
            portion |= {id_ for id_ in ids if bytes.fromhex(id_) not in known}
            if len(portion) >= PARSED_AT_ONCE:
                self._learn_portion(manifest, folder, portion)
                portion = set()
        self._learn_portion(manifest, folder, portion)

    def _learn_portion(self, manifest: MailboxManifest, folder: FolderManifest, wanted: set[str]) -> None:
        """A segment is a transaction: headers are facts of the content alone."""
        for segment in reversed(manifest.segments):  # what is new lies in the newest
            if not wanted:
                return
            if self._enough():
                raise Enough
            lines = {line.id: line for line in self.archive.index(segment) if line.id in wanted}
            if not lines:
                continue
            places = [Location(line.id, segment, line.offset, line.size) for line in lines.values()]
            with transaction(self.db):
                for id_, headers in read_headers(self.archive, places):
                    line = lines[id_]
                    insert_message(self.db, id_, line.canonical, line.size, headers)
                    wanted.discard(id_)
        with transaction(self.db):  # in no segment that can be read: still listed, by mailbox, folder and date
            for entry in self.archive.entries(folder) if wanted else ():
                if entry.id in wanted:
                    insert_message(self.db, entry.id, entry.canonical, entry.size, Headers(opaque=True, sealed=True))
                    wanted.discard(entry.id)


def insert_message(db: sqlite3.Connection, id_: str, canonical: str, size: int, headers: Headers) -> None:
    """A message that is not known yet, and its words."""
    cursor = db.execute(
        "INSERT INTO message (digest, canonical, size, opaque, sealed, message_id, sender, recipient, subject, date) "
        "VALUES (?,?,?,?,?,?,?,?,?,?)",
        (
            bytes.fromhex(id_),
            bytes.fromhex(canonical),
            size,
            headers.opaque,
            headers.sealed,
            headers.message_id,
            headers.sender,
            headers.recipient,
            headers.subject,
            None if headers.date is None else seconds(headers.date),
        ),
    )
    db.execute(
        "INSERT INTO words (rowid, sender, recipient, subject) VALUES (?,?,?,?)",
        (cursor.lastrowid, *(indexed(text) for text in (headers.sender, headers.recipient, headers.subject))),
    )


def read_headers(archive: Archive, locations: Iterable[Location]) -> Iterator[tuple[str, Headers]]:
    """(id, headers) of each message that can be read, segment by segment. Only the beginnings are read, so digests are not compared."""
    ordered = sorted(locations, key=lambda place: (place.segment, place.offset))
    name, file = "", None
    try:
        for place in ordered:
            try:
                if place.segment != name or file is None:
                    if file is not None:
                        file.close()
                    file = (archive.folder / path_of("segments", place.segment)).open("rb")
                    name = place.segment
                head = b"".join(read_range(file, place.offset, min(place.size, HEAD_BYTES)))
                if place.size > HEAD_BYTES and not head_is_whole(head):
                    head = b"".join(read_range(file, place.offset, min(place.size, HEAD_LIMIT)))
            except OSError:
                continue
            yield place.id, parse_headers(head)
    finally:
        if file is not None:
            file.close()


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def _replaced(folder: FolderManifest, known: Mapping[tuple[str, str], int]) -> list[str]:
    """Shards that the folder had and has no more."""
    named = set(folder.shards)
    return [shard for other, shard in known if other == folder.name and shard not in named]


def indexed(text: str) -> str:
    """As the index of words has it: its terms are three letters, and two blanks at the end make some that begin with the last ones."""
    return text.casefold() + "  " if text else ""


def bytes_of(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def text_of(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def seconds(at: datetime) -> int:
    return int(at.timestamp())


def _marks(values: Sequence[object] | set[bytes]) -> str:
    return ",".join("?" * len(values))
