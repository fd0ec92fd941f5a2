"""Goes through what was found at a secondary and says what is new: read once, known by its fingerprint, routed. What is settled is not read again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from failsafe.backup.destinations.imap import is_about_room
from failsafe.errors import ArchiveError
from failsafe.homecoming.found import Found, in_parts
from failsafe.homecoming.ledger import AT_HOME, SETTLED, Entry, Ledger, State, by_message
from failsafe.homecoming.plan import Arrival, Waits
from failsafe.mail.fingerprint import Fingerprint, fingerprint
from failsafe.mail.headers import HEAD_LIMIT, parse_headers
from failsafe.mail.identity import Digester


@dataclass(frozen=True, slots=True)
class Goes:
    """Into which folder of which mailbox. `sent`: written by our own people. `why`: how that was found out, where a person should know."""

    mailbox: str
    folder: str
    sent: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Stays:
    """It does not come home; with `waits`, not yet."""

    why: str
    waits: bool = False


Verdict = Sequence[Goes] | Stays
Route = Callable[[Found, bytes], Verdict]


class Source(Protocol):
    def found(self) -> Iterator[Found]: ...
    def read(self, found: Found) -> Iterable[bytes]: ...


class Sifter:
    """One pass. `bodies` gives a found message as it is delivered; `since`: what is older is not of this homecoming."""

    def __init__(
        self, domain: str, source: Source, bodies: Callable[[Found], Iterable[bytes]], ledger: Ledger, route: Route,
        *, since: datetime, now: Callable[[], datetime], dry: bool = False,
    ) -> None:  # fmt: skip
        self._domain, self._source, self._bodies, self._ledger, self._route = domain, source, bodies, ledger, route
        self._since, self._now, self._dry = since, now, dry
        self._seen: set[tuple[str, str]] = set()
        self.already_there = 0
        self.left = 0
        self.waiting: list[Waits] = []
        self.elsewhere: Counter[tuple[str, str]] = Counter()  # (where it goes instead, why)
        self.full: set[str] = set()  # mailboxes that had no room the last time

    def arrivals(self) -> Iterator[Arrival]:
        """Raises ArchiveError where the archive cannot be read at all, StoreError."""
        for part in in_parts(found for found in self._source.found() if found.internal_date >= self._since):
            rows = by_message(self._ledger.known(self._domain, part[0].mailbox, [found.id for found in part]))
            settled: list[Entry] = []
            arrivals: list[Arrival] = []
            for found in part:
                if (found.mailbox, found.id) in self._seen:
                    continue  # the same bytes in another folder
                self._seen.add((found.mailbox, found.id))
                mine = rows.get(found.id, [])
                if mine and all(row.state in SETTLED for row in mine):
                    self._count(mine)
                    continue
                for row in mine:
                    if row.state is State.WAITING and is_about_room(row.why):
                        self.full.add(row.to_mailbox)
                arrivals += self._look_at(found, mine, settled)
            if settled and not self._dry:
                self._ledger.write(settled)
            yield from arrivals

    def _look_at(self, found: Found, mine: Sequence[Entry], settled: list[Entry]) -> Iterator[Arrival]:
        try:
            message = read_message(self._bodies(found))
        except ArchiveError as error:
            self.waiting.append(Waits(found.mailbox, found.folder, "", str(error)))
            return
        verdict = self._route(found, message.head)
        if isinstance(verdict, Stays):
            settled.append(self._stays(found, message, verdict))
            return
        wanted = {(goes.mailbox, goes.sent) for goes in verdict}
        settled += [
            row.now(State.LEFT, self._now(), "it goes elsewhere now")
            for row in mine
            if row.state not in SETTLED and (row.to_mailbox, row.sent) not in wanted
        ]
        done = {(row.to_mailbox, row.sent): row for row in mine if row.state in SETTLED}
        for goes in verdict:
            if (goes.mailbox, goes.sent) in done:
                self._count([done[goes.mailbox, goes.sent]])
                continue
            arrival = Arrival(
                found,
                goes.mailbox,
                goes.folder,
                goes.sent,
                message.fingerprint,
                message.canonical,
                message.size,
                message.header_id,
            )
            if len(verdict) > 1 and (goes.mailbox, goes.sent) not in {(row.to_mailbox, row.sent) for row in mine}:
                # A run that is killed between two mailboxes must not leave a ledger in which all of this message is settled.
                settled.append(
                    arrival.entry(self._domain, State.WAITING, self._now(), "it is brought after the mailboxes before it")
                )
            yield arrival

    def _stays(self, found: Found, message: Message, verdict: Stays) -> Entry:
        if verdict.waits:
            self.waiting.append(Waits(found.mailbox, found.folder, message.header_id or "", verdict.why))
        else:
            self.left += 1
        return Entry(
            domain=self._domain, mailbox=found.mailbox, folder=found.folder, message=found.id, internal_at=found.internal_date,
            state=State.WAITING if verdict.waits else State.LEFT, at=self._now(), message_id=message.fingerprint.message_id,
            content=message.fingerprint.content, why=verdict.why,
        )  # fmt: skip

    def _count(self, rows: Sequence[Entry]) -> None:
        at_home = sum(row.state in AT_HOME for row in rows)
        self.already_there += at_home
        self.left += not at_home


@dataclass(frozen=True, slots=True)
class Message:
    """What is known of a message after it was read once. `head`: at most HEAD_LIMIT bytes."""

    head: bytes
    fingerprint: Fingerprint
    canonical: str
    size: int
    header_id: str | None


def read_message(pieces: Iterable[bytes]) -> Message:
    """Raises what reading raises. Memory stays at one piece."""
    digester, head = Digester(), bytearray()

    def passing() -> Iterator[bytes]:
        for piece in pieces:
            digester.update(piece)
            if len(head) < HEAD_LIMIT:
                head.extend(piece[: HEAD_LIMIT - len(head)])
            yield piece

    stream = passing()
    known = fingerprint(stream)
    for _ in stream:  # a fingerprint may be made before the end
        pass
    header_id = parse_headers(bytes(head)).message_id
    whole = digester.size <= HEAD_LIMIT or bool(header_id)
    return Message(bytes(head), known, digester.canonical, digester.size, header_id if whole else None)
