"""What a homecoming does with what was found, decided before anything is given to the primary. Pure.

Theory. A message is the same wherever both its Message-ID and its content are (mail/fingerprint.py): not its bytes, which differ with every
delivery. It is *already there* where the primary's mailbox has it in any folder, since people and filters move mail; what our own people sent is
looked for apart from what was received, because who writes to himself has both. A message that came home once and was deleted since stays
deleted: the ledger knows it, also where the secondary shows it in other bytes today.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from failsafe.homecoming.found import Found
from failsafe.homecoming.ledger import AT_HOME, Entry, State
from failsafe.mail.fingerprint import Fingerprint, normal_message_id, same
from failsafe.ports import StoredMessage

KEYWORD = "$Failsafe"  # marks what came home
_LETTERS = {"\\seen": "S", "\\flagged": "F", "\\answered": "R"}
NEAR = timedelta(days=7)  # a sender tries for five days; two deliveries of one message are not further apart


@dataclass(frozen=True, slots=True)
class Arrival:
    """A found message on its way to one mailbox. `canonical` and `size` are of the bytes that are delivered."""

    found: Found
    to_mailbox: str
    to_folder: str
    sent: bool
    fingerprint: Fingerprint
    canonical: str
    size: int
    header_id: str | None  # the Message-ID as it stands in the header; "": there is none; None: nobody knows
    why: str = ""  # it goes elsewhere than it is addressed to, and why
    marks: tuple[str, ...] = ()  # flags and keywords that the primary's rules give it, as IMAP writes them

    @property
    def flags(self) -> str:
        """Maildir letters. A mark for deletion at the secondary does not come along; what people wrote themselves they have seen."""
        by_rules = {_LETTERS[mark.lower()] for mark in self.marks if mark.lower() in _LETTERS}
        return "".join(sorted(self.found.flags - {"T"} | by_rules | ({"S"} if self.sent else set())))

    @property
    def keywords(self) -> tuple[str, ...]:
        by_rules = (mark for mark in self.marks if not mark.startswith("\\"))
        return tuple(dict.fromkeys((*self.found.keywords, *by_rules, KEYWORD)))

    def entry(self, domain: str, state: State, at: datetime, why: str = "") -> Entry:
        return Entry(
            domain=domain, mailbox=self.found.mailbox, folder=self.found.folder, message=self.found.id, internal_at=self.found.internal_date,
            state=state, at=at, message_id=self.fingerprint.message_id, content=self.fingerprint.content, to_mailbox=self.to_mailbox,
            to_folder=self.to_folder, sent=self.sent, why=why or self.why,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Waits:
    """A message that is not home, and why. `message_id` as in its header; "" where it has none or could not be read."""

    mailbox: str  # where it goes; where it was found, as long as nobody knows
    folder: str
    message_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Present:
    """A message that lies at the primary and may be one that was found."""

    folder: str
    uid: int
    fingerprint: Fingerprint
    ours: bool  # it has the keyword
    in_sent: bool  # its folder is one for sent mail


@dataclass(frozen=True, slots=True)
class There:
    """An arrival that needs no delivery. `uid` None: the ledger alone knows that it was there."""

    arrival: Arrival
    state: State
    folder: str
    uid: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    to_bring: tuple[Arrival, ...]  # in order of their dates
    there: tuple[There, ...]
    doubles: tuple[tuple[Arrival, Arrival], ...]  # (one, the one in `to_bring` that it is the same as): found twice, brought once


def plan_homecoming(arrivals: Sequence[Arrival], ledger: Sequence[Entry], present: Sequence[Present]) -> Plan:
    """For one mailbox. `ledger`: its rows with contents like these; `present`: messages of the primary that may be these."""
    rows: dict[str, list[Entry]] = {}
    for entry in ledger:
        rows.setdefault(entry.content, []).append(entry)
    held: dict[str, list[Present]] = {}
    for one in present:
        held.setdefault(one.fingerprint.content, []).append(one)
    to_bring: dict[str, list[Arrival]] = {}
    there: list[There] = []
    doubles: list[tuple[Arrival, Arrival]] = []
    for arrival in sorted(arrivals, key=lambda each: (each.found.internal_date, each.found.id)):
        content = arrival.fingerprint.content
        known = _there(arrival, rows.get(content, ()), held.get(content, ()))
        twin = next((one for one in to_bring.get(content, ()) if _alike(one, arrival)), None)
        if known is not None:
            there.append(known)
        elif twin is not None:
            doubles.append((arrival, twin))
        else:
            to_bring.setdefault(content, []).append(arrival)
    chosen = sorted(
        (one for ones in to_bring.values() for one in ones), key=lambda each: (each.found.internal_date, each.found.id)
    )
    return Plan(tuple(chosen), tuple(there), tuple(doubles))


def _there(arrival: Arrival, rows: Iterable[Entry], held: Iterable[Present]) -> There | None:
    for one in held:
        if same(one.fingerprint, arrival.fingerprint) and _may_hold(one, arrival):
            intended = one.ours and any(_is_of(row, arrival) for row in rows)
            return There(arrival, State.HOME if intended else State.ALREADY_THERE, one.folder, one.uid)
    for row in rows:
        known = Fingerprint(row.message_id, row.content)
        if row.state in AT_HOME and row.sent == arrival.sent and same(known, arrival.fingerprint):
            return There(arrival, State.ALREADY_THERE, row.to_folder, None)
    return None


def _may_hold(one: Present, arrival: Arrival) -> bool:
    if arrival.sent:
        return one.in_sent or one.folder != "INBOX"
    return not one.in_sent


def _is_of(row: Entry, arrival: Arrival) -> bool:
    """It was about to be delivered when a run was cut off."""
    return row.state is State.INTENDED and (row.mailbox, row.message, row.sent) == (
        arrival.found.mailbox,
        arrival.found.id,
        arrival.sent,
    )


def _alike(one: Arrival, other: Arrival) -> bool:
    return one.sent == other.sent and same(one.fingerprint, other.fingerprint)


def candidates(listed: Iterable[StoredMessage], arrivals: Sequence[Arrival]) -> list[StoredMessage]:
    """Messages of a folder at the primary whose fingerprints are worth making.

    The same Message-ID; where one of the two has none, a size and a date that two deliveries can explain.
    """
    ids = {arrival.fingerprint.message_id for arrival in arrivals} - {None}
    nameless = [arrival for arrival in arrivals if arrival.fingerprint.message_id is None]
    found = []
    for message in listed:
        message_id = normal_message_id(message.message_id.encode("utf-8", "surrogateescape"))
        others = nameless if message_id is not None else arrivals
        if message_id in ids or (others and any(_may_be(message, arrival) for arrival in others)):
            found.append(message)
    return found


def _may_be(message: StoredMessage, arrival: Arrival) -> bool:
    """Another path writes other trace fields, and may encode text otherwise: base64 is a third longer, quoted-printable up to three times."""
    sizes = message.size <= arrival.size * 3 + 16_384 and arrival.size <= message.size * 3 + 16_384
    return sizes and abs(message.internal_date - arrival.found.internal_date) <= NEAR
