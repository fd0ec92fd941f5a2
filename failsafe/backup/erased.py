"""Which mailboxes were erased on purpose. Pure. Three places keep it: the database, the server's inventory and each generation's notes.

They are joined by time, so that any one of them that survives keeps a mailbox out, and an older one never takes back what a person said later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from failsafe.mail.manifest import Generation

NOTE = "erased"  # in a generation's notes: {name: when}


@dataclass(frozen=True, slots=True)
class Tombstone:
    """`name` is a mailbox, or a domain and with it all of its mailboxes. `stands` False: a person let it in again."""

    name: str
    at: datetime
    stands: bool = True


@dataclass(frozen=True, slots=True)
class Erased:
    """The tombstones of one server, by name in lower case."""

    by_name: Mapping[str, Tombstone] = field(default_factory=dict)

    @classmethod
    def of(cls, tombstones: Iterable[Tombstone]) -> Erased:
        """Of two with one name, the later one counts."""
        found: dict[str, Tombstone] = {}
        for each in tombstones:
            known = found.get(each.name.lower())
            if known is None or each.at > known.at:
                found[each.name.lower()] = each
        return cls(found)

    def joined(self, other: Erased) -> Erased:
        return Erased.of((*self.by_name.values(), *other.by_name.values()))

    def covering(self, mailbox: str) -> Tombstone | None:
        """The tombstone that keeps a mailbox out: its own, or that of its domain."""
        name = mailbox.lower()
        for key in (name, name.rpartition("@")[2]):
            tombstone = self.by_name.get(key)
            if tombstone is not None and tombstone.stands:
                return tombstone
        return None

    def covers(self, mailbox: str) -> bool:
        return self.covering(mailbox) is not None

    @property
    def standing(self) -> tuple[Tombstone, ...]:
        return tuple(each for _, each in sorted(self.by_name.items()) if each.stands)

    def note(self) -> dict[str, str]:
        """For a generation's notes: what stands."""
        return {each.name: _text(each.at) for each in self.standing}

    def rows(self) -> list[list[str | bool]]:
        """For the database, as JSON."""
        return [[each.name, _text(each.at), each.stands] for _, each in sorted(self.by_name.items())]


def erased_in(generation: Generation | None) -> Erased:
    """What a generation's notes say. What is not understood there is passed over: the other places say it too."""
    note = generation.notes.get(NOTE) if generation is not None else None
    rows = note.items() if isinstance(note, dict) else ()
    return Erased.of(Tombstone(str(name), moment) for name, at in rows if (moment := _moment(at)) is not None)


def erased_of_rows(rows: object) -> Erased:
    """`Erased.rows` the other way round."""
    whole = [row for row in rows if isinstance(row, list) and len(row) == 3] if isinstance(rows, list) else []
    return Erased.of(
        Tombstone(str(name), moment, bool(stands)) for name, at, stands in whole if (moment := _moment(at)) is not None
    )


def belongs_to(name: str) -> Callable[[str], bool]:
    """Whether a mailbox is the one of that name, or one of that domain."""
    return Erased.of([Tombstone(name, datetime.min.replace(tzinfo=UTC))]).covers


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return None
