"""How far a pull, a forget or a prune is that is under way, from the note that it leaves beside its duty. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from failsafe.backup.freshness import ON_COURSE
from failsafe.backup.sizes import spoken_size
from failsafe.render import spoken_age, spoken_instant
from failsafe.store.glance import Row

STALLED = timedelta(minutes=10)  # a note is written every half minute while bytes come; writing a part may take minutes


@dataclass(frozen=True, slots=True)
class Pull:
    """Bytes of the server's mail. `moving` False: nothing has come for too long; it hangs, or it was killed."""

    done: int
    total: int
    rate: float | None  # bytes a second, of the last quarter of an hour
    moved_at: datetime
    moving: bool

    @property
    def percent(self) -> float:
        """Rounded down: 100 only when all is there."""
        return 100.0 if self.done >= self.total else int(1000 * self.done / self.total) / 10

    @property
    def expected_end_at(self) -> datetime | None:
        if not self.moving or not self.rate:
            return None
        return self.moved_at + timedelta(seconds=max(self.total - self.done, 0) / self.rate)


def read_pull(duty: Row | None, now: datetime) -> Pull | None:
    """None where no pull is open that has left a note since it began."""
    details = duty["details"] if duty is not None else {}
    if duty is None or duty["started_at"] is None or not details.get("total") or "moved_at" not in details:
        return None
    is_open = duty["ended_at"] is None or duty["ended_at"] < duty["started_at"]
    moved_at = datetime.fromisoformat(details["moved_at"])
    if not is_open or moved_at < duty["started_at"]:
        return None
    moving = -STALLED <= now - moved_at <= STALLED
    return Pull(int(details.get("done", 0)), int(details["total"]), details.get("rate"), moved_at, moving)


def describe_pull(pull: Pull, now: datetime, zone: tzinfo | None) -> str:
    """ "43.1 % of 200.0 GB is here, 1.1 MB/s; it ends about 2026-11-24 03:10 +01:00"; without a zone the end is a span."""
    words = f"{pull.percent:g} % of {spoken_size(pull.total)} is here"
    if not pull.moving:
        return f"{words}; nothing has come for {spoken_age(now - pull.moved_at)}"
    end = pull.expected_end_at
    if end is None or not pull.rate:
        return f"{words}; its rate is not known yet"
    when = f"about {spoken_instant(end, zone)}" if zone is not None else f"in about {spoken_age(end - now)}"
    return f"{words}, {spoken_size(int(pull.rate))}/s; it ends {when}"


@dataclass(frozen=True, slots=True)
class Work:
    """Upkeep of a repository that has begun and not ended. `counted`: what it counts in its present step, "packs repacked"."""

    what: str  # forget | prune
    since: datetime
    heard_at: datetime  # when it last got on
    moving: bool
    done: int = 0
    total: int | None = None
    counted: str = ""

    def to_json(self) -> dict[str, Any]:
        at = {name: f"{moment:%Y-%m-%dT%H:%M:%SZ}" for name, moment in (("since", self.since), ("moved_at", self.heard_at))}
        return {"what": self.what, **at, "moving": self.moving, "done": self.done, "total": self.total, "counted": self.counted}


def read_work(rows: Mapping[str, Row], repository: str, now: datetime) -> Work | None:
    """None where nothing is open. Only one of these works in a repository at a time; of those that were killed, the last one is told."""
    found: list[Work] = []
    for what in ("forget", "prune"):
        row = rows.get(f"{what}:{repository}")
        if row is None or row["started_at"] is None or (row["ended_at"] is not None and row["ended_at"] >= row["started_at"]):
            continue
        details = row["details"]
        noted_at = datetime.fromisoformat(details["moved_at"]) if "moved_at" in details else row["started_at"]
        noted = details if noted_at >= row["started_at"] and "moved_at" in details else {}
        heard_at = max(noted_at, row["started_at"])
        moving = -STALLED <= now - heard_at <= ON_COURSE
        counts = (int(noted.get("done", 0)), noted.get("total"), str(noted.get("unit", "")))
        found.append(Work(what, row["started_at"], heard_at, moving, *counts))
    return max(found, key=lambda work: work.since, default=None)


def describe_work(work: Work, now: datetime, zone: tzinfo) -> str:
    """ "prune runs since 2026-11-24 03:10 +01:00: 3 of 5 packs repacked"."""
    since = spoken_instant(work.since, zone)
    if not work.moving:
        return f"{work.what} began {since} and has not ended; nothing was heard of it for {spoken_age(now - work.heard_at)}"
    step = f": {work.done} of {work.total} {work.counted}" if work.total else ""
    return f"{work.what} runs since {since}{step}"
