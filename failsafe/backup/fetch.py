"""Brings messages over: only what no digest in the archive knows. A message crosses the wire once in its life."""

# ruff: noqa: S608 - the parts put into queries are our own constants

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import IO, NamedTuple

from failsafe.backup.archive.segment import Sealed, SegmentWriter, Stored
from failsafe.backup.archive.staging import Staging
from failsafe.backup.gather import Target
from failsafe.backup.inventory import Inventory, text
from failsafe.backup.inventory_schema import tidy_letters
from failsafe.backup.protocol import Answer, ServerSession
from failsafe.backup.stretch import EVERYTHING, Slice, Stretch
from failsafe.mail.identity import digests
from failsafe.mail.manifest import Missing
from failsafe.ports import Progress

BATCH = 2_000  # messages judged at a time
BATCH_BYTES = 64 << 20  # and asked for in one request: between two of them the disk is looked at, and parts are stored
BEGINNING = (b"", -1, 0, 0)  # of a folder: what comes before any base, size, date and twin
PIECE = 1 << 20  # bytes
TOGETHER, TOGETHER_BYTES = 64, 1 << 18  # small messages, bytes of them (and one more): they are added at once, and lost by a kill

KNOWN = (  # its content may be in the archive: that name or that file is known elsewhere
    "EXISTS (SELECT 1 FROM entry e WHERE e.mtime = s.mtime AND e.size = s.size AND (e.base = s.base OR (s.inode <> 0 AND e.inode = s.inode)))"
)
CHANGED = (  # a file of that name was there with other facts
    "EXISTS (SELECT 1 FROM entry e WHERE e.folder = s.folder AND e.base = s.base "
    "AND (e.size <> s.size OR e.mtime <> s.mtime) AND e.gone_at IS NULL)"
)
NEW = (
    f"SELECT s.base, s.size, s.mtime, s.twin, s.inode, s.sub, s.letters, {KNOWN}, {CHANGED} FROM seen s WHERE s.folder = ? "
    "AND (s.base, s.size, s.mtime, s.twin) > (?, ?, ?, ?) AND s.mtime >= ? AND s.mtime < ? "
    "AND NOT EXISTS (SELECT 1 FROM entry e WHERE e.folder = s.folder AND e.base = s.base AND e.size = s.size AND e.mtime = s.mtime "
    "AND e.twin = s.twin) ORDER BY s.base, s.size, s.mtime, s.twin LIMIT ?"
)
PUT = (  # with its UID where that was read already: given later it costs twice as much. Two files of one name cannot have one UID
    "INSERT OR REPLACE INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, (SELECT uid FROM uid WHERE folder = ?1 AND base = ?2 AND NOT EXISTS "
    "(SELECT 1 FROM entry WHERE folder = ?1 AND base = ?2 AND (size, mtime, twin) <> (?3, ?4, ?5) AND gone_at IS NULL)), ?8, NULL)"
)
BEFORE = "SELECT content FROM entry WHERE folder = ? AND base = ? AND (size <> ? OR mtime <> ?) AND gone_at IS NULL"
SAME_FILE = (  # where it is now, not where an earlier pull saw it
    "SELECT 1 FROM entry e JOIN folder f ON f.id = e.folder WHERE f.mailbox = (SELECT mailbox FROM folder WHERE id = ?) "
    "AND e.inode = ? AND e.size = ? AND e.mtime = ? AND e.base = ? AND e.gone_at IS NULL AND (e.folder NOT IN (SELECT folder FROM touched) "
    "OR EXISTS (SELECT 1 FROM seen s WHERE s.folder = e.folder AND s.base = e.base AND s.size = e.size AND s.mtime = e.mtime)) LIMIT 1"
)
VANISHING = (
    "SELECT EXISTS (SELECT 1 FROM entry e WHERE e.content = ?1 AND ((e.mtime = ?2 AND e.size = ?3 AND (e.base = ?4 OR e.inode = ?5)) "
    "OR (e.folder = ?6 AND e.base = ?4)) AND e.folder IN (SELECT folder FROM touched) "
    "AND NOT EXISTS (SELECT 1 FROM seen s WHERE s.folder = e.folder AND s.base = e.base AND s.size = e.size AND s.mtime = e.mtime))"
)


# A tuple, as Answer and IndexLine are: a million of them are made, and a frozen dataclass takes four times as long.
class Wanted(NamedTuple):
    """A file on the server that this folder's entries do not know."""

    base: bytes
    size: int
    mtime: int  # whole seconds
    twin: int
    inode: int
    sub: str
    letters: str
    known: int  # 1: its content may be in the archive, a digest tells
    changed: int  # 1: a file of that name was there with other facts

    @property
    def item(self) -> str:
        """SUB/NAME as it was listed."""
        name = text(self.base)
        if ":2," in name:  # with nothing before it
            return f"{self.sub}/{name}"
        return f"{self.sub}/{name}:2,{self.letters}" if self.letters or self.sub == "cur" else f"{self.sub}/{name}"

    def fits(self, answer: Answer) -> bool:
        """One of several of that name, size and date is told from the others by its inode: under another name now, either may be found."""
        facts = answer.facts
        same = facts is not None and facts.size == self.size and facts.mtime_ns // 10**9 == self.mtime
        return same and (not self.twin or facts is None or facts.inode == self.inode % 2**64)


class Fetcher:
    """Fetches for one mailbox after another; counts what it did."""

    def __init__(
        self,
        session: ServerSession,
        inventory: Inventory,
        staging: Staging,
        progress: Progress,
        stretch: Stretch,
        checkpoint: Callable[[], None],
        leave_out: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        """`leave_out`: whether a small message is none that anybody wants to keep (a canary)."""
        self.session, self.inventory, self.staging, self.progress = session, inventory, staging, progress
        self._stretch, self._checkpoint, self._leave_out = stretch, checkpoint, leave_out
        self.new = self.moved = 0
        self.missing: list[tuple[int, Missing]] = []
        self.left: list[tuple[Target, Wanted]] = []  # files that had gone when they were asked for
        self.notes: list[str] = []
        self._pending: set[str] = set()  # in the segment that is still open
        self._known: dict[str, bool] = {}  # of the messages that are being added: whether the archive has them
        self._mailbox = ""
        self._rows: list[tuple[object, ...]] = []  # entries that are not in the inventory yet: at most a batch

    def run(self, mailbox: str, targets: Sequence[Target], part: Slice = EVERYTHING) -> None:
        """Everything that is new in these folders of one mailbox. What was read is kept, also when the connection breaks."""
        self._mailbox = mailbox
        with ExitStack() as stack:
            writer: SegmentWriter | None = None  # made for the first that waits: to look for one beforehand is a walk of its own
            for target in targets:
                for batch in self._batches(target, part):
                    if writer is None:
                        made = self.staging.segment_writer(mailbox, known=self._is_known, on_sealed=self._on_sealed)
                        writer = stack.enter_context(made)
                    if self._stretch.look():
                        writer.close()
                        self._checkpoint()
                    try:
                        self._fetch(writer, target, self._digest(target, batch))
                    finally:  # what was read before a connection broke is kept
                        self._write(target)
        if writer is not None:
            self.inventory.commit()

    def _write(self, target: Target | None = None) -> None:
        self.inventory.db.executemany(PUT, self._rows)
        self._rows.clear()
        if target is not None:
            self.inventory.db.execute("UPDATE folder SET dirty = 1 WHERE id = ?", (target.id,))

    def _on_sealed(self, sealed: Sealed) -> None:
        self._write()
        self.inventory.sealed(sealed, self._mailbox)
        self._pending.clear()

    def _batches(self, target: Target, part: Slice) -> Iterator[list[Wanted]]:
        after: tuple[object, ...] = BEGINNING
        while rows := self.inventory.rows(NEW, target.id, *after, *part, BATCH):
            batch = _within([*map(Wanted._make, rows)])
            last = batch[-1]
            after = (last.base, last.size, last.mtime, last.twin)
            yield batch

    def _digest(self, target: Target, batch: Sequence[Wanted]) -> list[Wanted]:
        """Takes those whose content the archive has; gives those that must be read."""
        candidates: list[Wanted] = []
        to_read: list[Wanted] = []
        for wanted in batch:
            (candidates if wanted.known or wanted.changed else to_read).append(wanted)
        answers = self.session.digest_messages(target.box.path, target.path, [wanted.item for wanted in candidates])
        for wanted, answer in zip(candidates, answers, strict=True):
            if not self._usable(target, wanted, answer):
                continue
            if answer.id in self._pending or self.inventory.has_content(answer.id):
                moved = self._is_vanishing(target, wanted, answer.id)
                self.moved += moved
                self.new += not moved
                self._keep(target, wanted, answer.id)
                self._advance(wanted.size)
            else:
                to_read.append(wanted)
        return to_read

    def _fetch(self, writer: SegmentWriter, target: Target, to_read: Sequence[Wanted]) -> None:
        answers = self.session.read_messages(target.box.path, target.path, [wanted.item for wanted in to_read])
        held: list[tuple[Wanted, bytes]] = []
        room = TOGETHER_BYTES
        try:
            for wanted, answer in zip(to_read, answers, strict=True):
                if not self._usable(target, wanted, answer):
                    continue
                assert answer.body is not None
                if wanted.size > PIECE:
                    self._stored(target, wanted, writer.add(_pieces(answer.body)))
                    self._advance(wanted.size)
                    continue
                data = answer.body.read()
                if self._leave_out(data):
                    self._advance(wanted.size)
                    continue
                held.append((wanted, data))
                room -= wanted.size
                if room <= 0 or len(held) == TOGETHER:
                    self._add(writer, target, held)
                    room = TOGETHER_BYTES
        finally:  # what was read before a connection broke is kept
            self._add(writer, target, held)

    def _add(self, writer: SegmentWriter, target: Target, held: list[tuple[Wanted, bytes]]) -> None:
        """Some dozens of small messages, so that the inventory is asked once for all of them. Empties `held`."""
        batch, held[:] = list(held), []
        named = [digests(data) for _, data in batch]
        known = self.inventory.known_contents([names[0] for names in named])
        self._known = {names[0]: names[0] in known for names in named}
        try:
            for (wanted, data), names in zip(batch, named, strict=True):
                self._stored(target, wanted, writer.add_whole(data, names))
                self._known[names[0]] = True  # the segment may be sealed before the next one
        finally:
            self._advance(sum(wanted.size for wanted, _ in batch))

    def _stored(self, target: Target, wanted: Wanted, stored: Stored) -> None:
        self._pending.add(stored.id)
        self._keep(target, wanted, stored.id)
        self.new += 1

    def _is_known(self, id_: str) -> bool:
        known = self._known.get(id_)
        return self.inventory.has_content(id_) if known is None else known

    def _advance(self, size: int) -> None:
        self.progress.advance(size)
        self._stretch.advance(size)

    def _usable(self, target: Target, wanted: Wanted, answer: Answer) -> bool:
        if answer.status == "ok" and wanted.fits(answer):
            return True
        name = text(wanted.base)
        if answer.status == "gone":
            self.left.append((target, wanted))
        else:
            why = answer.why if answer.status == "failed" else "it changed while it was read"
            self.missing.append((target.id, target.missing(name, why)))
        return False

    def lost(self) -> list[Missing]:
        """Those that left before they were read, and that no other folder is known to hold: the same file, name, date and inode."""
        why = "it left its folder while the pull ran, and may have been moved"
        return [target.missing(text(wanted.base), why) for target, wanted in self.left if not self._is_archived(target, wanted)]

    def _is_archived(self, target: Target, wanted: Wanted) -> bool:
        here = (target.id, wanted.inode, wanted.size, wanted.mtime, wanted.base)
        return bool(wanted.inode and self.inventory.rows(SAME_FILE, *here))

    def _keep(self, target: Target, wanted: Wanted, id_: str) -> None:
        if wanted.changed:
            self._note_change(target, wanted, id_)
        key = (target.id, wanted.base, wanted.size, wanted.mtime, wanted.twin)
        self._rows.append((*key, wanted.inode, tidy_letters(wanted.letters), bytes.fromhex(id_)))

    def _note_change(self, target: Target, wanted: Wanted, id_: str) -> None:
        """Maildir files never change; one that did is worth a word."""
        before = self.inventory.rows(BEFORE, target.id, wanted.base, wanted.size, wanted.mtime)
        if before and wanted.twin == 0 and all(row[0].hex() != id_ for row in before):
            self.notes.append(
                f"{target.box.mailbox} {target.name}: {text(wanted.base)} has other content than before under the same name"
            )

    def _is_vanishing(self, target: Target, wanted: Wanted, id_: str) -> bool:
        facts = (wanted.mtime, wanted.size, wanted.base, wanted.inode)
        ((vanishing,),) = self.inventory.rows(VANISHING, bytes.fromhex(id_), *facts, target.id)
        return bool(vanishing)


def _within(batch: list[Wanted]) -> list[Wanted]:
    """The first of them, up to BATCH_BYTES; at least one."""
    size = 0
    for place, wanted in enumerate(batch):
        size += wanted.size
        if size > BATCH_BYTES and place:
            return batch[:place]
    return batch


def _pieces(body: IO[bytes]) -> Iterator[bytes]:
    while piece := body.read(PIECE):
        yield piece
