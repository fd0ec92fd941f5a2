"""A pull that takes hours or days: in which order it goes, when it stores what has arrived, how far it is, and whether there is room.

The plans and judgements are pure; `Stretch` is what one pull asks between two batches of messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from failsafe.backup.sizes import spoken_size
from failsafe.errors import ArchiveError
from failsafe.mail.manifest import Generation, Missing
from failsafe.ports import Clock

LONG = 2 << 30  # bytes still to come from which a pull goes by age: less is minutes on a home line (6 MB/s: 6)
DAY = 86_400  # seconds
AGES = (timedelta(days=30), timedelta(days=365))  # the newest of every mailbox first, then the last year, then the rest
EARLY = 256 << 20  # bytes still to come from which repositories are given work while the rest comes
# Of these bytes: a part each time so much is in. The first soon, so that restic is at work, the last late, so that little is left.
SHARES = (0.1, 0.4, 0.75)
EVERY = timedelta(minutes=45)  # between two checkpoints: with the time that a snapshot takes, one an hour
RESERVE = 256 << 20  # bytes of the disk that stay free: the database, restic's caches and the rest of the NAS live there too
RESERVE_SHARE = 50  # but never more than one in so many bytes of the disk
HEAD = 1_024  # bytes that a tar file and an index need beside a message, at most
MOST = 1 << 62


class Slice(NamedTuple):
    """Messages by their date, in seconds since 1970: `since` is in it, `until` is not."""

    since: int
    until: int


EVERYTHING = Slice(-MOST, MOST)


class Waiting(NamedTuple):
    """What has not come yet of one mailbox, or of one day."""

    messages: int
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Room:
    """Of the disk that holds staging, in bytes."""

    free: int
    total: int

    @property
    def reserve(self) -> int:
        return min(RESERVE, self.total // RESERVE_SHARE)


class NoRoom(ArchiveError):
    """Staging's disk would be full before the mail is in it. What had arrived is kept."""


@dataclass(frozen=True, slots=True)
class Care:
    """What goes with a pull: the defaults store parts and look at no disk."""

    every: timedelta = EVERY
    long: int = LONG
    early: int = EARLY
    stored: Callable[[Generation], None] = lambda _: None  # a part is durable in staging
    moved: Callable[[int, int], None] = lambda _done, _total: None  # bytes of the server's mail that are here, and of all of it
    room: Callable[[], Room | None] = lambda: None


def plan_slices(days: Mapping[int, Waiting], now: datetime, long: int = LONG) -> tuple[Slice, ...]:
    """In which order messages come: all at once where little is missing, so that a segment holds as much of a mailbox as it can; else by age.

    `days`: what is missing by day (seconds since 1970 // 86,400). Ages of which nothing is missing are left out.
    """
    if sum(waiting.size for waiting in days.values()) < long:
        return (EVERYTHING,)
    edges = [MOST, *(int((now - age).timestamp()) // DAY * DAY for age in AGES), -MOST]
    slices = [Slice(since, until) for until, since in pairwise(edges)]
    return tuple(part for part in slices if any(part.since <= day * DAY < part.until for day in days))


def judge_room(room: Room, waiting: Waiting, folder: str) -> NoRoom | None:
    """Before the first byte: whether all that is missing has room, with the reserve left."""
    needed = waiting.size + waiting.messages * HEAD
    if room.free >= needed + room.reserve:
        return None
    return NoRoom(
        f"{spoken_size(needed)} of mail are still to come, and {folder} has {spoken_size(room.free)} free, "
        f"of which {spoken_size(room.reserve)} are kept for other things: {spoken_size(needed + room.reserve - room.free)} are lacking",
        mend="make room on that disk, or set controller.state_dir to a larger one (move the folder there first); nothing that had arrived is lost",
        transient=False,
    )


def judge_rest(room: Room, folder: str) -> NoRoom | None:
    """While mail comes: whether the reserve is still there."""
    if room.free >= room.reserve:
        return None
    return NoRoom(
        f"the pull stopped: {folder} has only {spoken_size(room.free)} free, and {spoken_size(room.reserve)} are kept for other things",
        mend="make room on that disk; the next backup goes on from here, and nothing that had arrived is lost",
    )


def list_outstanding(waiting: Mapping[str, Waiting]) -> tuple[Missing, ...]:
    """One line a mailbox: a million messages are not named one by one."""
    return tuple(
        Missing(mailbox, "", "", f"{rest.messages} message(s), {spoken_size(rest.size)}, have not arrived yet")
        for mailbox, rest in sorted(waiting.items())
    )


def sum_up(waiting: Sequence[Waiting]) -> Waiting:
    return Waiting(sum(one.messages for one in waiting), sum(one.size for one in waiting))


class Stretch:
    """One pull's clock, counter and look at the disk."""

    def __init__(self, care: Care, clock: Clock, folder: str) -> None:
        self.care, self._clock, self._folder = care, clock, folder
        self._since = clock.monotonic()
        self.done = self._total = 0  # bytes
        self._marks: list[float] = []  # bytes, the next last

    def begin(self, archived: int, waiting: Waiting) -> None:
        """`archived`: bytes of the server's mail that are here already. Raises NoRoom."""
        self.done, self._total = archived, archived + waiting.size
        self._marks = [archived + share * waiting.size for share in reversed(SHARES)] if waiting.size >= self.care.early else []
        room = self.care.room() if waiting.messages else None
        if room is not None and (fault := judge_room(room, waiting, self._folder)) is not None:
            raise fault
        self.care.moved(self.done, self._total)

    def has_room(self, waiting: Waiting) -> bool:
        room = self.care.room()
        return room is None or judge_room(room, waiting, self._folder) is None

    def advance(self, amount: int) -> None:
        self.done += amount
        self._total = max(self._total, self.done)  # mail that came meanwhile was not counted
        self.care.moved(self.done, self._total)

    def look(self) -> bool:
        """Before a batch: True where it is time for a checkpoint. Raises NoRoom."""
        room = self.care.room()
        if room is not None and (fault := judge_rest(room, self._folder)) is not None:
            raise fault
        is_time = self._clock.monotonic() - self._since >= self.care.every.total_seconds()
        return is_time or bool(self._marks and self.done >= self._marks[-1])

    def stored(self, generation: Generation | None) -> None:
        """None: there was nothing to store."""
        self._since = self._clock.monotonic()
        while self._marks and self.done >= self._marks[-1]:
            self._marks.pop()
        if generation is not None:
            self.care.stored(generation)
        self.care.moved(self.done, self._total)
