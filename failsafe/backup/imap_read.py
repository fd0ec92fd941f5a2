"""Reads one mailbox over IMAP into the archive: what came, what changed, what left, until nothing more can have slipped away.

A message that is moved while folders are read one after the other may be in none of them. So after the first round folders are asked again which of
them got messages since they were read, and those messages are read too, until none did or none of them had gone again: then every message that was
there throughout has been seen. Departures are looked for in the first round alone, so nothing that was seen is let go for a move.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from failsafe.backup.archive.segment import Sealed, SegmentWriter
from failsafe.backup.imap_bodies import BodyReader
from failsafe.backup.imap_ledger import ImapLedger, Same, seconds_of
from failsafe.backup.imap_pace import Pace, within
from failsafe.backup.imap_plan import Known, Way, may_hold_news, plan_reading
from failsafe.errors import MailError
from failsafe.mail.imap import header_of
from failsafe.mail.manifest import Missing
from failsafe.ports import FolderState, MailSource, Narrator, Progress, SourceFolder, SourceMailbox, SourceMessage

ROUNDS = 30  # of asking which folders got messages meanwhile: needed only while mail comes and goes faster than it is read
ATTEMPTS = 2  # sessions for one mailbox, beside those that reading bodies may need
AT_ONCE = 2_000  # messages whose facts are held in memory
HEADER = 1 << 18  # bytes looked at for the end of a header
SMALL = 1 << 16  # bytes: nothing larger is a canary
WIDE = 20_000  # UIDs between two states: beyond, the server is asked which of them there are


@dataclass(slots=True)
class Seen:
    """What reading one mailbox brought."""

    mailbox: str
    states: dict[int, FolderState] = field(default_factory=dict)  # by the folder's number: as it was when it was read
    listed: dict[int, str] = field(default_factory=dict)  # every folder that the last listing showed, and its name
    excluded: set[int] = field(default_factory=set)
    renewed: set[int] = field(default_factory=set)  # folders with another UIDVALIDITY than before
    lacking: dict[int, dict[int, str]] = field(default_factory=dict)  # folder -> UID -> why it could not be had
    unread: dict[int, str] = field(default_factory=dict)  # folders that could not be opened, and why
    restless: dict[int, str] = field(default_factory=dict)  # folders where messages came and went until the last round
    reflagged: int = 0
    notes: list[str] = field(default_factory=list)
    left_out: tuple[str, ...] = ()

    def missing(self) -> Iterator[Missing]:
        for folder, why in (*self.unread.items(), *self.restless.items()):
            yield Missing(self.mailbox, self.listed.get(folder, ""), "", why)
        for folder, uids in self.lacking.items():
            for uid, why in uids.items():
                yield Missing(self.mailbox, self.listed.get(folder, ""), f"UID {uid}", why)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the readers of one pull share."""

    source: MailSource
    ledger: ImapLedger
    progress: Progress
    narrate: Narrator
    pace: Pace
    exclude: Sequence[str] = ()
    views_in: Callable[[Mapping[str, Collection[str]]], Collection[str]] = (
        lambda _listing: ()
    )  # folders of which all lies in others too
    full: bool = False
    leave_out: Callable[[bytes], bool] = lambda _: False  # asked for small messages: whether it is nobody's mail (a canary)
    since: int | None = None  # seconds: what has an older internal date is left out


class MailboxReader:
    """Use once, by `run`. What was read is kept in sealed segments, also when the connection breaks."""

    def __init__(self, reading: Reading, mailbox: str) -> None:
        self.source, self.ledger, self.mailbox = reading.source, reading.ledger, mailbox
        self.progress, self.narrate, self.pace = reading.progress, reading.narrate, reading.pace
        self.exclude, self.views_in, self.full = reading.exclude, reading.views_in, reading.full
        self.leave_out, self.since = reading.leave_out, reading.since
        self.number = self.ledger.mailbox_id(mailbox)
        self.seen = Seen(mailbox)
        self.bodies = BodyReader(self._reopened, self.narrate)
        self._bad: dict[int, str] = {}  # of the folder that is read: why a message could not be had, by UID
        self.commands = self.received = 0

    def run(self) -> Seen:
        """Raises MailError and what opening a session raises; ArchiveError, LongPull."""
        known = self.ledger.inventory.has_content
        with self.ledger.staging.segment_writer(self.mailbox, known=known, on_sealed=self._on_sealed) as writer:
            for attempt in range(ATTEMPTS):
                try:
                    self._session(writer)
                    break
                except MailError as error:
                    if not error.transient or attempt + 1 == ATTEMPTS or self.bodies.gave_up:
                        raise
                    self.narrate(f"{self.mailbox}: {error}; once more")
        return self.seen

    def _on_sealed(self, sealed: Sealed) -> None:
        self.ledger.inventory.sealed(sealed, self.mailbox)
        self.ledger.pending.clear()

    # -- rounds ----------------------------------------------------------------------------------------------------------

    def _session(self, writer: SegmentWriter) -> None:
        self.seen = Seen(self.mailbox, renewed=self.seen.renewed, reflagged=self.seen.reflagged)
        self.bodies = BodyReader(self._reopened, self.narrate)
        self.box = self.source.open(self.mailbox)
        self._writer = writer
        try:
            self._work()
        finally:
            self._close()

    def _work(self) -> None:
        waiting = self._folders()
        opened = False
        for folder in waiting:
            opened |= self._read(folder)
        if opened:
            self._follow_moves()
        self.seen.left_out = self.box.left_out

    def _follow_moves(self) -> None:
        """See the module's own words."""
        for _ in range(ROUNDS):
            listed = self._folders()
            restless = {}
            news = [folder for folder in listed if folder.state and may_hold_news(self._state_of(folder), folder.state)]
            for folder in reversed(
                news
            ):  # INBOX, the busiest, is read last: what comes and goes until the next listing is least then
                if self._read_news(folder):
                    restless[self._id(folder)] = "messages came and went until the pull ended; one may have been moved past it"
            self.seen.restless = restless
            if not restless:
                return

    def _folders(self) -> list[SourceFolder]:
        """Every folder that is to be backed up."""
        kept = []
        self.seen.listed.clear()
        before = self.ledger.folders(self.number)
        listed = self.box.folders()
        views = self.views_in({folder.name: folder.uses for folder in listed})
        for folder in listed:
            if folder.name in views or self._is_excluded(folder):
                self.seen.excluded |= {before[folder.name]} if folder.name in before else set()
                continue
            number = self._id(folder)
            self.seen.listed[number] = folder.name
            self.ledger.subscribe(number, subscribed=folder.subscribed)
            self.ledger.note_uses(number, folder.uses)
            if folder.state is None:
                self.seen.unread[number] = folder.why
                continue
            kept.append(folder)
        for number in set(self.seen.unread) - set(self.seen.listed):  # it is gone, which is why it could not be opened
            del self.seen.unread[number]
        return kept

    def _is_excluded(self, folder: SourceFolder) -> bool:
        return any(folder.name == other or folder.name.startswith(other + "/") for other in self.exclude)

    def _id(self, folder: SourceFolder) -> int:
        return self.ledger.folder(self.number, folder.name).id

    def _state_of(self, folder: SourceFolder) -> FolderState | None:
        return self.seen.states.get(self._id(folder))

    # -- one folder ------------------------------------------------------------------------------------------------------

    def _read(self, folder: SourceFolder) -> bool:
        """Whole, as far as it is not known to be unchanged. True where it was opened."""
        known = self.ledger.folder(self.number, folder.name)
        assert folder.state is not None
        if plan_reading(known, folder.state, full=self.full) is Way.UNCHANGED:
            self.seen.states[known.id] = folder.state
            return False
        now = self._open(known)
        if now is None:
            return True
        way = plan_reading(known, now, full=self.full)
        if known.uid_validity is not None and way is Way.ANEW:
            self.seen.renewed.add(known.id)
        self.ledger.begin_folder(known.id, now.uid_validity, anew=way is Way.ANEW)
        if way in (Way.CHANGES, Way.UNCHANGED):
            self._read_changes(known, now)
        else:
            self._compare(known, now, way)
            self.ledger.depart_unnumbered(known.id)
        self.seen.states[known.id] = now
        return True

    def _read_news(self, folder: SourceFolder) -> bool:
        """What came since the folder was read. True where some of what had come before this round began has gone again."""
        known = self.ledger.folder(self.number, folder.name)
        before = self.seen.states.get(known.id)
        if before is None or before.uid_next is None or folder.state is None or before.uid_validity != folder.state.uid_validity:
            return self._read(folder)  # the first time, or once more: what left it since the first round may be anywhere
        now = self._open(known)
        if now is None or now.uid_next is None or now.uid_validity != before.uid_validity:
            return now is not None  # it began anew just now: the next round reads it whole
        gone = self._arrive(known, now, range(before.uid_next, now.uid_next))
        self.seen.states[known.id] = replace(
            before, uid_next=now.uid_next
        )  # with the older modseq: changes since are still to be read
        return any(uid < (folder.state.uid_next or now.uid_next) for uid in gone)

    def _open(self, known: Known) -> FolderState | None:
        try:
            now = self.box.open(known.name)
        except MailError as error:
            if error.transient:
                raise
            self.seen.unread[known.id] = str(error)
            return None
        self.seen.unread.pop(known.id, None)
        self._current = (known.name, now.uid_validity)
        return now

    def _read_changes(self, known: Known, now: FolderState) -> None:
        before = known.state
        assert before is not None and before.modseq is not None and before.uid_next is not None and now.uid_next is not None
        newest = self.ledger.newest(known.id) or 0  # of a pull that was cut off: their flags may have changed since, too
        changes = self.box.changes(before.modseq, max(before.uid_next, newest + 1))
        self._tell(known, ((uid, flags, None) for uid, flags in changes.flags.items()))
        self.ledger.depart(known.id, changes.vanished or ())
        witness = self.ledger.newest(known.id)
        if witness is not None and self._check(
            known, [witness]
        ):  # the store was put back from an old copy, and has gone on since
            self._compare(known, now, Way.CHECK)
            self.ledger.depart_unnumbered(known.id)
            return
        self._arrive(known, now, [*known.lacking, *range(before.uid_next, now.uid_next)])
        if self.ledger.count(known.id) + len(self.seen.lacking.get(known.id, ())) != now.messages:
            self._compare(known, now, Way.CHANGES)

    def _compare(self, known: Known, now: FolderState, way: Way) -> None:
        """Every UID there against every UID known."""
        there = self.box.uids()
        self.ledger.keep_left_out(known.id, there)
        mine = self.ledger.uids(known.id)
        self.ledger.depart(known.id, ((uid, uid) for uid in mine.difference(there)))
        both = [uid for uid in there if uid in mine]
        if way is Way.CHECK and both:
            self._check(known, both)
        elif way is Way.ALL and both:
            self._tell(known, ((uid, flags, None) for uid, flags in self.box.flags(both)))
        self._arrive(known, now, there)

    def _check(self, known: Known, uids: Sequence[int]) -> bool:
        """A UID must still stand for the message of that date, and of that identity where the server tells one. True where one does not."""
        found = False
        for start in range(0, len(uids), AT_ONCE):
            facts = list(self.box.facts(uids[start : start + AT_ONCE]))
            self.pace.is_alive()
            other = set(self._tell(known, ((one.uid, one.flags, seconds_of(one)) for one in facts)))
            other |= self.ledger.recall(self.number, known.id, [one for one in facts if one.uid not in other])
            if other:
                self.ledger.void(known.id, other)
                self.seen.notes.append(f"{self.mailbox} {known.name}: {len(other)} UID(s) stand for other messages than before")
                found = True
        return found

    def _tell(self, known: Known, told: Iterable[tuple[int, frozenset[str], int | None]]) -> list[int]:
        changed, replaced = self.ledger.tell(known.id, told)
        self.seen.reflagged += changed
        return replaced

    # -- messages --------------------------------------------------------------------------------------------------------

    def _arrive(self, known: Known, now: FolderState, expected: Sequence[int]) -> set[int]:
        """Takes those of these UIDs that are not stored into the archive, the newest first. Gives those that were not there any more."""
        wanted = self.ledger.lacks(known.id, expected)
        if not wanted:
            return set()
        gone: set[int] = set()
        if len(wanted) > WIDE:  # UIDs need not be dense
            there = set(self.box.uids())
            gone = set(wanted) - there
            wanted = [uid for uid in wanted if uid in there]
        wanted.sort(reverse=True)
        self.pace.begin_folder(f"{self.mailbox} {known.name}", len(wanted))
        self._bad.clear()
        for start in range(0, len(wanted), AT_ONCE):
            self._take(known, now, wanted[start : start + AT_ONCE])
        left = sorted(self.ledger.lacks(known.id, wanted))
        lacking: dict[int, str] = {}
        if left:
            still = self.box.uids(left)
            lacking = {uid: self._bad.get(uid, "the server lists it and does not give it") for uid in still}
        older = {uid: why for uid, why in self.seen.lacking.get(known.id, {}).items() if uid not in set(wanted)}
        self.seen.lacking[known.id] = {**older, **lacking}
        return gone | (set(left) - set(lacking))

    def _take(self, known: Known, now: FolderState, uids: Sequence[int]) -> None:
        asked = set(uids)
        listed = (one for one in self.box.facts(uids) if one.uid in asked)
        facts = sorted(self._in_time(known, listed), key=lambda one: -one.uid)
        same = self._same(facts)
        for one in facts:
            if one.uid in same:
                self.ledger.put(known.id, one, now.uid_validity, same[one.uid].id, same[one.uid].size)
                self.pace.came(one.size)
        to_read = [one for one in facts if one.uid not in same]
        self.pace.expect(to_read)
        for batch in within(to_read):
            self.pace.look(self._writer.close)
            try:
                self.bodies.read(self.box, batch, self._keeper_of(known, now))
            finally:
                for uid in self.bodies.untrusted:
                    self.ledger.take_back(known.id, uid)
            self._bad.update(self.bodies.bad)
        self.seen.notes += self.bodies.take_notes(f"{self.mailbox} {known.name}")

    def _in_time(self, known: Known, facts: Iterable[SourceMessage]) -> Iterator[SourceMessage]:
        """Without those that are too old, which are left out from now on."""
        for one in facts:
            if self.since is not None and one.internal_date is not None and seconds_of(one) < self.since:
                self.ledger.leave_out(known.id, one.uid, seconds_of(one))
            else:
                yield one

    def _same(self, facts: Sequence[SourceMessage]) -> dict[int, Same]:
        """Of these, by UID, what is stored already: by an identity that cannot repeat, or by one that can and an equal header."""
        found = {one.uid: same for one in facts if (same := self.ledger.content_of(self.number, one)) is not None}
        doubtful = [one.uid for one in facts if one.uid in found and not one.certain]
        headers = dict(self.box.headers(doubtful)) if doubtful else {}
        for uid in doubtful:
            if hashlib.sha256(headers.get(uid, b"")).digest() != found[uid].header:
                del found[uid]
        return found

    def _keeper_of(self, known: Known, now: FolderState) -> Callable[[SourceMessage, Iterable[bytes]], tuple[str, int]]:
        def keep(message: SourceMessage, pieces: Iterable[bytes]) -> tuple[str, int]:
            if message.size <= SMALL:
                pieces = (data := b"".join(pieces),)
                if self.leave_out(data):
                    self.ledger.leave_out(known.id, message.uid)
                    self.pace.came(message.size)
                    return "", message.size
            start = bytearray()
            stored = self._writer.add(_watched(pieces, start))
            self.ledger.pending[stored.id] = stored.size
            self.ledger.put(known.id, message, now.uid_validity, stored.id, stored.size)
            header = None if message.certain else hashlib.sha256(header_of(bytes(start))).digest()
            self.ledger.remember(self.number, message, stored.id, stored.size, header)
            self.pace.came(message.size)
            return stored.id, stored.size

        return keep

    # -- sessions --------------------------------------------------------------------------------------------------------

    def _reopened(self) -> SourceMailbox:
        """A new session with the same folder open, after the line broke."""
        name, validity = self._current
        self._close()
        self.box = self.source.open(self.mailbox)
        self.box.folders()  # by which the session knows the server's own names
        if self.box.open(name).uid_validity != validity:
            raise MailError(f"{self.mailbox} {name}: its UIDs began anew while it was read")
        return self.box

    def _close(self) -> None:
        self.commands += self.box.commands
        self.received += self.box.received
        self.box.close()


def _watched(pieces: Iterable[bytes], start: bytearray) -> Iterator[bytes]:
    """The first of them go to `start`, too: a header."""
    for piece in pieces:
        if len(start) < HEADER:
            start += piece[: HEADER - len(start)]
        yield piece
