"""Takes erased mailboxes out of staging and inventory: what others hold stays, segments that both need are copied with the others' messages alone.

Order: the mark (clearing.py), copies of segments, the generation without the mailboxes, the inventory's rows, the files. Each step finds
for itself what is left to do, so a kill at any moment costs repeated work: the next run, or the next backup, ends the same.
"""
# ruff: noqa: S608 - the parts put into queries are our own constants

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import islice

from failsafe.backup.archive.clearing import begin_clearing, clear_away
from failsafe.backup.archive.layout import index_path, path_of
from failsafe.backup.archive.segment import Sealed
from failsafe.backup.archive.staging import Staging
from failsafe.backup.erased import NOTE, Erased
from failsafe.backup.erasure_book import settle
from failsafe.backup.extras import control_origin
from failsafe.backup.inventory import Inventory, mailbox_name, raw, shown, text
from failsafe.backup.own_files import OwnFiles, store_own_files
from failsafe.errors import ArchiveError
from failsafe.mail.manifest import Generation, GenerationDraft, MailboxManifest

ASKED_AT_ONCE = 500  # values in one query
LATER = timedelta(seconds=1)  # restic keeps whole seconds: the new generation is the later of two that show one state


def _first_word(line: str) -> str:
    return line.partition(" ")[0]


def _mailbox_of(path: str) -> str:
    """DOMAIN/USER/… -> USER@DOMAIN."""
    return mailbox_name("/".join(path.split("/")[:2]))


# notes of a generation whose lines speak of a mailbox, and where it stands in a line
NAMING: dict[str, Callable[[str], str]] = {"changed": _first_word, "folders_of_others": _first_word, "skipped": _mailbox_of}


@dataclass(frozen=True, slots=True)
class Cleared:
    """`mailboxes`: that were still there. `generation`: None where the newest one needed no successor. `whole` False: files are left."""

    mailboxes: tuple[str, ...]
    generation: Generation | None
    rewritten: int  # segments
    whole: bool


class Eraser:
    """One run over one server; `erased` says which mailboxes. Nobody else may be at work in the inventory (the job's lock sees to that)."""

    def __init__(self, staging: Staging, inventory: Inventory, erased: Erased, own: Callable[[], OwnFiles] | None = None) -> None:
        """`own`: failsafe's own files as they are now, which no longer speak of what was erased; None: as they were."""
        self._staging, self._inventory, self._db, self._erased, self._own_files = staging, inventory, inventory.db, erased, own
        self._made: list[tuple[Sealed, str]] = []  # copies, and whose they are now

    def mailboxes(self) -> tuple[str, ...]:
        """Erased ones of which something is still in the newest generation or the inventory."""
        newest = self._staging.newest()
        named = set(newest.mailboxes) if newest is not None else set()
        known = {mailbox_name(text(path)) for (path,) in self._inventory.rows("SELECT path FROM mailbox")}
        return tuple(sorted(name for name in named | known | set(self._owners()) if self._erased.covers(name)))

    def run(self) -> Cleared:
        """Raises ArchiveError where a message of another mailbox cannot be copied: then everything is as it was."""
        begin_clearing(self._staging)
        mailboxes = self.mailboxes()
        suspects = self._suspects()
        moved = self._copy(suspects)
        before = self._staging.newest()
        generation = self._commit(moved)
        self._forget(suspects, moved)
        if generation is not None and before is not None and self._inventory.get("clean") == str(before.number):
            self._inventory.finish(generation.number)
        whole = clear_away(self._staging, self._spared())
        self._wipe()
        return Cleared(mailboxes, generation, len(self._made), whole)

    # -- segments --------------------------------------------------------------------------------------------------------

    def _suspects(self) -> tuple[str, ...]:
        """Segments here that hold, or ever held, messages of erased mailboxes."""
        manifests = (self._staging.archive.manifest(digest) for name, digest in self._named() if self._erased.covers(name))
        named = {segment for manifest in manifests for segment in manifest.segments}
        owned = {segment for mailbox, held in self._owners().items() if self._erased.covers(mailbox) for segment in held}
        return tuple(sorted((named | owned) & set(self._staging.segments())))

    def _copy(self, suspects: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Suspect segment -> the segments that have its messages which others hold; those that nobody else needs are not in it."""
        ids = {segment: self._staging.archive.index_ids(segment) for segment in suspects}
        wanted = set().union(*ids.values()) if ids else set()
        holders = self._holders(wanted)
        moved: dict[str, tuple[str, ...]] = {}
        for segment, held in ids.items():
            keep = {id_ for id_ in held if id_ in holders}
            if keep == held and keep:
                moved[segment] = (segment,)
            elif keep:
                owner = holders[min(keep)]
                made = self._staging.rewrite_segments(owner, [segment], keep.__contains__)
                self._made += [(sealed, owner) for sealed in made]
                moved[segment] = tuple(sealed.name for sealed in made)
        return moved

    def _holders(self, wanted: set[str]) -> dict[str, str]:
        """Of these messages, those that another mailbox holds, in the newest generation or in a pull that was cut off: id -> that mailbox."""
        found: dict[str, str] = {}
        for name, digest in self._named():
            if not self._erased.covers(name):
                for folder in self._staging.archive.manifest(digest).folders:
                    for shard in folder.shards:
                        found.update(dict.fromkeys(self._staging.archive.shard_ids(shard) & wanted, name))
        rows = self._db.execute(
            "SELECT m.path, e.content FROM entry e JOIN folder f ON f.id = e.folder JOIN mailbox m ON m.id = f.mailbox"
        )
        for path, content in rows:
            if content.hex() in wanted and not self._erased.covers(name := mailbox_name(text(path))):
                found.setdefault(content.hex(), name)
        return found

    def _owners(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for mailbox, segment in self._db.execute("SELECT o.mailbox, s.name FROM owned o JOIN segment s ON s.id = o.segment"):
            found.setdefault(text(mailbox), []).append(segment)
        return found

    def _spared(self) -> set[str]:
        """Paths of segments of the other mailboxes: a pull that was cut off may have brought them, and no generation names them yet."""
        names = [name for mailbox, held in self._owners().items() if not self._erased.covers(mailbox) for name in held]
        return {path for name in names for path in (path_of("segments", name), index_path(name))}

    # -- the generation --------------------------------------------------------------------------------------------------

    def _named(self) -> Iterator[tuple[str, str]]:
        newest = self._staging.newest()
        yield from newest.mailboxes.items() if newest is not None else ()

    def _commit(self, moved: Mapping[str, tuple[str, ...]]) -> Generation | None:
        """The newest generation without what is erased. It shows the state of that one's time: nothing was pulled."""
        newest = self._staging.newest()
        if newest is None:
            return None
        others = {name: self._staging.archive.manifest(digest) for name, digest in newest.mailboxes.items()}
        others = {name: manifest for name, manifest in others.items() if not self._erased.covers(name)}
        mailboxes = {name: self._written(newest.mailboxes[name], manifest, moved) for name, manifest in others.items()}
        if mailboxes == dict(newest.mailboxes) and newest.notes.get(NOTE, {}) == self._erased.note():
            return None
        archive, own = self._staging.archive, self._own_files() if self._own_files is not None else None
        draft = GenerationDraft(
            at=newest.at + LATER,
            result=newest.result,
            messages=sum(folder.messages for manifest in others.values() for folder in manifest.folders),
            mailboxes=mailboxes,
            files=list(archive.files(newest)),
            controller=list(archive.controller_files(newest)) if own is None else store_own_files(self._staging, own, newest.at),
            missing=tuple(each for each in newest.missing if not self._erased.covers(each.mailbox)),
            notes=self._notes(newest.notes),
        )
        return self._staging.commit(draft)

    def _written(self, digest: str, manifest: MailboxManifest, moved: Mapping[str, tuple[str, ...]]) -> str:
        """A mailbox's manifest with the copies in place of what was copied; a suspect that has nothing of it is no longer named."""
        segments = dict.fromkeys(name for segment in manifest.segments for name in moved.get(segment, (segment,)))
        if tuple(segments) == manifest.segments:
            return digest
        return self._staging.write_mailbox(replace(manifest, segments=tuple(segments)))

    def _notes(self, notes: Mapping[str, object]) -> dict[str, object]:
        """Without lines that speak of an erased mailbox."""
        left: dict[str, object] = {key: value for key, value in notes.items() if key != NOTE}
        for key, mailbox_in in NAMING.items():
            lines = left.get(key)
            if isinstance(lines, list):
                left[key] = [line for line in lines if not self._erased.covers(mailbox_in(str(line)))]
        left[NOTE] = self._erased.note()
        return {key: value for key, value in left.items() if value}

    # -- the inventory ---------------------------------------------------------------------------------------------------

    def _forget(self, suspects: Sequence[str], moved: Mapping[str, tuple[str, ...]]) -> None:
        self._db.execute("PRAGMA secure_delete = ON")
        with self._db:
            for sealed, owner in self._made:
                self._inventory.learn_segment(sealed.name, ((line.id, line.canonical) for line in sealed.lines))
                self._db.execute(
                    "INSERT OR REPLACE INTO owned SELECT id, ? FROM segment WHERE name = ?", (raw(owner), sealed.name)
                )
            for number, path in self._inventory.rows("SELECT id, path FROM mailbox"):
                if self._erased.covers(mailbox_name(text(path))):
                    self._forget_mailbox(number, text(path))
                elif suspects:
                    self._db.execute("UPDATE mailbox SET dirty = 1 WHERE id = ?", (number,))
            left = [segment for segment in suspects if segment not in moved or moved[segment] != (segment,)]
            self._forget_segments(left)
            self._own(moved)
            self._lift()

    def _forget_mailbox(self, number: int, path: str) -> None:
        folders = "SELECT id FROM folder WHERE mailbox = ?"
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        self._db.execute(f"DELETE FROM entry WHERE folder IN ({folders})", (number,))
        if "imap_folder" in tables:
            self._db.execute(f"DELETE FROM imap_folder WHERE folder IN ({folders})", (number,))
            self._db.execute("DELETE FROM imap_identity WHERE mailbox = ?", (number,))
        if "imap_use" in tables:
            self._db.execute(f"DELETE FROM imap_use WHERE folder IN ({folders})", (number,))
        self._db.execute("DELETE FROM folder WHERE mailbox = ?", (number,))
        self._db.execute("DELETE FROM stale WHERE folder NOT IN (SELECT id FROM folder)")
        self._db.execute("DELETE FROM file WHERE origin = ?", (control_origin(path),))
        self._db.execute("DELETE FROM meta WHERE key = ?", (f"emptied {shown(mailbox_name(path))}",))
        self._db.execute("DELETE FROM mailbox WHERE id = ?", (number,))
        window = json.loads(self._inventory.get("window") or "{}")
        if window:  # numbers may be given again
            for counts in (window["before"], window["lost"]):
                counts.pop(str(number), None)
            self._inventory.put("window", json.dumps(window))

    def _forget_segments(self, segments: Iterable[str]) -> None:
        rest = iter(segments)
        while batch := list(islice(rest, ASKED_AT_ONCE)):
            which = f"SELECT id FROM segment WHERE name IN ({','.join('?' * len(batch))})"
            for table, key in (("content", "segment"), ("owned", "segment"), ("segment", "id")):
                self._db.execute(f"DELETE FROM {table} WHERE {key} IN ({which})", batch)

    def _own(self, moved: Mapping[str, tuple[str, ...]]) -> None:
        """A segment that is all others' already is theirs from now on."""
        same = [segment for segment, names in moved.items() if names == (segment,)]
        for mailbox, segments in self._owners().items():
            if self._erased.covers(mailbox):
                for segment in set(segments) & set(same):
                    self._db.execute("DELETE FROM owned WHERE segment = (SELECT id FROM segment WHERE name = ?)", (segment,))

    def _lift(self) -> None:
        """Guards of a mailbox that is no more, and what was told of them."""
        for table in ("guard", "told"):
            for (place,) in self._inventory.rows(f"SELECT DISTINCT mailbox FROM {table}"):
                if place and self._erased.covers(place):
                    self._db.execute(f"DELETE FROM {table} WHERE mailbox = ?", (place,))

    def _wipe(self) -> None:
        """Nothing of it is left in free pages of the file, nor in its log."""
        self._db.execute("VACUUM")
        (busy, *_) = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise ArchiveError(f"{self._inventory.place} is read by somebody else just now", mend="run it again in a moment")


def settle_erasures(
    staging: Staging, inventory: Inventory, known: Erased, own: Callable[[], OwnFiles] | None = None
) -> tuple[Erased, Cleared | None]:
    """Before a pull: joins what is known of erased mailboxes, and finishes what a kill, or staging brought back from an older snapshot, left."""
    erased = settle(inventory, staging.newest(), known)
    if not erased.standing:
        return erased, None
    eraser = Eraser(staging, inventory, erased, own)
    if not eraser.mailboxes():
        return erased, None
    inventory.begin(staging)
    return erased, eraser.run()
