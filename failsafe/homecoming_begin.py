"""From when on mail at a secondary is of the homecoming: kept in the database, so that it never moves to a later time."""

from __future__ import annotations

from datetime import datetime, timedelta

from failsafe.app import App
from failsafe.homecoming.window import begin_of
from failsafe.model import FlipKind
from failsafe.status.homecoming import SEEN

OUTAGE_BEFORE = timedelta(days=90)  # a homecoming that was configured only in an outage is of all of it


def begin_of_homecoming(app: App, domain: str) -> datetime:
    """What lay at the secondary before then is neither archived nor brought home. Raises StoreError."""
    from failsafe.store.journal import Journal

    seen_at = _seen_at(app, domain)
    flips = Journal(app.store, None).flips(domain, seen_at - OUTAGE_BEFORE)
    begun = [intent.planned_at for intent in flips if intent.kind is FlipKind.FAILOVER]
    return begin_of(seen_at, begun, app.domain(domain).ttl)


def _seen_at(app: App, domain: str) -> datetime:
    name = f"{SEEN}:{domain}"
    row = app.duties.all().get(name)
    if row is not None and row.ended_at is not None:
        return row.ended_at
    now = app.clock.now()
    app.duties.ended(name, now, ok=True)
    return now
