"""Finds out which messages a server holds: surveys, lists what changed, and proves each listing or says that it could not."""
# ruff: noqa: S608 - the parts put into queries are our own constants

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from failsafe.backup.erased import Erased
from failsafe.backup.inventory import Inventory, raw
from failsafe.backup.inventory_schema import UNNUMBERED
from failsafe.backup.listing import PATIENT, ROUNDS, is_exact, is_unchanged
from failsafe.backup.protocol import Facts, FolderFacts, FolderPass, Listed, MailboxFacts, ServerSession
from failsafe.backup.restless import Restless
from failsafe.mail.maildir import UidList, folder_name, parse_uidlist, split_raw
from failsafe.mail.manifest import Missing
from failsafe.ports import Clock, Progress

MANY_NEWS = 5_000  # lines of a list of UIDs; with more of them all of it is taken
PAUSE = 2.1  # seconds: a folder that now holds still is then old enough for its mtimes to tell


@dataclass(slots=True)
class Target:
    """One folder on the server during this pull."""

    id: int
    box: MailboxFacts
    facts: FolderFacts
    listed: tuple[int, int] | None = None  # stamps of an exact listing made in this pull
    proved: bool = False
    why: str = ""  # why its listing could not be proved

    @property
    def name(self) -> str:
        return folder_name(self.facts.directory)

    @property
    def path(self) -> str:
        return self.box.place(self.facts.directory)

    def missing(self, name: str, why: str) -> Missing:
        return Missing(self.box.mailbox, self.name, name, why)


@dataclass(slots=True)
class World:
    """What the server holds, as far as this pull knows."""

    boxes: dict[str, MailboxFacts] = field(default_factory=dict)  # by DOMAIN/USER
    targets: dict[int, Target] = field(default_factory=dict)  # by the folder's number in the inventory
    excluded: set[int] = field(default_factory=set)
    touched: set[int] = field(default_factory=set)  # folders listed in this pull
    uidlists: dict[int, UidList] = field(default_factory=dict)  # headers; the names are in table `uid`
    grown: set[int] = field(default_factory=set)  # folders of which `uid` has only what is new
    unreadable: dict[tuple[int, str], Missing] = field(default_factory=dict)  # files that no listing could make sense of

    @property
    def failed(self) -> dict[str, str]:
        """Mailboxes (and domains) that could not be opened, and why."""
        return {path: box.error for path, box in self.boxes.items() if box.error}


class Gatherer:
    """Fills a World and the inventory's table `seen`."""

    def __init__(
        self,
        session: ServerSession,
        inventory: Inventory,
        clock: Clock,
        progress: Progress,
        *,
        exclude: Sequence[str],
        full: bool,
        erased: Erased,
    ) -> None:
        self.session, self.inventory, self.clock, self.progress = session, inventory, clock, progress
        self.exclude, self.full, self.erased = tuple(exclude), full, erased
        self.world = World()
        self._rounds = ROUNDS
        self._since = 0  # the server's clock in s, at the end of the first pass: what is younger came while we looked
        self._restless = Restless(self)

    def run(self) -> World:
        """Lists until every folder's listing is proved, or cannot be. May be called again later in a pull: only changes are listed."""
        waiting = self.survey()
        rounds, self._rounds = self._rounds, 1  # a folder that was restless once is not waited for again
        for attempt in range(rounds):
            able = (target for target in waiting if not target.why)  # one that cannot be listed will not hold stiller
            patient = [target for target in able if attempt < PATIENT or target.facts.uidlist is None]
            if not patient:
                break
            if attempt:
                self.clock.sleep(PAUSE)
            self.list(patient)
            waiting = self.survey()
        self._restless.run(waiting)
        return self.world

    def left(self, folder: int, bases: Iterable[bytes]) -> None:
        """Proved by the server not to be in this folder (any more): they may be in another one."""
        self._restless.lose(folder, bases)

    def survey(self) -> list[Target]:
        """Looks at every stamp; gives the folders whose listing is not proved by them."""
        boxes: dict[str, MailboxFacts] = {}
        targets: dict[int, Target] = {}
        for box in self.session.survey():
            if self.erased.covers(box.mailbox):
                continue
            boxes[box.path] = box
            if not box.error:
                number = self.inventory.mailbox_id(box.path, box.layout)
                for facts in box.folders:
                    self._note(targets, box, facts, number)
        self.world.boxes, self.world.targets = boxes, targets
        self._restless.leave_folders(targets)
        return [target for target in targets.values() if not target.proved]

    def _note(self, targets: dict[int, Target], box: MailboxFacts, facts: FolderFacts, mailbox: int) -> None:
        folder = self.inventory.folder_id(mailbox, facts.directory)
        name = folder_name(facts.directory)
        if any(name == other or name.startswith(other + "/") for other in self.exclude):
            self.world.excluded.add(folder)
            return
        before = self.world.targets.get(folder)
        target = Target(folder, box, facts, before.listed if before else None)
        if before and before.why and before.facts.stamps == facts.stamps:
            target.why = before.why
        known = target.listed or (None if self.full or folder in self.world.touched else self._stamps(folder))
        target.proved = is_unchanged(facts, known)
        targets[folder] = target

    def _stamps(self, folder: int) -> tuple[int, int] | None:
        ((cur, new),) = self.inventory.rows("SELECT cur, new FROM folder WHERE id = ?", folder)
        return None if cur is None or new is None else (cur, new)

    def list(self, targets: Sequence[Target]) -> dict[int, int]:
        """One pass over each folder; gives how many files of each were new to this pull, and are not younger than it."""
        db, added = self.inventory.db, dict.fromkeys((target.id for target in targets), 0)
        self.progress.stage("listing folders", len(targets), "folders")
        db.execute("DELETE FROM pass")
        for index, part in self.session.list_folders([(target.box.path, target.path) for target in targets]):
            target = targets[index]
            if isinstance(part, FolderPass):
                added[target.id] = self._end_of_pass(target, part)
                db.execute("DELETE FROM pass")
                self.progress.advance(1)
            else:
                db.executemany("INSERT INTO pass VALUES (?, ?, ?, ?, ?, ?, ?)", _pass_rows(target.id, part))
        return added

    def _end_of_pass(self, target: Target, end: FolderPass) -> int:
        target.listed = None
        if end.error:
            target.why = "" if end.gone else f"the folder cannot be listed: {end.error}"
            return 0
        self._since = self._since or end.now // 10**9
        if is_exact(end):
            target.listed, target.proved, target.why = end.after, True, ""
            self._restless.lose(target.id)
        self.world.touched.add(target.id)
        for name, why in end.problems:
            self.world.unreadable[target.id, name] = target.missing(name, why)
        return self._merge(target.id)

    def _merge(self, folder: int) -> int:
        """Joins a pass to what earlier passes saw. Files that differ in nothing but their inode are told apart by it."""
        old = "seen WHERE folder = ? AND mtime < ?"
        before = self.inventory.count(old, folder, self._since)
        if self._first(folder):
            return self.inventory.count(old, folder, self._since)
        twins = "SELECT base, size, mtime FROM pass GROUP BY base, size, mtime HAVING COUNT(DISTINCT inode) > 1"
        for twin, which in (("0", "NOT IN"), ("inode", "IN")):
            self.inventory.db.execute(
                f"INSERT OR REPLACE INTO seen SELECT folder, base, size, mtime, {twin}, inode, sub, letters FROM pass "
                f"WHERE (base, size, mtime) {which} ({twins})"
            )
        return self.inventory.count(old, folder, self._since) - before

    def _first(self, folder: int) -> bool:
        """The first pass over a folder in which no name comes twice, as it nearly always is: nothing to join, nothing to tell apart."""
        db = self.inventory.db
        if db.execute("SELECT EXISTS (SELECT 1 FROM seen WHERE folder = ?)", (folder,)).fetchone()[0]:
            return False
        query = "INSERT OR IGNORE INTO seen SELECT folder, base, size, mtime, 0, inode, sub, letters FROM pass ORDER BY base"
        if db.execute(query).rowcount == self.inventory.count("pass"):
            return True
        db.execute("DELETE FROM seen WHERE folder = ?", (folder,))
        return False

    def see(self, target: Target, name: str, facts: Facts) -> None:
        """A file that passes missed and the server found when it was asked for it by name."""
        sub, _, rest = name.partition("/")
        self.inventory.db.execute("DELETE FROM pass")
        found = (sub, raw(rest), facts.size, facts.mtime_ns, facts.inode)
        self.inventory.db.executemany("INSERT INTO pass VALUES (?, ?, ?, ?, ?, ?, ?)", _pass_rows(target.id, [found]))
        self._merge(target.id)

    def read_uidlist(self, target: Target, *, news: bool = False) -> bool:
        """Its names go to table `uid`; with `news` only those that say something new, where it is the list that we know, grown.

        False where there is none that can be read.
        """
        path = f"{target.path}/dovecot-uidlist".lstrip("/")
        for _ in range(3):  # it is appended to in place
            answers = list(_contents(self.session, target.box.path, path))
            listed = parse_uidlist(answers[0]) if answers else None
            if listed is not None:
                break
        else:
            return False
        self.inventory.db.execute("DELETE FROM uid WHERE folder = ?", (target.id,))
        fresh = self._news(target.id, listed) if news else None
        (self.world.grown.discard if fresh is None else self.world.grown.add)(target.id)
        pairs = listed.uids if fresh is None else fresh
        self.inventory.db.executemany(
            "INSERT OR REPLACE INTO uid VALUES (?, ?, ?)", ((target.id, raw(base), uid) for base, uid in pairs)
        )
        self.world.uidlists[target.id] = UidList(listed.uid_validity, listed.uid_next, listed.guid)
        return True

    def _news(self, folder: int, listed: UidList) -> Sequence[tuple[str, int]] | None:
        """What it says of messages without a number, and of numbers given since it was read last. None: all of it is to be taken.

        A UID never means another message while UIDVALIDITY stays (RFC 3501 section 2.3.1.1): a file that is numbered anew gets a higher one.
        """
        ((validity, following),) = self.inventory.rows("SELECT uid_validity, uid_next FROM folder WHERE id = ?", folder)
        if validity is None or following is None or validity != listed.uid_validity or not listed.uids:
            return None
        found = [*islice(listed.uids.since(following), MANY_NEWS)]
        named = {raw(base) for base, _ in found}
        waiting = self.inventory.rows(f"SELECT base FROM entry WHERE folder = ? AND {UNNUMBERED}", folder)
        return found if len(found) < MANY_NEWS and all(base in named for (base,) in waiting) else None


def _contents(session: ServerSession, mailbox: str, path: str) -> Iterator[bytes]:
    for answer in session.read_control(mailbox, [path]):
        if answer.body is not None:
            yield answer.body.read()


def read_control(session: ServerSession, mailbox: str, path: str) -> bytes | None:
    """A control file's content, None where it cannot be had just now."""
    found = list(_contents(session, mailbox, path))
    return found[0] if found else None


def _pass_rows(folder: int, part: Iterable[Listed]) -> Iterator[tuple[object, ...]]:
    for sub, name, size, mtime_ns, inode in part:
        base, letters = split_raw(name)
        signed = inode if inode < 2**63 else inode - 2**64  # SQLite's integers are signed
        yield folder, base, size, mtime_ns // 10**9, signed, sub, letters
