"""Which parts of a repository's data were read, when, and what reading costs. Pure.

Each check reads one part of `parts`; after a round everything was read once. Data is in a part by its own digest, so what is added after a
part's turn waits for the next one: that is said, not hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

PACK_BYTES = 17_000_000  # of a full file of data: restic fills 16 MiB and closes it
MONTH = timedelta(days=30.4375)


@dataclass(frozen=True, slots=True)
class Reading:
    """A part was read and found sound; `added`: all that had ever been added to the repository by then, in bytes."""

    at: datetime
    added: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """What the checks so far have read. `damaged`: parts in which damage was found, and when first; it stands until they read well."""

    parts: int
    read: Mapping[int, Reading] = field(default_factory=dict)
    damaged: Mapping[int, datetime] = field(default_factory=dict)
    packs: int | None = None  # files of data, as the last check counted them

    @classmethod
    def of(cls, details: Mapping[str, Any], parts: int) -> Coverage:
        """From the details of a repository's state. Another share than the last time begins anew, but damage is not forgotten."""
        kept = details.get("check") or {}
        packs = kept.get("packs")
        damaged = {int(part): datetime.fromisoformat(at) for part, at in (kept.get("damaged") or {}).items()}
        if kept.get("parts") != parts:
            return cls(parts, {}, {1: min(damaged.values())} if damaged else {}, packs)
        read = {int(part): Reading(datetime.fromisoformat(at), int(added)) for part, (at, added) in kept.get("read", {}).items()}
        return cls(parts, read, damaged, packs)

    def to_details(self) -> dict[str, Any]:
        return {
            "parts": self.parts,
            "read": {str(part): [one.at.isoformat(), one.added] for part, one in self.read.items()},
            "damaged": {str(part): at.isoformat() for part, at in self.damaged.items()},
            "packs": self.packs,
        }

    def note(self, part: int | None, at: datetime, added: int, *, ok: bool, packs: int | None) -> Coverage:
        """After a check of one part (None: of everything). A part with damage in it does not count as read."""
        done = range(1, self.parts + 1) if part is None else (part,)
        read = {number: one for number, one in self.read.items() if number not in done}
        damaged = {number: since for number, since in self.damaged.items() if number not in done}
        if ok:
            read |= dict.fromkeys(done, Reading(at, added))
        else:
            first = done[0]
            damaged[first] = self.damaged.get(first, at)
        return replace(self, read=read, damaged=damaged, packs=self.packs if packs is None else packs)

    @property
    def read_since(self) -> datetime | None:
        """Everything that was there at this moment was read since; None until a round is complete."""
        return min(one.at for one in self.read.values()) if len(self.read) == self.parts else None

    @property
    def damaged_at(self) -> datetime | None:
        return min(self.damaged.values(), default=None)

    def round_ends_at(self, next_part: int, last_at: datetime | None, every: timedelta) -> datetime | None:
        """When the part that must wait longest for its first reading has had its turn, or this round ends; None before the first check."""
        if last_at is None:
            return None
        missing = [number for number in range(1, self.parts + 1) if number not in self.read]
        turns = max(((number - next_part) % self.parts + 1 for number in missing), default=self.parts - next_part + 1)
        return last_at + every * turns

    def unread_bytes(self, added: int, size: int | None) -> int | None:
        """About how much was never read: parts without a reading, and what came into the others after theirs."""
        if size is None:
            return None
        later = sum(max(added - one.added, 0) for one in self.read.values())
        return min(size, (later + size * (self.parts - len(self.read))) // self.parts)


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes in a repository as they are stored, and where the number is from. An estimate, and said to be one."""

    bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What checks are expected to read. `requests`: of files of data alone; indexes and trees come on top."""

    round_days: float
    bytes_a_check: int | None = None
    requests_a_check: int | None = None
    bytes_a_month: int | None = None
    requests_a_month: int | None = None


def estimate_size(details: Mapping[str, Any]) -> Size | None:
    """The best that is known without asking: the bucket's own list, else what prune left and what came since, else what our snapshots added."""
    added = details.get("added") or {}
    contents = (details.get("bucket") or {}).get("contents")
    if contents:
        total = sum(int(each.get("bytes", 0)) for each in contents.values() if isinstance(each, Mapping))
        return Size(total, f"listed in the bucket on {str(details['bucket'].get('at', ''))[:10]}")
    if pruned := details.get("size"):
        since = max(int(added.get("bytes", 0)) - int(pruned.get("added", 0)), 0)
        return Size(int(pruned["bytes"]) + since, f"left by prune on {str(pruned['at'])[:10]}, and what snapshots added since")
    if added:
        return Size(int(added["bytes"]), f"what our own snapshots added since {str(added['since'])[:10]}")
    return None


def estimate_cost(parts: int, every: timedelta, size: Size | None, packs: int | None) -> Cost:
    days = parts * every / timedelta(days=1)
    if size is None:
        return Cost(days)
    files = packs if packs is not None else -(-size.bytes // PACK_BYTES)
    times = MONTH / every
    each_bytes, each_files = -(-size.bytes // parts), -(-files // parts)
    return Cost(days, each_bytes, each_files, round(each_bytes * times), round(each_files * times))


def render_reading(coverage: Coverage, round_ends_at: datetime | None, unread: int | None, cost: Cost, size: Size | None) -> str:
    """One line: up to when everything was read, when it will have been again, and what that costs."""
    since = coverage.read_since
    parts = [
        f"all data read since {since:%Y-%m-%d}" if since else f"{len(coverage.read)} of {coverage.parts} parts of the data read"
    ]
    if round_ends_at is not None:
        parts.append(f"the round of {cost.round_days:g} days ends on {round_ends_at:%Y-%m-%d}")
    if unread and since:
        parts.append(f"about {spoken_size(unread)} came later and wait for their turn")
    if cost.bytes_a_check is not None and cost.bytes_a_month is not None and size is not None:
        parts.append(
            f"a check reads about {spoken_size(cost.bytes_a_check)} in {cost.requests_a_check} requests, "
            f"{spoken_size(cost.bytes_a_month)} in {cost.requests_a_month} a month (from {spoken_size(size.bytes)}, {size.source})"
        )
    return "; ".join(parts)


def spoken_size(count: int) -> str:
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
