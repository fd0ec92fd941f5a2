"""ports.MailboxServer in memory: a primary whose mailboxes are lists, which can be full, break off, or be killed in the middle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from failsafe.errors import MailError
from failsafe.mail.headers import parse_headers
from failsafe.model import Body
from failsafe.ports import NewMessage, StoredMessage


@dataclass(frozen=True, slots=True)
class Mail:
    uid: int
    data: bytes
    flags: frozenset[str]
    internal_date: datetime


@dataclass
class Primary:
    """`room`: bytes that a mailbox holds. `dies_at`: the number of the command that adds with which it goes down. `breaks`: numbers of commands that add, counted from 1, whose answer is lost; `done`: they were carried out."""

    mailboxes: dict[str, dict[str, list[Mail]]] = field(default_factory=dict)
    special: Mapping[str, str] = field(default_factory=dict)
    room: int | None = None
    breaks: frozenset[int] = frozenset()
    done: bool = True
    dies_at: int | None = None
    is_down: bool = False
    closed: Mapping[str, BaseException] = field(default_factory=dict)  # mailboxes that let nobody in
    commands: int = 0
    listings: int = 0

    def connect(self, mailbox: str) -> Box:
        if self.is_down:
            raise MailError("nobody answers", transient=True)
        if mailbox in self.closed:
            raise self.closed[mailbox]
        return Box(self, self.mailboxes.setdefault(mailbox, {"INBOX": []}))

    def put(self, mailbox: str, folder: str, data: bytes, at: datetime, flags: Iterable[str] = ()) -> None:
        held = self.mailboxes.setdefault(mailbox, {"INBOX": []}).setdefault(folder, [])
        held.append(Mail(len(held) + 1, data, frozenset(flags), at))

    def bodies(self, mailbox: str, folder: str) -> list[bytes]:
        return [mail.data for mail in self.mailboxes.get(mailbox, {}).get(folder, [])]


class Box:
    def __init__(self, primary: Primary, held: dict[str, list[Mail]]) -> None:
        self._primary, self._held = primary, held

    takes_many = True

    def folders(self) -> tuple[str, ...]:
        return tuple(sorted(self._held))

    def attributes(self) -> Mapping[str, frozenset[str]]:
        return {folder: frozenset({attribute}) for folder, attribute in self._primary.special.items()}

    def create_folder(self, folder: str) -> None:
        self._held.setdefault(folder, [])

    def uid_validity(self, folder: str) -> int | None:
        return 77 if folder in self._held else None

    def messages(self, folder: str, *, above: int = 0) -> tuple[StoredMessage, ...]:
        self._primary.listings += 1
        return tuple(
            StoredMessage(mail.uid, len(mail.data), mail.internal_date, mail.flags, parse_headers(mail.data).message_id)
            for mail in self._held.get(folder, [])
            if mail.uid > above
        )

    def read(self, folder: str, uids: Iterable[int]) -> Iterator[tuple[int, Iterable[bytes]]]:
        held = {mail.uid: mail for mail in self._held.get(folder, [])}
        yield from ((uid, (held[uid].data,)) for uid in uids if uid in held)

    def append(self, folder: str, message: Body, flags: frozenset[str], internal_date: datetime) -> int | None:
        return self.append_all(folder, [NewMessage(message, flags, internal_date)])[0]

    def append_all(self, folder: str, messages: Sequence[NewMessage]) -> tuple[int | None, ...]:
        self._primary.commands += 1
        self._primary.is_down = self._primary.commands == self._primary.dies_at
        broken = self._primary.is_down or self._primary.commands in self._primary.breaks
        if broken and not self._primary.done:
            raise MailError("the line broke", transient=True)
        given = [(b"".join(each.body.pieces()), each.flags, each.internal_date) for each in messages]
        held = sum(len(mail.data) for mails in self._held.values() for mail in mails)
        if self._primary.room is not None and held + sum(len(data) for data, _, _ in given) > self._primary.room:
            raise MailError("it refuses: [OVERQUOTA] Quota exceeded (mailbox for user is full)", transient=False)
        first = max((mail.uid for mail in self._held[folder]), default=0) + 1
        self._held[folder] += [Mail(first + number, *each) for number, each in enumerate(given)]
        if broken:
            raise MailError("the line broke", transient=True)
        return tuple(range(first, first + len(given)))

    def close(self) -> None: ...
