"""A long pull over IMAP: every mailbox is looked through first, then its messages are read by age, the newest of every mailbox first.

Nothing is proved here and nothing leaves the archive: after it each mailbox is read as in any other pull (imap_read.py), which finds nearly all
of its messages in the archive. What cannot be read here is left to that, too.
"""

from __future__ import annotations

from failsafe.backup.imap_awaited import Awaited
from failsafe.backup.imap_plan import Known, Way, plan_reading
from failsafe.backup.imap_read import AT_ONCE, WIDE, MailboxReader, Reading
from failsafe.backup.stretch import EVERYTHING, Slice
from failsafe.ports import FolderState, SourceFolder, SourceMessage


class AheadReader(MailboxReader):
    """Use once, by `run`."""

    def __init__(self, reading: Reading, mailbox: str, awaited: Awaited, part: Slice = EVERYTHING) -> None:
        super().__init__(reading, mailbox)
        self._awaited, self._part = awaited, part

    def _opened(self, folder: SourceFolder) -> tuple[Known, FolderState] | None:
        """None where its UIDs may stand for other messages than before: that is judged when the folder is read as a whole."""
        known = self.ledger.folder(self.number, folder.name)
        assert folder.state is not None
        if plan_reading(known, folder.state, full=self.full) is Way.ANEW:
            return None
        now = self._open(known)
        if now is None or plan_reading(known, now, full=self.full) is Way.ANEW:
            return None
        return known, now


class Survey(AheadReader):
    """Notes what is missing of a mailbox."""

    def _work(self) -> None:
        for folder in self._folders():
            self._survey(folder)

    def _survey(self, folder: SourceFolder) -> None:
        known = self.ledger.folder(self.number, folder.name)
        assert folder.state is not None
        if plan_reading(known, folder.state, full=self.full) is Way.UNCHANGED or (opened := self._opened(folder)) is None:
            return
        known, now = opened
        wanted = self.ledger.lacks(known.id, self._there(known, now))
        if not wanted:
            return
        self.ledger.begin_folder(known.id, now.uid_validity, anew=False)
        self.ledger.doubt(known.id)
        self.progress.stage(f"{self.mailbox} {known.name}", len(wanted), "messages")
        for start in range(0, len(wanted), AT_ONCE):
            asked = set(wanted[start : start + AT_ONCE])
            facts = list(self._in_time(known, (one for one in self.box.facts(sorted(asked)) if one.uid in asked)))
            self._awaited.add(known.id, (one for one in facts if not self._take_known(known, now, one)))
            self.progress.advance(len(asked))

    def _there(self, known: Known, now: FolderState) -> list[int]:
        """UIDs of messages that are there, those of before left out where the server tells what came since."""
        before = known.state
        if plan_reading(known, now, full=self.full) is not Way.CHANGES:
            return self.box.uids()
        assert before is not None and before.uid_next is not None and now.uid_next is not None
        came = range(before.uid_next, now.uid_next)
        return self.box.uids() if len(came) > WIDE else [*known.lacking, *came]

    def _take_known(self, known: Known, now: FolderState, one: SourceMessage) -> bool:
        """A copy of what is stored crosses no wire."""
        same = self.ledger.content_of(self.number, one) if one.certain else None
        if same is not None:
            self.ledger.put(known.id, one, now.uid_validity, same.id, same.size)
        return same is not None


class Fetch(AheadReader):
    """Reads what was noted of a mailbox, of one age."""

    def _work(self) -> None:
        for folder in self._folders():
            uids = self._awaited.uids(self.ledger.folder(self.number, folder.name).id, self._part)
            if not uids or (opened := self._opened(folder)) is None:
                continue
            for start in range(0, len(uids), AT_ONCE):
                self._take(*opened, uids[start : start + AT_ONCE])
