"""One mailbox on an IMAP server, by imapclient: ports.MailboxServer. Verified TLS, a deadline for every answer, bounded answers."""

from __future__ import annotations

import imaplib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from failsafe.adapters.imap_answers import as_bytes, positive
from failsafe.adapters.imap_line import ANSWER_SECONDS, Meter, connect, faults, hang_up, words_of
from failsafe.errors import MailError
from failsafe.mail.headers import parse_headers
from failsafe.model import Body, Endpoint
from failsafe.ports import NewMessage, StoredMessage
from failsafe.secrets import Secret

SEARCHED_AT_ONCE = 50_000  # UIDs, of at most 10 digits and a space
MARKED_AT_ONCE = 500  # messages a STORE or MOVE
LISTED_AT_ONCE = 1_000  # messages a FETCH of facts
FETCHED_BYTES = 16 << 20  # messages a FETCH of bodies: until their sizes reach this, or FETCHED_AT_ONCE
FETCHED_AT_ONCE = 100
LARGE = 4 << 20  # bytes: a larger message is read by parts of this size
MAXIMUM_FOLDERS = 100_000
_FACTS = ["UID", "RFC822.SIZE", "INTERNALDATE", "FLAGS", "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"]
_HEADER_KEY = b"BODY[HEADER.FIELDS (MESSAGE-ID)]"
_APPENDUID = re.compile(rb"APPENDUID \d+ ([\d:,]+)")
_UIDS = re.compile(rb"(\d{1,10})(?::(\d{1,10}))?")  # 32 bits (RFC 3501 2.3.1.1)


class ImapMailbox:
    """Opened with a credential given for this run. Folder names are UTF-8 with "/"; the server's own form stays in here."""

    def __init__(
        self,
        endpoint: Endpoint,
        user: str,
        password: Secret,
        *,
        separator: str | None = None,
        answer_seconds: float | None = None,
        meter: Meter | None = None,
        mend: str = "check --imap-user and the password in --imap-password-file",
    ) -> None:
        """Connects and logs in. `separator` overrides what the server says; `meter` holds limits; `mend`: for a refused login. Raises MailError (`credential` where the login is refused)."""
        self._where = f"{endpoint.host}:{endpoint.port}"
        with self._faults("connect"):
            self._client = connect(endpoint, meter or Meter(answer_seconds=answer_seconds or ANSWER_SECONDS))
        try:
            self._login(user, password, mend)
            self._prefix, self._separator = self._namespace(separator)
            self._known: set[str] | None = None  # folders, by the server's names
            self._sizes: dict[int, int] = {}
            self._attributes: dict[str, frozenset[str]] = {}
            self._permanent: frozenset[bytes] = frozenset()
            self._validities: dict[str, int | None] = {}
        except BaseException:
            self.close()
            raise

    def folders(self) -> tuple[str, ...]:
        """Those that can hold messages, sorted."""
        with self._faults("list folders"):
            listed = self._client.list_folders()
        if len(listed) > MAXIMUM_FOLDERS:
            raise MailError(f"{self._where} lists more than {MAXIMUM_FOLDERS} folders", transient=False)
        self._attributes = {
            self._ours(name): frozenset(as_bytes(flag).decode("ascii", "replace").lower() for flag in flags)
            for flags, _, name in listed
        }
        names = [name for flags, _, name in listed if not {b"\\noselect", b"\\nonexistent"} & {flag.lower() for flag in flags}]
        self._known = set(names)
        return tuple(sorted({self._ours(name) for name in names}))

    def create_folder(self, folder: str) -> None:
        """A name that the server cannot have for its dots, as a Maildir store cannot, is written with "_" for them."""
        theirs = self._theirs(folder)
        if not self._exists(theirs):
            with self._faults(f"create the folder {folder}"):
                theirs = self._create(theirs)
            assert self._known is not None
            self._known.add(theirs)
        try:
            with self._faults(f"subscribe to {folder}"):
                self._client.subscribe_folder(theirs)
        except MailError as error:
            if error.transient:  # a refusal is no harm: some servers have no subscriptions
                raise

    def _create(self, theirs: str) -> str:
        try:
            self._client.create_folder(theirs)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error:
            if self._client.folder_exists(theirs):  # somebody else was quicker
                return theirs
            if self._undotted(theirs) == theirs:
                raise
            return self._create(self._undotted(theirs))
        return theirs

    def attributes(self) -> Mapping[str, frozenset[str]]:
        """As the list of folders has them, without being asked for (RFC 6154 2)."""
        if self._known is None:
            self.folders()
        return self._attributes

    def messages(self, folder: str, *, above: int = 0) -> tuple[StoredMessage, ...]:
        """Empty for a folder that is not there."""
        if not self._exists(self._theirs(folder)):
            return ()
        count = self._select(folder)
        with self._faults(f"list {folder}"):
            uids = self._uids(count) if not above else self._uids_above(above)
            found = []
            for batch in _batches(uids, LISTED_AT_ONCE):
                answers = self._client.fetch(batch, _FACTS)
                found += [_stored(uid, answers[uid]) for uid in batch if _is_whole(answers.get(uid))]
        self._sizes = {message.uid: message.size for message in found}
        return tuple(found)

    def uid_validity(self, folder: str) -> int | None:
        return self._validities.get(folder)

    def fetch(self, folder: str, uids: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """As `read`, each message in one piece."""
        for uid, pieces in self.read(folder, uids):
            yield uid, b"".join(pieces)

    def read(self, folder: str, uids: Iterable[int]) -> Iterator[tuple[int, Iterable[bytes]]]:
        """A message that vanished meanwhile is not given. In memory: a batch of small bodies, or a piece of a large one."""
        wanted = list(uids)
        if not wanted:
            return
        for batch in self._by_size(wanted):
            self._select(folder)  # the caller may have looked elsewhere between two batches
            if len(batch) == 1 and self._sizes.get(batch[0], FETCHED_BYTES) > LARGE:
                pieces = self._pieces(folder, batch[0])
                first = next(pieces, None)
                if first is not None:
                    yield batch[0], chain((first,), pieces)
                continue
            with self._faults(f"read messages of {folder}"):
                answers = self._client.fetch(batch, ["BODY.PEEK[]"])
            for uid in batch:
                data = answers.get(uid, {}).get(b"BODY[]")
                if data is not None:
                    yield uid, (data,)

    def _pieces(self, folder: str, uid: int) -> Iterator[bytes]:
        """A large message by parts, to the first that is shorter than was asked for; nothing of one that is not there."""
        start = 0
        while True:
            with self._faults(f"read a large message of {folder}"):
                answers = self._client.fetch([uid], [f"BODY.PEEK[]<{start}.{LARGE}>"])
            data = answers.get(uid, {}).get(b"BODY[]<%d>" % start)
            if data is None and start == 0:
                return
            if data is None:
                raise MailError(f"{self._where}: message {uid} of {folder} ended after {start} bytes", transient=False)
            yield data
            start += len(data)
            if len(data) < LARGE:
                return

    def append(self, folder: str, message: bytes | Body, flags: frozenset[str], internal_date: datetime) -> int | None:
        """`transient` of the MailError tells a broken line (the outcome is unknown) from a refusal."""
        with self._faults(f"add a message to {folder}"):
            answer = self._client.append(self._theirs(folder), message, sorted(flags), internal_date)
        return _new_uids(answer, 1)[0]

    @property
    def takes_many(self) -> bool:
        """Without LITERAL+ a refusal in the middle of the command could not be told from a broken line."""
        with self._faults("ask what it can do"):
            return bool(self._client.has_capability("MULTIAPPEND") and self._client.has_capability("LITERAL+"))

    def append_all(self, folder: str, messages: Sequence[NewMessage]) -> tuple[int | None, ...]:
        given = [
            {"msg": b"".join(each.body.pieces()), "flags": sorted(each.flags), "date": each.internal_date} for each in messages
        ]
        with self._faults(f"add {len(messages)} messages to {folder}"):
            kind, answer = self._client.multiappend(self._theirs(folder), given)
            if kind != "OK":
                raise imaplib.IMAP4.error(words_of(Exception(answer[-1])))
        return _new_uids(answer[-1], len(messages))

    def add_keyword(self, folder: str, uid_validity: int, uids: Sequence[int], keyword: str) -> int:
        """Gives how many were asked for; 0 where the folder was numbered anew since. Raises MailError where it keeps no keywords."""
        if not self._open_to_change(folder, uid_validity):
            return 0
        if not {b"\\*", keyword.encode().lower()} & {flag.lower() for flag in self._permanent}:
            raise MailError(f"{self._where}: {folder} keeps no keywords of ours", transient=False)
        for batch in _batches(uids, MARKED_AT_ONCE):
            with self._faults(f"mark messages of {folder}"):
                self._client.add_flags(batch, [keyword], silent=True)
        return len(uids)

    def move(self, folder: str, uid_validity: int, uids: Sequence[int], target: str) -> int:
        """As `add_keyword`. Raises MailError where the server has no MOVE (RFC 6851): a copy and a deletion would be another thing."""
        if not self._client.has_capability("MOVE"):
            raise MailError(f"{self._where} cannot move messages (no MOVE, RFC 6851)", transient=False)
        self.create_folder(target)
        if not self._open_to_change(folder, uid_validity):
            return 0
        for batch in _batches(uids, MARKED_AT_ONCE):
            with self._faults(f"move messages of {folder}"):
                self._client.move(batch, self._theirs(target))
        return len(uids)

    def _open_to_change(self, folder: str, uid_validity: int) -> bool:
        with self._faults(f"open {folder}"):
            answer = self._client.select_folder(self._theirs(folder))
        self._permanent = frozenset(as_bytes(flag) for flag in answer.get(b"PERMANENTFLAGS", ()))
        return positive(answer.get(b"UIDVALIDITY")) == uid_validity

    def close(self) -> None:
        hang_up(self._client)

    def _login(self, user: str, password: Secret, mend: str) -> None:
        try:
            with self._faults(f"log in as {user}"):
                self._client.login(user, password.reveal())
        except MailError as error:
            if error.transient:
                raise
            raise MailError(
                f"{self._where} does not let {user} in: {words_of(error.__cause__)}",
                mend=mend,
                transient=False,
                credential=True,
            ) from None

    def _namespace(self, separator: str | None) -> tuple[str, str]:
        """Where a person's folders begin, and what stands between their parts."""
        with self._faults("ask for the namespace"):
            if self._client.has_capability("NAMESPACE"):
                personal = self._client.namespace().personal
                if personal:
                    return personal[0][0], separator or personal[0][1] or "/"
            listed = self._client.list_folders("", "")  # RFC 3501 6.3.8: an empty name asks for the separator
        found = listed[0][1] if listed else b"/"
        return "", separator or (found.decode("ascii", "replace") if found else "/")

    def _theirs(self, folder: str) -> str:
        """A part that holds the server's separator itself is written with "_" there."""
        if folder.upper() == "INBOX":
            return "INBOX"
        parts = [part.replace(self._separator, "_") if self._separator != "/" else part for part in folder.split("/")]
        name = self._prefix + self._separator.join(parts)
        undotted = self._undotted(name)
        return undotted if not self._exists(name) and self._exists(undotted) else name

    def _undotted(self, theirs: str) -> str:
        return theirs if self._separator == "." else self._prefix + theirs.removeprefix(self._prefix).replace(".", "_")

    def _ours(self, name: str) -> str:
        if name.upper() == "INBOX":
            return "INBOX"
        return name.removeprefix(self._prefix).replace(self._separator, "/")

    def _exists(self, theirs: str) -> bool:
        if self._known is None:
            self.folders()
        assert self._known is not None
        return theirs == "INBOX" or theirs in self._known

    def _select(self, folder: str) -> int:
        """Only for reading: no flag changes, \\Recent stays. Gives the number of messages."""
        with self._faults(f"open {folder}"):
            answer = self._client.select_folder(self._theirs(folder), readonly=True)
        self._validities[folder] = positive(answer.get(b"UIDVALIDITY"))
        return int(answer.get(b"EXISTS", 0))

    def _uids(self, count: int) -> list[int]:
        """In parts, since the answer to a SEARCH is one line and imaplib reads a million bytes of it."""
        parts = ((start, min(start + SEARCHED_AT_ONCE - 1, count)) for start in range(1, count + 1, SEARCHED_AT_ONCE))
        return sorted({uid for first, last in parts for uid in self._client.search([f"{first}:{last}"])})

    def _uids_above(self, uid: int) -> list[int]:
        """A range to "*" names the last message even where that is below (RFC 3501 9)."""
        return sorted(each for each in self._client.search(["UID", f"{uid + 1}:*"]) if each > uid)

    def _by_size(self, uids: Sequence[int]) -> Iterator[list[int]]:
        """Batches of small messages; a large one is alone in its batch."""
        batch: list[int] = []
        weight = 0
        for uid in uids:
            size = self._sizes.get(uid, FETCHED_BYTES)
            alone = size > LARGE or (weight > LARGE and len(batch) == 1)
            if batch and (alone or weight + size > FETCHED_BYTES or len(batch) >= FETCHED_AT_ONCE):
                yield batch
                batch, weight = [], 0
            batch.append(uid)
            weight += size
        yield batch

    def _faults(self, doing: str) -> AbstractContextManager[None]:
        return faults(self._where, doing)


def _is_whole(answer: Any) -> bool:
    return answer is not None and b"RFC822.SIZE" in answer and isinstance(answer.get(b"INTERNALDATE"), datetime)


def _stored(uid: int, answer: Any) -> StoredMessage:
    date = answer[b"INTERNALDATE"]
    flags = frozenset(as_bytes(flag).decode("ascii", "replace") for flag in answer.get(b"FLAGS", ()))
    return StoredMessage(
        uid=uid,
        size=int(answer[b"RFC822.SIZE"]),
        internal_date=date.astimezone(UTC) if date.tzinfo else date.replace(tzinfo=UTC),
        flags=frozenset(flag for flag in flags if flag.lower() != "\\recent"),
        message_id=parse_headers(answer.get(_HEADER_KEY) or b"").message_id,
    )


def _new_uids(answer: object, count: int) -> tuple[int | None, ...]:
    """What the server says of `count` new messages (RFC 4315 3), in the order they were given; Nones where it says nothing or something else."""
    found = _APPENDUID.search(answer) if isinstance(answer, bytes) else None
    uids: list[int] = []
    for part in found.group(1).split(b",") if found else ():
        span = _UIDS.fullmatch(part)
        if span is None or len(uids) > count:
            return (None,) * count
        first = int(span.group(1))
        uids += range(first, min(int(span.group(2) or first), first + count) + 1)
    return tuple(uids) if len(uids) == count else (None,) * count


def _batches(uids: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    return (uids[start : start + size] for start in range(0, len(uids), size))
