"""Whether somebody looks at a domain: a look that is too old says nothing of now. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from failsafe.status.roster import DomainRow, Roster
from failsafe.store.glance import Glance, Row

WATCH_FLUSH = timedelta(minutes=10)  # an unchanged watch is written at most that often, so that a NAS disk can sleep


def is_stale(watch: Row | None, row: DomainRow, now: datetime) -> bool:
    """Whether the last look at a domain says nothing of now: it is too old, or it lies in the future (the clock went back)."""
    if watch is None or watch["ended_at"] is None:
        return True
    return not -row.probe_every * 3 <= now - watch["ended_at"] <= WATCH_FLUSH + row.probe_every * 3


def watches_all(roster: Roster, glance: Glance, now: datetime) -> bool:
    """Whether somebody has looked at every domain lately."""
    watched = glance.by("duty", "name")
    return not any(is_stale(watched.get(f"watch:{row.domain}"), row, now) for row in roster.domains)
