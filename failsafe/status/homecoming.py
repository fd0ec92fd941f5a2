"""The names under which a homecoming is remembered in the table of duties, and how `status` shows it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

SEEN = "homecoming-seen"  # a row for each domain: when its homecoming was first in the configuration
DUTY = "came-home"  # a row for each domain: how its ledger stood after the last delivery


@dataclass(frozen=True, slots=True)
class CameHome:
    """Since the last outage; `waiting` is all that waits. `reasons`: why -> how many."""

    at: datetime
    home: int
    already_there: int
    waiting: int
    reasons: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, at: datetime, details: Mapping[str, Any]) -> CameHome:
        home, there, waiting = (int(details.get(name, 0)) for name in ("home", "already_there", "waiting"))
        return cls(at, home, there, waiting, dict(details.get("reasons") or {}))

    def describe(self) -> str:
        """`12 came home, 3 were already there, 2 wait (Quota exceeded)`."""
        why = f" ({next(iter(self.reasons))})" if self.waiting and self.reasons else ""
        return f"{self.home} came home, {self.already_there} were already there, {self.waiting} wait{why}"
