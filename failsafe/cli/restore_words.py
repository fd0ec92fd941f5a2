"""What a person types when asked about a restore, as values; and what is shown, as lines. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from failsafe.backup.catalog_search import Found
from failsafe.cli.search import for_terminal
from failsafe.cli.times import parse_time
from failsafe.errors import UsageError

ALIKE = 0.6  # of difflib's ratio: a typo or two in a word of six letters
SUGGESTED = 5
_SPAN = re.compile(r"(?:last |past |an? |(\d{1,4}) ?)(hour|day|week|month|year)s?(?: ago)?\Z")
_DAYS = {"hour": 1 / 24, "day": 1, "week": 7, "month": 31, "year": 366}
_EVER = {"ever", "always", "all", "forever"}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_RANGE = re.compile(r"(\d{1,9})(?:\s*(?:-|…|\.\.)\s*(\d{1,9}))?\Z")
SINCE_EXAMPLES = "yesterday, 3 days, a week, a month, monday, 2026-11-20, 2026-11-20T18:00, 2h, or ever"


@dataclass(frozen=True, slots=True)
class Matched:
    """Places in a list of names that a text may mean; `guessed`: none of them says it, they are only like it."""

    places: tuple[int, ...] = ()
    guessed: bool = False


def match(text: str, names: Sequence[str]) -> Matched:
    """The name itself, else all that contain it, else those that are like it, most alike first."""
    wanted = text.strip().casefold()
    folded = [name.casefold() for name in names]
    exact = tuple(place for place, name in enumerate(folded) if name == wanted)
    part = tuple(place for place, name in enumerate(folded) if wanted in name)
    if exact or part or not wanted:
        return Matched(exact or part)
    likeness = [_likeness(wanted, name) for name in folded]
    best = sorted((place for place in range(len(names)) if likeness[place] >= ALIKE), key=lambda place: -likeness[place])
    return Matched(tuple(best[:SUGGESTED]), guessed=bool(best))


def _likeness(wanted: str, name: str) -> float:
    """Of an address both halves must be alike: all mailboxes of a domain are alike in the other one."""
    local, _, domain = wanted.partition("@")
    if domain:
        return min(_alike(local, name.partition("@")[0]), _alike(domain, name.partition("@")[2]))
    return max(_alike(wanted, name), _alike(wanted, name.partition("@")[0]))


def _alike(left: str, right: str) -> float:
    return difflib.SequenceMatcher(None, left, right).ratio()


def parse_since(text: str, now: datetime, zone: tzinfo) -> datetime | None:
    """None for "ever". Raises UsageError for what is no time, or one that is still to come."""
    words = " ".join(text.lower().split()).removeprefix("since ")
    if words in _EVER:
        return None
    if words in _WEEKDAYS:
        today = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
        back = (today.weekday() - _WEEKDAYS.index(words)) % 7 or 7
        return (today - timedelta(days=back)).astimezone(UTC)
    if span := _SPAN.match(words):
        return now - timedelta(days=int(span[1] or 1) * _DAYS[span[2]])
    try:
        found = parse_time(words, now, zone)
    except UsageError:
        raise UsageError(f"“{text}” is no time I know", mend=f"say {SINCE_EXAMPLES}") from None
    if found > now:
        raise UsageError(f"“{text}” is still to come", mend=f"say {SINCE_EXAMPLES}")
    return found


def parse_numbers(text: str, last: int) -> tuple[int, ...]:
    """`1,3-7` as numbers, each once, as they were named. Raises UsageError for anything else, and for a number that is not in the list."""
    found: dict[int, None] = {}
    for part in filter(None, re.split(r"[,;]\s*|(?<!-)\s+(?!-)", text.strip())):
        span = _RANGE.match(part)
        if span is None:
            raise UsageError(f"“{part}” is no number", mend="write numbers as 1,3-7")
        first, end = int(span[1]), int(span[2] or span[1])
        if not 1 <= first <= end <= last:
            raise UsageError(f"“{part}” is not in the list", mend=f"the numbers go from 1 to {last}")
        found.update(dict.fromkeys(range(first, end + 1)))
    return tuple(found)


def narrowed(rows: Sequence[Found], text: str) -> tuple[Found, ...]:
    """Rows that have each of the words in sender, recipient, subject or folder."""
    words = text.casefold().split()
    return tuple(
        row
        for row in rows
        if all(word in " ".join((row.sender, row.recipient, row.subject, row.folder)).casefold() for word in words)
    )


@dataclass(frozen=True, slots=True)
class Group:
    """What vanished from one folder on one day."""

    folder: str
    day: str
    rows: tuple[Found, ...]


def grouped(rows: Sequence[Found], zone: tzinfo) -> tuple[Group, ...]:
    """By folder and the day on which it was missed, the newest day first, and the largest first within it."""
    groups: dict[tuple[str, str], list[Found]] = {}
    for row in rows:
        if row.gone_at is not None:
            groups.setdefault((f"{row.gone_at.astimezone(zone):%Y-%m-%d}", row.folder), []).append(row)
    ordered = sorted(groups.items(), key=lambda one: (one[0][0], len(one[1])), reverse=True)
    return tuple(Group(folder, day, tuple(held)) for (day, folder), held in ordered)


def group_line(number: int, group: Group) -> str:
    few = ", ".join(dict.fromkeys(_cut(row.subject or "(no subject)", 30) for row in group.rows[:3]))
    more = ", …" if len(group.rows) > 3 else ""
    return f"{number:4d}  {group.day}  {for_terminal(group.folder)}: {counted(len(group.rows))} ({few}{more})"


def row_line(number: int, row: Found, zone: tzinfo) -> str:
    """Number, date, sender, subject, folder, and whether it is gone."""
    try:
        date = f"{datetime.fromtimestamp(row.internal_date, UTC).astimezone(zone):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        date = "no date".ljust(16)
    subject = "(stored encrypted)" if row.opaque else row.subject or ("(no subject)" if row.headers_known else row.id[:12])
    state = "still there" if row.gone_at is None else f"GONE since {row.gone_at.astimezone(zone):%Y-%m-%d %H:%M}"
    return f"{number:4d}  {date}  {_cut(row.sender, 26):26}  {_cut(subject, 40):40}  {for_terminal(row.folder)}  {state}"


def counted(count: int) -> str:
    return f"{count} message" if count == 1 else f"{count} messages"


def _cut(text: str, letters: int) -> str:
    shown = for_terminal(text)
    return shown if len(shown) <= letters else shown[: letters - 1] + "…"
