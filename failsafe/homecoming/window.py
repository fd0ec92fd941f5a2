"""From when on mail at the secondary counts: its account may hold ten years of other mail, which must not come home. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from failsafe.homecoming.found import Found

MARGIN = timedelta(hours=1)  # clocks differ, and resolvers keep records longer than they may


def begin_of(first_seen_at: datetime, flips: Iterable[datetime], ttl: timedelta | None) -> datetime:
    """Before the first time that the homecoming was seen, or that a flip led mail there, by the time for which senders keep the old records.

    `first_seen_at`: when failsafe first had this homecoming in its configuration; `flips`: when each failover of the domain was begun;
    `ttl`: of its MX records, None where nobody knows it.
    """
    return min([first_seen_at, *flips]) - max(ttl or MARGIN, MARGIN)


def counts(found: Found, begin: datetime) -> bool:
    """By when the secondary got it, not by its Date, which the sender wrote."""
    return found.internal_date >= begin
