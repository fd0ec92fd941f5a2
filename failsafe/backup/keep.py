"""Brings the inventory's entries up to date with what a pull saw, and writes the manifests that follow from them."""
# ruff: noqa: S608 - the parts put into queries are our own constants

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from failsafe.backup.archive.shards import Line
from failsafe.backup.archive.staging import Staging
from failsafe.backup.entry_lines import EntryLines
from failsafe.backup.extras import control_origin
from failsafe.backup.gather import Target, World, read_control
from failsafe.backup.guards import CONTENT
from failsafe.backup.inventory import Inventory, mailbox_name, raw, shown, text
from failsafe.backup.inventory_schema import UNNUMBERED
from failsafe.backup.losses import WINDOW, Loss, Rebuilt
from failsafe.backup.protocol import MailboxFacts, ServerSession
from failsafe.backup.shard_book import ShardBook, place
from failsafe.backup.stretch import DAY, Waiting
from failsafe.backup.vanished import ABSENT, KEY, REPLACED, SAME, find_absent, find_vanished
from failsafe.mail.maildir import folder_name, parse_keywords, parse_subscriptions
from failsafe.mail.manifest import FileRef, FolderManifest, MailboxManifest, is_digest

TOGETHER = 1_000  # entries that are made into lines at a time


class Keeper:
    """Works on one inventory during one pull. Nothing is committed here but by the caller."""

    def __init__(self, inventory: Inventory, staging: Staging) -> None:
        self.inventory, self.staging, self.db = inventory, staging, inventory.db
        self.hidden: set[int] = set()
        self.db.execute("CREATE TEMP TABLE IF NOT EXISTS touched (folder INTEGER PRIMARY KEY)")
        ((self.known,),) = inventory.rows("SELECT COALESCE(MAX(id), 0) FROM segment")  # what later ones hold came in this pull
        self.before = inventory.living()  # entries by mailbox, as the last pull left them

    def touch(self, world: World) -> None:
        """Folders whose entries can be judged: those listed, and those that are gone from the server, not those hidden from us."""
        self.hidden = self._hidden_folders(world)
        self.db.execute("DELETE FROM touched")
        self.db.executemany("INSERT OR IGNORE INTO touched VALUES (?)", ((folder,) for folder in world.touched - self.hidden))
        self.db.executemany("INSERT OR IGNORE INTO touched VALUES (?)", ((folder,) for folder in self._gone_folders(world)))

    def _gone_folders(self, world: World) -> Iterator[int]:
        failed = tuple(world.failed)
        for folder, path in self.inventory.rows("SELECT f.id, m.path FROM folder f JOIN mailbox m ON m.id = f.mailbox"):
            unknown = any(text(path) == other or text(path).startswith(other + "/") for other in failed)
            if folder not in world.targets and folder not in self.hidden and not unknown:
                yield folder  # the excluded ones among them: their entries leave the manifests too

    def _hidden_folders(self, world: World) -> set[int]:
        """Folders, known from earlier, of which the survey could see nothing or only a part: a link, or no permission."""
        hidden = set()
        for folder, path, directory in self.inventory.rows(
            "SELECT f.id, m.path, f.directory FROM folder f JOIN mailbox m ON m.id = f.mailbox"
        ):
            box = world.boxes.get(text(path))
            if box is not None and _hides(box, text(directory)):
                hidden.add(int(folder))
        return hidden

    def waiting_by_day(self) -> dict[int, Waiting]:
        """What was listed and is not here yet, by the day of its date (seconds since 1970 // 86,400)."""
        query = f"SELECT s.mtime / {DAY}, COUNT(*), SUM(s.size) FROM seen s WHERE NOT EXISTS (SELECT 1 FROM entry e WHERE {SAME}) GROUP BY 1"
        return {int(day): Waiting(count, size) for day, count, size in self.db.execute(query)}

    def waiting_by_mailbox(self) -> dict[str, Waiting]:
        query = (
            "SELECT m.path, COUNT(*), SUM(s.size) FROM seen s JOIN folder f ON f.id = s.folder JOIN mailbox m ON m.id = f.mailbox "
            f"WHERE NOT EXISTS (SELECT 1 FROM entry e WHERE {SAME}) GROUP BY m.id"
        )
        return {mailbox_name(text(path)): Waiting(count, size) for path, count, size in self.db.execute(query)}

    def bytes_archived(self) -> int:
        """Of the server's mail, a copy counted twice."""
        return int(self.db.execute("SELECT COALESCE(SUM(size), 0) FROM entry WHERE gone_at IS NULL").fetchone()[0])

    def restless(self, world: World) -> list[Target]:
        """Folders whose list of UIDs is to be read: it has another stamp, or messages came."""
        stamps = dict(self.inventory.rows("SELECT id, uidlist FROM folder"))
        waiting = {row[0] for row in self.inventory.rows(f"SELECT DISTINCT folder FROM entry WHERE {UNNUMBERED}")}
        return [
            target
            for target in world.targets.values()
            if target.facts.uidlist is not None
            and (target.facts.uidlist != stamps[target.id] or (target.id in waiting and target.id in world.touched))
        ]

    # ------------------------------------------------------------ judging

    def losses(self, world: World, now: datetime) -> tuple[Loss, ...]:
        """By mailbox: entries at the last pull (and at the begin of this day of counting), and how many are nowhere in it now."""
        find_absent(self.inventory)
        find_vanished(self.inventory, world.excluded)

        def vanished(which: str) -> dict[int, int]:
            return dict(self.inventory.rows(f"SELECT mailbox, COUNT(*) FROM vanished WHERE {which} GROUP BY mailbox"))

        replaced = f"{ABSENT} JOIN folder f ON f.id = e.folder WHERE e.twin = 0 AND {REPLACED}"
        changed = dict(self.inventory.rows(f"SELECT f.mailbox, COUNT(*) FROM {replaced} GROUP BY f.mailbox"))
        return self._losses(vanished, changed, world.boxes, now)

    def _losses(
        self, vanished: Callable[[str], dict[int, int]], changed: dict[int, int], present: Container[str], now: datetime
    ) -> tuple[Loss, ...]:
        """`vanished` counts by mailbox what is gone of that which lies in certain segments; `present`: paths of mailboxes that are there."""
        window = self._window(now)
        lost, of_day = (
            vanished(_came_by(self.known)),
            vanished(_came_by(min(self.known, window["segment"]), window.get("merged", ()))),
        )
        losses = []
        for id_, path in self.inventory.rows("SELECT id, path FROM mailbox"):
            name, key = mailbox_name(text(path)), str(id_)
            window["lost"][key] = window["lost"].get(key, 0) + of_day.get(id_, 0)
            losses.append(
                Loss(
                    shown(name),
                    self.before.get(id_, 0),
                    lost.get(id_, 0),
                    text(path) in present,
                    changed.get(id_, 0),
                    window["before"].get(key, 0),
                    window["lost"][key],
                    int(self.inventory.get(f"emptied {shown(name)}") or 0),
                )
            )
        if self.before:
            self.inventory.put("window", json.dumps(window))
        return tuple(losses)

    def _window(self, now: datetime) -> dict[str, Any]:
        """The present day of counting: what each mailbox had when it began, and what of that is gone. Mailboxes by number."""
        window: dict[str, Any] = json.loads(self.inventory.get("window") or "{}")
        if window and timedelta() <= now - datetime.fromisoformat(window["at"]) < WINDOW:
            return window
        before = {str(id_): count for id_, count in self.before.items()}
        return {"at": now.isoformat(), "segment": self.known, "before": before, "lost": {}}

    def rebuilt(self, world: World) -> Rebuilt:
        known = dict(self.inventory.rows("SELECT id, uid_validity FROM folder WHERE uid_validity IS NOT NULL"))
        changed = sum(
            listed.uid_validity is not None and folder in known and known[folder] != listed.uid_validity
            for folder, listed in world.uidlists.items()
        )
        return Rebuilt(len(known), changed, len(self.before), len(world.boxes))

    # ------------------------------------------------------------ bringing up to date

    def reflag(self) -> int:
        """Flags and places as they are now; what had vanished and is back is no longer gone. Gives how many flags changed.

        One walk over what was seen finds the few that differ.
        """
        self.db.execute("DROP TABLE IF EXISTS temp.differs")
        if not self.db.execute("SELECT EXISTS (SELECT 1 FROM seen)").fetchone()[0]:
            return 0
        flags = "e.letters <> s.letters AND e.letters <> tidy(s.letters)"
        self.db.execute(
            "CREATE TEMP TABLE differs AS SELECT e.folder, e.base, e.size, e.mtime, e.twin, s.inode, tidy(s.letters) AS letters, "
            f"{flags} AS flags, e.gone_at IS NOT NULL AS back FROM seen s JOIN entry e ON {SAME} "
            f"WHERE ({flags}) OR e.gone_at IS NOT NULL OR e.inode <> s.inode"
        )
        self.db.execute("UPDATE folder SET dirty = 1 WHERE id IN (SELECT folder FROM temp.differs WHERE flags OR back)")
        update = f"UPDATE entry AS e SET {{0}} FROM temp.differs s WHERE {SAME} AND {{1}}"
        self.db.execute(update.format("gone_at = NULL", "s.back"))
        self.db.execute(update.format("inode = s.inode", "e.inode <> s.inode"))
        return self.db.execute(update.format("letters = s.letters", "s.flags")).rowcount

    def let_go(self, world: World, at: str) -> int:
        """What vanished leaves the manifests, or is marked in them where a guard stands. Gives how many vanished. After `losses`."""
        self.db.execute("UPDATE folder SET dirty = 1 WHERE id IN (SELECT folder FROM temp.absent)")
        excluded = ",".join(str(int(folder)) for folder in world.excluded) or "-1"
        self.db.execute(f"DELETE FROM entry WHERE folder IN ({excluded})")
        kept = ",".join(str(folder) for folder in self._guarded_folders()) or "-1"
        # by key, one after the other: in a single statement SQLite would walk over all entries of these folders
        which = "folder = ? AND base = ? AND size = ? AND mtime = ? AND twin = ?"
        to_mark = self.db.execute(f"SELECT ?, {KEY} FROM temp.absent WHERE folder IN ({kept})", (at,))
        marked = self.db.executemany(f"UPDATE entry SET gone_at = ? WHERE {which}", to_mark).rowcount
        to_delete = self.db.execute(f"SELECT {KEY} FROM temp.absent WHERE folder NOT IN ({kept})")
        let_go = self.db.executemany(f"DELETE FROM entry WHERE {which}", to_delete).rowcount
        self._tidy(world)
        return max(marked, 0) + max(let_go, 0)  # where there was nothing, some versions of Python count -1

    def _guarded_folders(self) -> Iterator[int]:
        names = {mailbox for mailbox, code, _ in self.inventory.guards() if code in CONTENT}
        for folder, path in self.inventory.rows("SELECT f.id, m.path FROM folder f JOIN mailbox m ON m.id = f.mailbox"):
            if "" in names or shown(mailbox_name(text(path))) in names:
                yield folder

    def _tidy(self, world: World) -> None:
        """Folders and mailboxes that the server no longer has and that hold nothing; guards whose loss has come back."""
        for folder in list(self._gone_folders(world)):
            if not self.inventory.count("entry WHERE folder = ?", folder):
                self.db.execute("UPDATE mailbox SET dirty = 1 WHERE id = (SELECT mailbox FROM folder WHERE id = ?)", (folder,))
                self.db.execute("DELETE FROM folder WHERE id = ?", (folder,))
        self._lift_returned()

    def _lift_returned(self) -> None:
        self.db.execute("DELETE FROM mailbox WHERE id NOT IN (SELECT mailbox FROM folder)")
        gone = {
            shown(mailbox_name(text(row[0])))
            for row in self.inventory.rows(
                "SELECT DISTINCT m.path FROM entry e JOIN folder f ON f.id = e.folder JOIN mailbox m ON m.id = f.mailbox "
                "WHERE e.gone_at IS NOT NULL"
            )
        }
        for mailbox, code, _ in self.inventory.guards():
            if code in CONTENT - {"store-rebuilt"} and not (mailbox in gone or (mailbox == "" and gone)):
                self.inventory.lift(code, mailbox)

    def note_letters(self, session: ServerSession, world: World) -> None:
        """Keyword letters mean what each folder's own table says."""
        stamps = {row[0]: (row[1], row[2]) for row in self.inventory.rows("SELECT id, keywords, letters FROM folder")}
        for target in world.targets.values():
            stamp, letters = stamps[target.id]
            if target.facts.keywords == stamp:
                continue
            data = b""
            if target.facts.keywords is not None:
                found = read_control(session, target.box.path, f"{target.path}/dovecot-keywords".lstrip("/"))
                if found is None:
                    continue
                data = found
            names = json.dumps(parse_keywords(data))
            self.db.execute(
                "UPDATE folder SET keywords = ?, letters = ?, dirty = dirty OR ? WHERE id = ?",
                (target.facts.keywords, names, names != letters, target.id),
            )

    def note_uids(self, world: World) -> None:
        for folder, listed in world.uidlists.items():
            if folder not in world.targets:
                continue
            number = "(SELECT uid FROM uid u WHERE u.folder = e.folder AND u.base = e.base)"
            which = f"e.base IN (SELECT base FROM uid WHERE folder = {int(folder)})" if folder in world.grown else "TRUE"
            changed = self.db.execute(
                f"UPDATE entry AS e SET uid = {number} WHERE folder = ? AND {which} AND gone_at IS NULL AND uid IS NOT {number}",
                (folder,),
            ).rowcount
            self.db.execute(  # two files of one name cannot have one UID: the server will give the second another
                f"UPDATE entry AS e SET uid = NULL WHERE folder = ? AND {which} AND uid IS NOT NULL AND EXISTS (SELECT 1 FROM entry o WHERE "
                "o.folder = e.folder AND o.base = e.base AND o.gone_at IS NULL "
                "AND (o.size, o.mtime, o.twin) < (e.size, e.mtime, e.twin))",
                (folder,),
            )
            values = (listed.uid_validity, listed.uid_next, listed.guid)
            before = self.db.execute("SELECT uid_validity, uid_next, guid FROM folder WHERE id = ?", (folder,)).fetchone()
            self.db.execute(
                "UPDATE folder SET uid_validity = ?, uid_next = ?, guid = ?, uidlist = ?, dirty = dirty OR ? WHERE id = ?",
                (*values, world.targets[folder].facts.uidlist, changed > 0 or before != values, folder),
            )

    def note_stamps(self, world: World, unsure: set[int], at: str) -> None:
        """A folder is taken as unchanged next time only if all of it is in the archive now."""
        unsure = unsure | {folder for folder, _ in world.unreadable}
        for target in world.targets.values():
            if target.id in unsure or target.why:
                self.db.execute("UPDATE folder SET cur = NULL, new = NULL WHERE id = ?", (target.id,))
            elif target.id not in world.touched:
                self.db.execute("UPDATE folder SET proved_at = ? WHERE id = ?", (at, target.id))
            else:
                cur, new = target.listed or (None, None)
                self.db.execute("UPDATE folder SET cur = ?, new = ?, proved_at = ? WHERE id = ?", (cur, new, at, target.id))

    def dirty(self, path: str) -> None:
        self.db.execute("UPDATE mailbox SET dirty = 1 WHERE path = ?", (raw(path),))

    # ------------------------------------------------------------ manifests

    def write_manifests(self) -> tuple[dict[str, str], int]:
        """Writes what is dirty; gives every mailbox's manifest, and how many entries there are (those that are gone included)."""
        mailboxes: dict[str, str] = {}
        for number, path, layout, manifest, dirty in self.inventory.rows("SELECT id, path, layout, manifest, dirty FROM mailbox"):
            folders = self.inventory.rows("SELECT id FROM folder WHERE mailbox = ? AND dirty ORDER BY directory", number)
            for (folder,) in folders:
                self._write_shards(folder)
            if folders or dirty or manifest is None:
                mailboxes[mailbox_name(text(path))] = self._write_mailbox(number, text(path), layout)
            else:
                mailboxes[mailbox_name(text(path))] = manifest
        total = self.db.execute("SELECT COALESCE(SUM(messages), 0) FROM folder").fetchone()[0]
        return dict(sorted(mailboxes.items())), int(total)

    def _write_shards(self, folder: int) -> None:
        book = ShardBook(self.db)
        ((letters,),) = self.inventory.rows("SELECT letters FROM folder WHERE id = ?", folder)
        made = EntryLines(tuple(json.loads(letters)))
        for bucket in book.stale(folder):
            book.written(folder, bucket, self.staging.write_lines(self._lines(folder, bucket, made)))
        shards = tuple(book.names(folder))
        count = self.inventory.count("entry WHERE folder = ?", folder)
        self.db.execute("UPDATE folder SET shards = ?, messages = ?, dirty = 0 WHERE id = ?", (json.dumps(shards), count, folder))

    def _lines(self, folder: int, bucket: int, made: EntryLines) -> Iterator[Line]:
        which, values = place(bucket)
        rows = self.db.execute(
            "SELECT e.base, e.size, e.mtime, e.letters, e.uid, e.content, c.canonical, e.gone_at FROM entry e "
            f"LEFT JOIN content c ON c.id = e.content WHERE e.folder = ? AND {which}",
            (folder, *values),
        )
        while some := rows.fetchmany(TOGETHER):
            lost = next((row[5] for row in some if row[6] is None), None)
            assert lost is None, f"message {lost.hex()} is in no segment"
            yield from made.lines(some)

    def _write_mailbox(self, number: int, path: str, layout: str) -> str:
        files = self.inventory.files(control_origin(path))
        names, uses = self._names(number, files), self._uses(number)
        rows = self.inventory.rows(
            "SELECT directory, shards, messages, uid_validity, uid_next, guid, letters FROM folder WHERE mailbox = ? ORDER BY directory",
            number,
        )
        folders = []
        for directory, shards, messages, uid_validity, uid_next, guid, letters in rows:
            name, subscribed = names[text(directory)]
            folders.append(
                FolderManifest(
                    name=name,
                    directory=text(directory),
                    shards=tuple(json.loads(shards)),
                    messages=messages,
                    uid_validity=uid_validity,
                    uid_next=uid_next,
                    guid=guid,
                    subscribed=subscribed,
                    keyword_letters=self._letters(letters),
                    uses=uses.get(text(directory), ()),
                )
            )
        manifest = MailboxManifest(mailbox_name(path), layout, tuple(folders), self._segments(number, mailbox_name(path)), files)
        name = self.staging.write_mailbox(manifest)
        self.db.execute("UPDATE mailbox SET manifest = ?, dirty = 0 WHERE id = ?", (name, number))
        return name

    def _names(self, mailbox: int, files: tuple[FileRef, ...]) -> dict[str, tuple[str, bool]]:
        """directory -> (IMAP name, subscribed) of every folder of a mailbox."""
        subscribed = self._subscribed(files)
        directories = [text(row[0]) for row in self.inventory.rows("SELECT directory FROM folder WHERE mailbox = ?", mailbox)]
        return {directory: (name := folder_name(directory), name in subscribed) for directory in directories}

    def _uses(self, mailbox: int) -> dict[str, tuple[str, ...]]:  # noqa: ARG002 - files do not tell
        """directory -> what the server says that the folder is for."""
        return {}

    def _letters(self, known: str) -> tuple[str, ...]:
        """Which keyword each letter means on the server."""
        return tuple(json.loads(known))

    def _segments(self, number: int, mailbox: str) -> tuple[str, ...]:
        """Those of the last generation in their order, then new ones: the newest come last, also after the inventory was rebuilt."""
        rows = self.inventory.rows(
            "SELECT name FROM segment WHERE id IN (SELECT DISTINCT c.segment FROM folder f JOIN entry e ON e.folder = f.id "
            "JOIN content c ON c.id = e.content WHERE f.mailbox = ?) ORDER BY id",
            number,
        )
        wanted = dict.fromkeys(row[0] for row in rows)
        newest = self.staging.newest()
        before = self.staging.archive.mailbox(newest, mailbox).segments if newest and mailbox in newest.mailboxes else ()
        return tuple(dict.fromkeys([*(name for name in before if name in wanted), *wanted]))

    def _subscribed(self, files: tuple[FileRef, ...]) -> frozenset[str]:
        for file in files:
            if file.path == "subscriptions":
                data = self.staging.archive.read_file(file)
                return parse_subscriptions(data) | parse_subscriptions(data, separator="/")
        return frozenset()

    def total(self) -> int:
        return sum(self.inventory.living().values())

    def proved(self) -> dict[str, datetime | None]:
        """Mailbox -> up to when all of its folders are proved complete; None where one never was."""
        rows = self.inventory.rows(
            "SELECT m.path, CASE WHEN COUNT(f.proved_at) = COUNT(*) THEN MIN(f.proved_at) END "
            "FROM folder f JOIN mailbox m ON m.id = f.mailbox GROUP BY m.id"
        )
        return {mailbox_name(text(path)): at and datetime.fromisoformat(at).astimezone(UTC) for path, at in rows}


def _came_by(segment: int, merged: Iterable[str] = ()) -> str:
    """A condition: archived by the time of that segment, or merged since. What came later and went is none of the loss."""
    names = ",".join(f"'{name}'" for name in merged if is_digest(name))
    return f"(segment <= {int(segment)} OR segment IN (SELECT id FROM segment WHERE name IN ({names})))"


def _hides(box: MailboxFacts, directory: str) -> bool:
    """Whether a problem may hide (a part of) this folder: then nothing can be said about what it lost."""
    places = {path.removesuffix("/cur").removesuffix("/new") for path, _ in box.problems}
    return (
        bool(places and not box.folders)
        or directory in places
        or any(directory.startswith(f"{place}/") for place in places if place)
    )
