"""A time as people type it: `2026-11-20`, `2026-11-20T18:00`, `yesterday 18:00`, or `2h` (ago). Pure: `now` and the zone are given."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo

from failsafe.errors import UsageError

_AGO = re.compile(r"(\d{1,6})\s*(s|m|h|d|w)(?:\s+ago)?\Z")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAYS = {"today": 0, "yesterday": 1}
EXAMPLES = "write it as 2026-11-20, 2026-11-20T18:00, yesterday 18:00, or 2h (ago)"


def parse_time(text: str, now: datetime, zone: tzinfo, *, end_of_day: bool = False) -> datetime:
    """Aware UTC. A day alone is its beginning, or its end with `end_of_day` (the beginning of the next one). Raises UsageError."""
    words = text.strip().lower()
    if ago := _AGO.match(words):
        return _checked(text, lambda: now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}))
    day, _, clock = words.partition(" ")
    if day in _DAYS:
        date = (now.astimezone(zone) - timedelta(days=_DAYS[day])).date()
        words = f"{date.isoformat()}t{clock.strip()}" if clock.strip() else date.isoformat()
    moment = _checked(text, lambda: datetime.fromisoformat(words.upper()))
    if end_of_day and re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", words):
        moment = _checked(text, lambda: moment + timedelta(days=1))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return _checked(text, lambda: moment.astimezone(UTC))


def _checked(text: str, make: Callable[[], datetime]) -> datetime:
    try:
        return make()
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is not a time", mend=EXAMPLES) from None
