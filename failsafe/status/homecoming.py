"""What the journal and the table of duties say of a homecoming: whether mail may go home, and how it stands. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from failsafe.model import DomainState, Side

SEEN = "homecoming-seen"  # a row for each domain: when its homecoming was first in the configuration
DUTY = "came-home"  # a row for each domain: how its ledger stood after the last delivery


AWAY = frozenset({DomainState.FAILING_OVER, DomainState.FAILED_OVER, DomainState.RECOVERING, DomainState.FAILING_BACK})


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a domain stands, as its journal has it."""

    state: DomainState = DomainState.NORMAL
    serving: Side = Side.PRIMARY
    draining_until: datetime | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any] | None) -> Standing:
        """Of a row of domain_state; None where the domain never moved."""
        return cls() if row is None else cls(DomainState(row["state"]), Side(row["serving"]), row["draining_until"])

    @property
    def is_away(self) -> bool:
        return self.serving is Side.SECONDARY or self.state in AWAY

    def drains(self, now: datetime) -> bool:
        return self.draining_until is not None and self.draining_until > now


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
