"""When to remind a person of something that lasts. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

STEPS = (
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=12),
    timedelta(hours=20),
)  # before the first senders give up, at 24 hours
AFTERWARDS = timedelta(days=1)


def reminder_due(since: datetime, reminded_at: datetime | None, now: datetime) -> bool:
    """True once for each step that was passed since the last reminder of this incident; steps missed while we slept are one reminder.

    A reminder from times to come was noted by a clock that was wrong: it would silence every incident until then.
    """
    last = reminded_at if reminded_at is not None and since <= reminded_at <= now else None
    passed = [step for step in STEPS if now - since >= step]
    if not passed:
        return False
    if last is None or last < since + passed[-1]:
        return True
    return now - since >= STEPS[-1] + AFTERWARDS and now - last >= AFTERWARDS
