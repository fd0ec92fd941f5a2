"""Which mail a restore drill brings back. Pure: what a snapshot holds and what was drilled before in, a choice out.

The mailbox that was not drilled for longest comes first, within bounds that a home line and a NAS disk bear; of one that is larger than the bounds
alone, a sample. A canary message is always with it. The same seed makes the same choice, and a failed drill keeps its seed: it is made again
until it passes, so that no damage is left behind by a choice that looks elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from failsafe.backup.archive.layout import Location
from failsafe.mail.manifest import Entry

SAMPLE_SHARE = 4  # a sample takes at most this part of the bounds' bytes, so that other mailboxes have their turn too
SAMPLE_SHARDS = 12  # of up to 500 messages each
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one drill of one server."""

    bytes: int  # as they lie in the archive
    messages: int = 50_000
    mailboxes: int = 10

    def within(self, room: int) -> Bounds:
        """No more than `room` bytes of disk allow: what is fetched lies there, and what is rebuilt from it."""
        return Bounds(max(0, min(self.bytes, room // 3)), self.messages, self.mailboxes)


NEAR = Bounds(1 << 30)  # a repository on this machine
FAR = Bounds(512 << 20)  # across a network: 90 s of a line of 50 Mbit/s


@dataclass(frozen=True, slots=True)
class MailboxSize:
    """What bringing back a whole mailbox takes."""

    mailbox: str
    messages: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Choice:
    """`sampled`: a mailbox that is too large to be brought back whole, and how many bytes of it may be."""

    whole: tuple[str, ...] = ()
    sampled: str | None = None
    sample_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Canary:
    """A message that must come back whatever else is chosen."""

    mailbox: str
    folder: str
    entry: Entry


def choose_mailboxes(sizes: Iterable[MailboxSize], drilled: Mapping[str, datetime], bounds: Bounds, seed: str) -> Choice:
    """`drilled`: when each mailbox was last brought back well. One that does not fit beside those before it is skipped, and is further ahead next time."""
    whole: list[str] = []
    sampled: str | None = None
    sample_bytes, left_bytes, left_messages = 0, bounds.bytes, bounds.messages
    for each in sorted(sizes, key=lambda each: (drilled.get(each.mailbox, NEVER), mixed(seed, each.mailbox))):
        if len(whole) + (sampled is not None) >= bounds.mailboxes:
            break
        if each.bytes <= left_bytes and each.messages <= left_messages:
            whole.append(each.mailbox)
            left_bytes, left_messages = left_bytes - each.bytes, left_messages - each.messages
        elif sampled is None and (each.bytes > bounds.bytes or each.messages > bounds.messages):
            sampled, sample_bytes = each.mailbox, min(left_bytes, bounds.bytes // SAMPLE_SHARE)
            left_bytes -= sample_bytes
    return Choice(tuple(whole), sampled, sample_bytes)


def choose_canary(candidates: Iterable[Canary], known: Collection[str], at: datetime) -> Canary | None:
    """The newest message of the mailboxes that a configuration sends probes to (`known`); else of all. A date after the snapshot's is no date."""
    found = list(candidates)
    wanted = [each for each in found if each.mailbox in known] or found
    latest = int(at.timestamp())
    return max(
        wanted, key=lambda each: (each.entry.internal_date <= latest, each.entry.internal_date, each.entry.id), default=None
    )


def choose_shards(shards: Sequence[tuple[int, str]], seed: str) -> tuple[tuple[int, str], ...]:
    """Of (folder's place, shard), some; in their order."""
    chosen = sorted(shards, key=lambda each: mixed(seed, f"{each[0]} {each[1]}"))[:SAMPLE_SHARDS]
    return tuple(each for each in shards if each in set(chosen))


def choose_segments(places: Iterable[Location], sizes: Mapping[str, int], budget: int, seed: str) -> frozenset[str]:
    """Segments of a sample: as many as the budget allows, and one in any case. `sizes` in bytes, by segment."""
    taken: set[str] = set()
    left = budget
    for segment in sorted({place.segment for place in places}, key=lambda name: mixed(seed, name)):
        if not taken or sizes.get(segment, 0) <= left:
            taken.add(segment)
            left -= sizes.get(segment, 0)
    return frozenset(taken)


def mixed(seed: str, name: str) -> str:
    """An order that looks random and is the same for the same seed."""
    return hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogateescape")).hexdigest()
