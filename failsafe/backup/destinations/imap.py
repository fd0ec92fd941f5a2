"""`imap`: messages back into mailboxes on a server. Whatever a server makes of bytes it is given, content is compared in canonical form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

from failsafe.backup.destinations.base import AlreadyThere, Rejected, refuse_opaque
from failsafe.backup.destinations.imap_known import Given, Held, candidates_for, given_to_imap, held_in
from failsafe.backup.restore_plan import Folders, Wanted
from failsafe.errors import MailError
from failsafe.mail.identity import digests
from failsafe.model import Body
from failsafe.ports import MailboxServer, Narrator, NewMessage, Progress, StoredMessage

T = TypeVar("T")
SYSTEM_FLAGS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted", "P": "$Forwarded"}
TOGETHER, TOGETHER_BYTES = 100, 1 << 20  # messages and bytes of them in one command
TRIES = 3  # of a message over a line that breaks; before each the server is asked whether the last one arrived
LOOKS = 6  # at a folder whose messages are listed and not given, each in a session of its own
NO_ROOM = ("overquota", "quota exceeded", "over quota", "mailbox is full", "no space left", "not enough disk")
LAST_SECOND = 253_402_214_400  # 31 December 9999, where calendars end
EARLIEST = 86_400  # 2 January 1970. Dovecot shows what is before 1970 136 years later, Cyrus refuses it and takes the epoch itself for no date
BEFORE_1970 = "the date is before 1970, which IMAP servers do not keep: it was given as 1970-01-02"


@dataclass(frozen=True, slots=True)
class _Letter:
    """A message on its way. `flags` and `keywords` as IMAP writes them."""

    item: Wanted
    body: Body
    flags: frozenset[str]
    keywords: frozenset[str]

    @property
    def place(self) -> tuple[str, str]:
        return self.item.target_mailbox, self.item.target_folder

    @property
    def marks(self) -> frozenset[str]:
        return self.flags | self.keywords

    def message(self) -> NewMessage:
        return NewMessage(self.body, self.marks, _date(self.item.internal_date))


class ImapDestination:
    identity = "canonical"
    as_stored = False
    follows_moves = True

    def __init__(self, connect: Callable[[str], MailboxServer], narrate: Narrator) -> None:
        """`connect(mailbox)` opens one mailbox; one is open at a time. Raises MailError."""
        self._connect, self._narrate = connect, narrate
        self._server: MailboxServer | None = None
        self._mailbox = ""
        self._ready: set[str] = set()  # folders that exist for certain
        self._uids: dict[Wanted, int | None] = {}
        self._sent: dict[Wanted, frozenset[str]] = {}  # flags and keywords that the server was given
        self._forms: dict[Wanted, Mapping[str, tuple[str, ...]]] = {}  # digests that servers may show instead, and what they did
        self._newest: dict[tuple[str, str], int] = {}  # the highest UID that a folder had before anything was added
        self._floors: dict[tuple[str, str], int] = {}  # where reading back begins
        # of the last folder that was asked about: what was in it before
        self._before: tuple[tuple[str, str], tuple[StoredMessage, ...]] = (("", ""), ())
        self._waiting: list[_Letter] = []  # for one folder, until there are enough of them
        self._refused: dict[Wanted, str] = {}
        self._notes: dict[str, int] = {}

    def there(self, wanted: Sequence[Wanted], progress: Progress) -> Mapping[str, Folders]:
        """Lists every folder of each mailbox, and reads only messages that may be one of those wanted."""
        held: dict[str, dict[str, frozenset[str]]] = {}
        for mailbox in sorted({item.target_mailbox for item in wanted}):
            mine = [item for item in wanted if item.target_mailbox == mailbox]
            folders = self._open(mailbox).folders()
            progress.stage(f"looking at {mailbox}", len(folders), "folders")
            for folder in folders:
                found = self._look(mailbox, folder, mine)
                if found:
                    held.setdefault(mailbox, {})[_same_inbox(folder)] = found
                progress.advance(1)
        return held

    def add(self, item: Wanted, body: Body) -> None:
        """Also raises AlreadyThere: the folder holds it in a form that the server made of it."""
        refuse_opaque(body)
        flags = {SYSTEM_FLAGS[letter] for letter in item.flags}
        if item.gone and "\\Deleted" in flags:
            flags.discard("\\Deleted")  # it was marked for deletion, then removed: kept, the mark would remove it once more
            self._note("the mark “deleted” was left out")
        keywords = frozenset(keyword for keyword in item.keywords if _is_atom(keyword))
        for keyword in set(item.keywords) - keywords:
            self._note(f"the keyword {keyword}, which IMAP cannot write, was left out")
        given = given_to_imap(body)
        if given.forms and self._is_known(item, given):
            raise AlreadyThere
        self._forms[item] = given.forms
        for text in given.changes:
            self._note(text)
        self._give(_Letter(item, given.body, frozenset(flags), keywords))

    def finish(self) -> dict[Wanted, str]:
        self._flush()
        return self._refused

    def verify(self, added: Sequence[Wanted], progress: Progress) -> dict[Wanted, str]:
        wrong: dict[Wanted, str] = {}
        places: dict[tuple[str, str], list[Wanted]] = {}
        for item in added:
            places.setdefault((item.target_mailbox, item.target_folder), []).append(item)
        progress.stage("reading back", len(added), "messages")
        for (mailbox, folder), items in sorted(places.items(), key=lambda place: place[0]):
            wrong.update(self._verify_folder(self._open(mailbox), folder, items))
            progress.advance(len(items))
        return wrong

    def notes(self) -> tuple[str, ...]:
        return tuple(f"{text} ({count} message(s))" for text, count in sorted(self._notes.items()))

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def server(self, mailbox: str) -> MailboxServer:
        """The open session, for who looks before anything is added. Raises MailError."""
        return self._open(mailbox)

    def expect_above(self, mailbox: str, folder: str, uid: int) -> None:
        """What is added gets higher UIDs than this one, the folder's newest now: then reading back does not list what was there before."""
        self._newest[mailbox, _same_inbox(folder)] = uid
        self._floors[mailbox, _same_inbox(folder)] = uid

    def place_of(self, item: Wanted) -> tuple[int | None, int | None]:
        """(UIDVALIDITY, UID) of a message that was added and read back, as far as the server told them."""
        uid = self._uids.get(item)
        return (None, None) if uid is None else (self._open(item.target_mailbox).uid_validity(item.target_folder), uid)

    def _open(self, mailbox: str) -> MailboxServer:
        if self._server is None or self._mailbox != mailbox:
            self.close()
            self._server, self._mailbox, self._ready = self._connect(mailbox), mailbox, set()
        return self._server

    def _look(self, mailbox: str, folder: str, wanted: Sequence[Wanted]) -> frozenset[str]:
        """Which of the wanted messages are in a folder. A server that lost its list of a folder shows messages without size and content
        at first (Dovecot 2.3 after a damaged dovecot-uidlist), and all of them in a later session: taken for absent they would be doubled."""
        held = Held(frozenset(), 1, ())
        for look in range(1, LOOKS + 1):
            try:
                held = held_in(self._open(mailbox), folder, wanted)
            except MailError as error:
                if not error.transient or look == LOOKS:
                    raise
                self._narrate(f"{mailbox}: {error}; connecting again")
                held = Held(frozenset(), 1, ())
            if not held.withheld:
                break
            self.close()
        self._newest[mailbox, _same_inbox(folder)] = max((message.uid for message in held.listed), default=0)
        if held.withheld > 2 and held.withheld * 2 > len(held.listed):
            raise MailError(
                f"{mailbox}: the server lists {held.withheld} message(s) in {folder} and does not give them, so nobody can tell what is there;"
                " nothing was added",
                mend=f"let the server mend that folder (Dovecot: doveadm force-resync -u {mailbox} '*'), then run the same restore again",
                transient=False,
            )
        if held.withheld:
            self._notes[f"{mailbox} {folder}: the server lists messages that it does not give"] = held.withheld
        return held.found

    def _give(self, letter: _Letter) -> None:
        """Small ones wait for others: a command for each is a round trip and a write of its index for each."""
        if self._waiting and self._waiting[0].place != letter.place:
            self._flush()
        if letter.body.size == 0 or letter.body.size > TOGETHER_BYTES:
            self._put([letter], self._append)
            return
        self._waiting.append(replace(letter, body=Body.of(b"".join(letter.body.pieces()))))  # it is not to be read later
        if len(self._waiting) == TOGETHER or sum(each.body.size for each in self._waiting) >= TOGETHER_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Together where the server takes that, else one by one; a refused one is kept for the end."""
        waiting, self._waiting = self._waiting, []
        left: Sequence[_Letter] = waiting
        try:
            if len(waiting) > 1 and self._tried(waiting[0].item.target_mailbox, lambda server, _: server.takes_many):
                left = self._put_together(waiting)
        except Rejected as error:
            self._refused.update((letter.item, str(error)) for letter in waiting)
            return
        for letter in left:
            try:
                self._put([letter], self._append)
            except Rejected as error:
                self._refused[letter.item] = str(error)

    def _put_together(self, letters: Sequence[_Letter]) -> Sequence[_Letter]:
        """What is left where the server refuses them together: it tells then which one it means. Before that it is asked what arrived: an answer may
        have been lost before the refusal."""
        try:
            self._put(letters, self._append_all)
        except Rejected:
            return self._tried(letters[0].item.target_mailbox, lambda server, _: _lacking(server, letters))
        return ()

    def _put(self, letters: Sequence[_Letter], append: Callable[[MailboxServer, Sequence[_Letter]], None]) -> None:
        """Appends once, whatever the line does: after a lost answer the server is asked before anything is sent again."""

        def put(server: MailboxServer, attempt: int) -> None:
            left = letters if attempt == 1 else _lacking(server, letters)
            if left:
                self._demand_folder(server, left[0].item.target_folder)
                append(server, left)

        self._tried(letters[0].item.target_mailbox, put)

    def _tried(self, mailbox: str, act: Callable[[MailboxServer, int], T]) -> T:
        """What `act(server, attempt)` gives, over a line that may break. Raises Rejected where the server says no, MailError after the last attempt."""
        for attempt in range(1, TRIES + 1):
            try:
                return act(self._open(mailbox), attempt)
            except MailError as error:
                if not error.transient:
                    raise Rejected(str(error)) from error
                if attempt == TRIES:
                    raise
                self._narrate(f"{mailbox}: {error}; connecting again")
                self.close()
        raise AssertionError

    def _demand_folder(self, server: MailboxServer, folder: str) -> None:
        if folder not in self._ready:
            server.create_folder(folder)
            self._ready.add(folder)

    def _append_all(self, server: MailboxServer, letters: Sequence[_Letter]) -> None:
        uids = server.append_all(letters[0].item.target_folder, [letter.message() for letter in letters])
        for letter, uid in zip(letters, uids, strict=True):
            self._gave(letter.item, letter.marks, uid)

    def _append(self, server: MailboxServer, letters: Sequence[_Letter]) -> None:
        """One message, with everything; else without keywords; else bare: a message without its flags is better than none."""
        (letter,) = letters
        tries = [(letter.marks, "")]
        if letter.keywords:
            tries.append((letter.flags, "the server refused the keywords"))
        if letter.flags:
            tries.append((frozenset(), "the server refused the flags"))
        for number, (marks, note) in enumerate(tries):
            try:
                uid = server.append(letter.item.target_folder, letter.body, marks, _date(letter.item.internal_date))
            except MailError as error:
                if error.transient or number == len(tries) - 1 or is_about_room(str(error)):
                    raise
                continue
            if note:
                self._note(note)
            self._gave(letter.item, marks, uid)
            return

    def _gave(self, item: Wanted, marks: frozenset[str], uid: int | None) -> None:
        if item.internal_date < 0:
            self._note(BEFORE_1970)
        self._sent[item], self._uids[item] = marks, uid

    def _is_known(self, item: Wanted, given: Given) -> bool:
        """Whether the folder held it before, as the server shows what it was once given. Only messages of before: two may be shown alike."""
        place = (item.target_mailbox, _same_inbox(item.target_folder))
        newest = self._newest.get(place, 0)
        if newest == 0:
            return False
        server = self._open(item.target_mailbox)
        if self._before[0] != place:
            self._before = (place, tuple(one for one in server.messages(item.target_folder) if one.uid <= newest))
        uids = [message.uid for message in candidates_for(self._before[1], [item], changed=True)]
        return any(digests(pieces)[1] in given.forms for _, pieces in server.read(item.target_folder, uids))

    def _verify_folder(self, server: MailboxServer, folder: str, items: Sequence[Wanted]) -> dict[Wanted, str]:
        """Bytes by UID where the server told it, else by looking; then what it made of bytes, flags and date."""
        place = (items[0].target_mailbox, _same_inbox(folder))
        floor = self._floors.get(place, 0)
        found = server.messages(folder, above=floor) if floor else server.messages(folder)
        listed = {message.uid: message for message in found}
        if place in self._floors:
            self._floors[place] = max(listed, default=floor)
        by_digest: dict[str, list[Wanted]] = {}
        for item in items:
            for digest in {item.canonical, *self._forms.get(item, ())}:
                by_digest.setdefault(digest, []).append(item)
        told = [uid for item in items if (uid := self._uids.get(item)) is not None and uid in listed]
        unsure = [item for item in items if self._uids.get(item) is None]
        candidates = sorted({*told, *(message.uid for message in candidates_for(listed.values(), unsure, changed=True))})
        right: dict[Wanted, tuple[StoredMessage, str]] = {}
        for uid, pieces in server.read(folder, candidates):
            digest = digests(pieces)[1]
            for item in by_digest.get(digest, ()):
                if self._uids.get(item) in (None, uid):
                    right[item] = (listed[uid], digest)
        for item, (message, digest) in right.items():
            self._compare(item, message, digest)
        return {item: f"the server shows other bytes in {folder} than it was given" for item in items if item not in right}

    def _compare(self, item: Wanted, message: StoredMessage, digest: str) -> None:
        """Notes what the server made of a message that is there."""
        for text in () if digest == item.canonical else self._forms[item][digest]:
            self._note(text)
        if message.internal_date != _date(item.internal_date):
            self._note("the server did not keep the date")
        kept = {flag.lower() for flag in message.flags}
        for flag in self._sent.get(item, frozenset()):
            if flag.lower() not in kept:
                self._note(f"the server did not keep {flag}")

    def _note(self, text: str) -> None:
        self._notes[text] = self._notes.get(text, 0) + 1


def is_about_room(refusal: str) -> bool:
    """Whether a server refused a message since its mailbox or disk is full (RFC 5530: OVERQUOTA; older ones say it in words)."""
    return any(word in refusal.lower() for word in NO_ROOM)


def _lacking(server: MailboxServer, letters: Sequence[_Letter]) -> Sequence[_Letter]:
    """Those that their folder does not hold."""
    found = held_in(server, letters[0].item.target_folder, [letter.item for letter in letters]).found
    return [letter for letter in letters if letter.item.canonical not in found]


def _date(seconds: int) -> datetime:
    return datetime.fromtimestamp(EARLIEST if seconds < 0 else min(seconds, LAST_SECOND), UTC)


def _is_atom(keyword: str) -> bool:
    """RFC 3501 9 (flag-keyword = atom): no controls, blanks, or characters that the protocol uses itself."""
    return keyword.isascii() and keyword.isprintable() and not set(keyword) & set(' (){%*"\\]')


def _same_inbox(folder: str) -> str:
    return "INBOX" if folder.upper() == "INBOX" else folder
