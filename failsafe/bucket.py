"""What an S3 bucket says of itself, and the port that asks it. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol


class Deleting(StrEnum):
    """What came of deleting a scratch object of our own, with the everyday credential."""

    DENIED = "denied"
    HIDES = "hides"  # it can only put a delete marker; the version stays
    FOR_GOOD = "for-good"
    UNKNOWN = "unknown"  # it may not write there, or nothing was tried


@dataclass(frozen=True, slots=True)
class Contents:
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class BucketRule:
    """A lifecycle rule that does something to current objects below `prefix`."""

    name: str
    prefix: str
    does: str

    def touches(self, place: str) -> bool:
        return self.prefix.startswith(place) or place.startswith(self.prefix)


@dataclass(frozen=True, slots=True)
class BucketFacts:
    """What a bucket says of itself, and what lies there. None: this credential may not ask."""

    at: datetime
    versioning: str | None  # on | suspended | off
    lock: bool | None
    lock_mode: str  # compliance | governance | ""
    lock_days: int
    rules: tuple[BucketRule, ...] | None
    deleting: Deleting
    contents: Mapping[str, Contents] | None  # by kind of restic's files
    newest_snapshot_at: datetime | None
    whole: bool  # False: there is more than was listed
    foreign: int = 0  # files that are not of restic's layout

    def to_json(self) -> dict[str, Any]:
        values = asdict(self)
        newest = self.newest_snapshot_at
        return {
            **values,
            "at": f"{self.at:%Y-%m-%dT%H:%M:%SZ}",
            "newest_snapshot_at": None if newest is None else f"{newest:%Y-%m-%dT%H:%M:%SZ}",
            "rules": None if self.rules is None else [asdict(rule) for rule in self.rules],
            "deleting": str(self.deleting),
        }


class Bucket(Protocol):
    """The place of a repository on S3, asked without restic. Raises BucketError."""

    def look(self, now: datetime) -> BucketFacts: ...
    def count(self, kind: str) -> int:
        """Files of one kind: config, keys, snapshots, index, data, locks."""
        ...
