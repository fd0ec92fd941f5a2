"""Flips that would have been made, as they are remembered with the domain: that is how a person comes to trust `auto`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from failsafe.model import DomainRecord, FlipKind, ObservedFlip

if TYPE_CHECKING:  # `status` reads what is kept, and must be quick
    from failsafe.failover.decide import Decision

MOST = 20  # of a domain; the events have all of them


def note_observed(record: DomainRecord, decision: Decision, now: datetime) -> tuple[ObservedFlip, ...]:
    """One entry for each incident and kind: from when it would have been made or, while guards stand, when it was first due."""
    assert decision.kind is not None
    change = decision.plan.sentences if decision.plan is not None else ()
    guards = tuple(f"{guard.code}: {guard.text}" for guard in decision.guards)
    new = ObservedFlip(decision.kind, now, record.suspected_at, decision.reasons, change, guards)
    last = record.observed[-1] if record.observed else None
    if last is None or (last.kind, last.incident_at, last.over_at) != (new.kind, new.incident_at, None):
        return (*record.observed, new)[-MOST:]
    if not last.guards:  # it would have been made already
        return record.observed
    return (*record.observed[:-1], replace(new, at=last.at) if guards else new)


def end_observed(observed: tuple[ObservedFlip, ...], now: datetime) -> tuple[ObservedFlip, ...]:
    """The primary serves and is well: what was open is over."""
    return tuple(replace(flip, over_at=now) if flip.over_at is None else flip for flip in observed)


def observed_to_json(flip: ObservedFlip) -> dict[str, Any]:
    return {
        "kind": str(flip.kind),
        "at": flip.at.isoformat(),
        "incident_at": None if flip.incident_at is None else flip.incident_at.isoformat(),
        "why": list(flip.why),
        "change": list(flip.change),
        "guards": list(flip.guards),
        "over_at": None if flip.over_at is None else flip.over_at.isoformat(),
    }


def observed_of_json(kept: Mapping[str, Any]) -> ObservedFlip:
    """Raises KeyError, TypeError, ValueError where it makes no sense."""
    return ObservedFlip(
        FlipKind(kept["kind"]),
        datetime.fromisoformat(kept["at"]),
        _instant(kept["incident_at"]),
        tuple(kept["why"]),
        tuple(kept["change"]),
        tuple(kept["guards"]),
        _instant(kept["over_at"]),
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
