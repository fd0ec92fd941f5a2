"""`imap`: messages back into mailboxes on a server. Whatever a server makes of bytes it is given, content is compared in canonical form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from failsafe.backup.destinations.base import Rejected, refuse_opaque
from failsafe.backup.restore_plan import Folders, Wanted
from failsafe.errors import MailError
from failsafe.mail.identity import digests, imap_pieces
from failsafe.model import Body
from failsafe.ports import MailboxServer, Narrator, Progress, StoredMessage

SYSTEM_FLAGS = {"D": "\\Draft", "F": "\\Flagged", "R": "\\Answered", "S": "\\Seen", "T": "\\Deleted", "P": "$Forwarded"}
TRIES = 3  # of one message over a line that breaks; before each the server is asked whether the last one arrived
LOOKS = 6  # at a folder whose messages are listed and not given, each in a session of its own
LAST_SECOND = 253_402_214_400  # 31 December 9999, where calendars end


class ImapDestination:
    identity = "canonical"
    follows_moves = True

    def __init__(self, connect: Callable[[str], MailboxServer], narrate: Narrator) -> None:
        """`connect(mailbox)` opens one mailbox; one is open at a time. Raises MailError."""
        self._connect, self._narrate = connect, narrate
        self._server: MailboxServer | None = None
        self._mailbox = ""
        self._ready: set[str] = set()  # folders that exist for certain
        self._uids: dict[Wanted, int | None] = {}
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
                    held.setdefault(mailbox, {})[_same_inbox(folder)] = frozenset(found)
                progress.advance(1)
        return held

    def add(self, item: Wanted, body: Body) -> None:
        refuse_opaque(body)
        flags = {SYSTEM_FLAGS[letter] for letter in item.flags}
        if item.gone and "\\Deleted" in flags:
            flags.discard("\\Deleted")  # it was marked for deletion, then removed: kept, the mark would remove it once more
            self._note("the mark “deleted” was left out")
        keywords = frozenset(keyword for keyword in item.keywords if _is_atom(keyword))
        if len(keywords) < len(item.keywords):
            self._note("a keyword that IMAP cannot write was left out")
        self._uids[item] = self._put(item, canonical_form(body), frozenset(flags), keywords)

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

    def _open(self, mailbox: str) -> MailboxServer:
        if self._server is None or self._mailbox != mailbox:
            self.close()
            self._server, self._mailbox, self._ready = self._connect(mailbox), mailbox, set()
        return self._server

    def _look(self, mailbox: str, folder: str, wanted: Sequence[Wanted]) -> set[str]:
        """Which of the wanted messages are in a folder. A server that lost its list of a folder shows messages without size and content
        at first (Dovecot 2.3 after a damaged dovecot-uidlist), and all of them in a later session: taken for absent they would be doubled."""
        found: set[str] = set()
        listed = withheld = 0
        for look in range(1, LOOKS + 1):
            try:
                found, withheld, listed = _held(self._open(mailbox), folder, wanted)
            except MailError as error:
                if not error.transient or look == LOOKS:
                    raise
                self._narrate(f"{mailbox}: {error}; connecting again")
                withheld = 1
            if not withheld:
                return found
            self.close()
        if withheld > 2 and withheld * 2 > listed:
            raise MailError(
                f"{mailbox}: the server lists {withheld} message(s) in {folder} and does not give them, so nobody can tell what is there;"
                " nothing was added",
                mend=f"let the server mend that folder (Dovecot: doveadm force-resync -u {mailbox} '*'), then run the same restore again",
                transient=False,
            )
        self._notes[f"{mailbox} {folder}: the server lists messages that it does not give"] = withheld
        return found

    def _put(self, item: Wanted, body: Body, flags: frozenset[str], keywords: frozenset[str]) -> int | None:
        """Appends once, whatever the line does: after a lost answer the server is asked before anything is sent again."""
        for attempt in range(1, TRIES + 1):
            try:
                server = self._open(item.target_mailbox)
                if attempt > 1 and item.canonical in _held(server, item.target_folder, [item])[0]:
                    return None
                return self._append(server, item, body, flags, keywords)
            except MailError as error:
                if not error.transient:
                    raise Rejected(str(error)) from error
                if attempt == TRIES:
                    raise
                self._narrate(f"{item.target_mailbox}: {error}; connecting again")
                self.close()
        raise AssertionError

    def _append(
        self, server: MailboxServer, item: Wanted, body: Body, flags: frozenset[str], keywords: frozenset[str]
    ) -> int | None:
        """With everything; else without keywords; else bare: a message without its flags is better than none."""
        if item.target_folder not in self._ready:
            server.create_folder(item.target_folder)
            self._ready.add(item.target_folder)
        date = _date(item.internal_date)
        forms = [(flags | keywords, "")]
        if keywords:
            forms.append((flags, "the server refused the keywords"))
        if flags:
            forms.append((frozenset(), "the server refused the flags"))
        for number, (form, note) in enumerate(forms):
            try:
                uid = server.append(item.target_folder, body, form, date)
            except MailError as error:
                if error.transient or number == len(forms) - 1:
                    raise
                continue
            if note:
                self._note(note)
            return uid
        raise AssertionError

    def _verify_folder(self, server: MailboxServer, folder: str, items: Sequence[Wanted]) -> dict[Wanted, str]:
        """Bytes by UID where the server told it, else by looking; then flags and date."""
        listed = {message.uid: message for message in server.messages(folder)}
        by_canonical: dict[str, list[Wanted]] = {}
        for item in items:
            by_canonical.setdefault(item.canonical, []).append(item)
        told = [uid for item in items if (uid := self._uids.get(item)) is not None and uid in listed]
        unsure = [item for item in items if self._uids.get(item) is None]
        candidates = sorted({*told, *(message.uid for message in _candidates(listed.values(), unsure))})
        right: dict[Wanted, StoredMessage] = {}
        for uid, pieces in server.read(folder, candidates):
            for item in by_canonical.get(digests(pieces)[1], ()):
                if self._uids.get(item) in (None, uid):
                    right[item] = listed[uid]
        wrong = {item: f"it is not in {folder} after it was added" for item in items if item not in right}
        for item, message in right.items():
            if message.internal_date != _date(item.internal_date):
                self._note("the server changed the date")
        return wrong

    def _note(self, text: str) -> None:
        self._notes[text] = self._notes.get(text, 0) + 1


def canonical_form(body: Body) -> Body:
    """The form whose SHA-256 is `canonical`: what IMAP is given, which has CRLF alone and no NUL. Reads the message once, to know its size."""

    def pieces() -> Iterator[bytes]:
        return imap_pieces(body.pieces())

    return Body(sum(map(len, pieces())), pieces)


def _held(server: MailboxServer, folder: str, wanted: Sequence[Wanted]) -> tuple[set[str], int, int]:
    """Which of the wanted messages are in a folder, by their content; how many that may be one of them were not given; how many are listed."""
    asked = {item.canonical for item in wanted}
    listed = server.messages(folder)
    uids = [message.uid for message in (*_candidates(listed, wanted), *(one for one in listed if one.size == 0))]
    given = {uid: digests(pieces)[1] for uid, pieces in server.read(folder, uids)} if uids else {}
    return asked.intersection(given.values()), len(uids) - len(given), len(listed)


def _candidates(messages: Iterable[StoredMessage], wanted: Sequence[Wanted]) -> list[StoredMessage]:
    """Messages that may be one of those wanted: the same Message-ID, and a size that line ends can explain."""
    by_message_id: dict[str, list[Wanted]] = {}
    unknown: list[Wanted] = []
    for item in wanted:
        if item.message_id is None:
            unknown.append(item)
        else:
            by_message_id.setdefault(item.message_id, []).append(item)
    return [
        message
        for message in messages
        if any(_may_be(message.size, item.size) for item in (*by_message_id.get(message.message_id, ()), *unknown))
    ]


def _may_be(there: int, stored: int) -> bool:
    """A server counts CRLF for each line end: at most twice as much as LF alone; a store with CRLF may be served with LF."""
    return stored <= there * 2 and there <= stored * 2 + 2


def _date(seconds: int) -> datetime:
    return datetime.fromtimestamp(min(max(seconds, 0), LAST_SECOND), UTC)


def _is_atom(keyword: str) -> bool:
    """RFC 3501 9 (flag-keyword = atom): no controls, blanks, or characters that the protocol uses itself."""
    return keyword.isascii() and keyword.isprintable() and not set(keyword) & set(' (){%*"\\]')


def _same_inbox(folder: str) -> str:
    return "INBOX" if folder.upper() == "INBOX" else folder
