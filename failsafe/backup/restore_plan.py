"""What a restore will do, decided before anything is done. Pure: what is wanted and what is there give a plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from failsafe.backup.catalog_search import Found
from failsafe.mail.headers import HEAD_LIMIT

Folders = Mapping[str, frozenset[str]]  # folder -> identities of the wanted messages that it holds


@dataclass(frozen=True, slots=True)
class Wanted:
    """One message to be put into one folder. `first_generation`…`last_generation` hold its bytes in its mailbox's manifests."""

    server: str
    mailbox: str  # where it was
    id: str
    canonical: str
    size: int  # bytes as stored
    flags: str  # Maildir letters
    keywords: tuple[str, ...]
    internal_date: int  # seconds since the epoch
    first_generation: int
    last_generation: int
    target_mailbox: str
    target_folder: str
    directory: str  # of the target folder, as the server writes it
    layout: str = "maildir++"
    message_id: str | None = None  # None: not known; "": it has none
    label: str = ""  # for a person: who and what
    gone: bool = False
    sealed: bool = False  # stored encrypted or compressed, or nobody knows: it is to be opened first
    opened_id: str = ""  # SHA-256 of the message that is written, where that is not what is stored

    def __hash__(self) -> int:
        """Of what tells most apart: a restore looks each message up some twenty times."""
        return hash((self.id, self.target_mailbox, self.target_folder))

    @property
    def content_id(self) -> str:
        """SHA-256 of the bytes that a destination is given."""
        return self.opened_id or self.id

    def identity(self, kind: str) -> str:
        return self.canonical if kind == "canonical" else self.content_id


@dataclass(frozen=True, slots=True)
class Plan:
    to_add: tuple[Wanted, ...] = ()
    already_there: tuple[Wanted, ...] = ()
    not_found: tuple[str, ...] = ()  # a sentence each: asked for, and in no archive
    moved: Mapping[str, int] = field(default_factory=dict)  # of those that are there, by the folder to which people moved them

    @property
    def planned(self) -> int:
        return len(self.to_add) + len(self.already_there) + len(self.not_found)

    @property
    def notes(self) -> tuple[str, ...]:
        """Whoever threw a message away by mistake must not take it for restored."""
        says = "so they were not added; --into FOLDER puts them where you want them"
        return tuple(
            f"{count} message(s) were moved to {folder} and are there, {says}" for folder, count in sorted(self.moved.items())
        )


def wanted_of(found: Iterable[Found], *, into_folder: str | None = None, into_mailbox: str | None = None) -> tuple[Wanted, ...]:
    """Each message once for each folder it goes to: equal bytes twice in one folder are one message there."""
    chosen: dict[tuple[str, str, str], Wanted] = {}
    for row in found:
        folder = into_folder or row.folder
        wanted = Wanted(
            server=row.server,
            mailbox=row.mailbox,
            id=row.id,
            canonical=row.canonical,
            size=row.size,
            flags=row.flags,
            keywords=row.keywords,
            internal_date=row.internal_date,
            first_generation=row.first_generation,
            last_generation=row.last_generation,
            target_mailbox=into_mailbox or row.mailbox,
            target_folder=folder,
            directory=row.directory if into_folder is None else "",
            layout=row.layout,
            message_id=_message_id(row),
            label=row.subject or row.message_id or row.id[:12],
            gone=row.gone_at is not None,
            sealed=row.sealed,
        )
        key = (wanted.target_mailbox, folder, row.id)
        known = chosen.get(key)
        if known is None or wanted.last_generation > known.last_generation:
            chosen[key] = wanted
    return tuple(chosen.values())


def _message_id(row: Found) -> str | None:
    """Unknown also where it may stand beyond the part of a header that the catalog reads."""
    known = row.headers_known and not row.opaque and (row.message_id or row.size <= HEAD_LIMIT)
    return row.message_id if known else None


def as_stored(wanted: Iterable[Wanted]) -> tuple[Wanted, ...]:
    """For a destination that takes bytes as they are stored, whatever they are."""
    return tuple(replace(item, sealed=False) if item.sealed else item for item in wanted)


def plan_restore(
    wanted: Sequence[Wanted],
    there: Mapping[str, Folders],
    *,
    identity: str,
    held_in: Mapping[tuple[str, str], frozenset[str]] | None = None,
    not_found: Sequence[str] = (),
) -> Plan:
    """`there`: by target mailbox, which of the wanted messages each folder of the destination holds.

    `held_in` is given where moves are to be recognised: (mailbox, identity) -> the folders that hold it in the state being restored. A
    folder of the destination that holds a message, and is not one of these, got it by a move: that message is there already.
    """
    to_add: list[Wanted] = []
    already: list[Wanted] = []
    moved: Counter[str] = Counter()
    moved_left = _moved(wanted, there, identity, held_in) if held_in is not None else {}
    for item in wanted:
        key = (item.target_mailbox, item.identity(identity))
        if key[1] in there.get(item.target_mailbox, {}).get(item.target_folder, frozenset()):
            already.append(item)
        elif moved_left.get(key):
            moved[moved_left[key].pop()] += 1
            already.append(item)
        else:
            to_add.append(item)
    return Plan(tuple(to_add), tuple(already), tuple(not_found), dict(moved))


def without(plan: Plan, names: Mapping[Wanted, str]) -> Plan:
    """The plan without messages that cannot be had; each becomes a line of `not_found`."""
    lines = tuple(f"{describe(item)}: {why}" for item, why in names.items())
    return replace(plan, to_add=tuple(item for item in plan.to_add if item not in names), not_found=(*plan.not_found, *lines))


def describe(item: Wanted) -> str:
    return f"{item.mailbox} {item.target_folder} “{item.label}” ({item.id[:12]})"


def _moved(
    wanted: Sequence[Wanted], there: Mapping[str, Folders], identity: str, held_in: Mapping[tuple[str, str], frozenset[str]]
) -> dict[tuple[str, str], list[str]]:
    """(mailbox, identity) -> the folders of the destination that hold it and held it not in the state being restored."""
    asked: dict[tuple[str, str], set[str]] = {}
    for item in wanted:
        asked.setdefault((item.target_mailbox, item.identity(identity)), set()).add(item.target_folder)
    moved: dict[tuple[str, str], list[str]] = {}
    for key, folders in asked.items():
        holders = {name for name, held in there.get(key[0], {}).items() if key[1] in held}
        moved[key] = sorted(holders - folders - held_in.get(key, frozenset()))
    return moved
