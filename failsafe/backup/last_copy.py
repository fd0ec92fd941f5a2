"""When the last copy of erased mail disappears from a repository: what `keep` will do, day by day, with the snapshots that have it. Pure.

Reckoned with one complete snapshot a day from now on and `forget` each day: with more of them it comes sooner, and without a newer
snapshot the newest one that has it stays for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from failsafe.backup.retention import Keep, is_ours, plan_retention
from failsafe.backup.snapshot import read_tags
from failsafe.model import Guard, SnapshotInfo

HORIZON = 40 * 366  # days that are reckoned
DAY = timedelta(days=1)
EVERYTHING = Keep()


@dataclass(frozen=True, slots=True)
class Holding:
    """One repository, as far as erased mail of one server goes. `snapshots`: all that it lists of that server."""

    repository: str
    server: str
    erased_at: datetime
    snapshots: Sequence[SnapshotInfo] = ()
    generation: int | None = None  # the first without that mail; None: by time alone
    keep: Keep = EVERYTHING
    maintenance_here: bool = True
    frozen: Sequence[Guard] = ()  # what stops forgetting now
    forget_every: timedelta = DAY
    prune_every: timedelta = 7 * DAY
    lock_days: int = 0  # object lock of its bucket
    versioned: bool = False  # its bucket keeps what is deleted as an old version
    deletes: bool = True  # the credential for maintenance is one that may delete, as far as is known
    error: str = ""  # why it could not be asked


@dataclass(frozen=True, slots=True)
class LastCopy:
    """`forgotten_at`: when the last snapshot that has it is forgotten; `gone_at`: when its bytes are gone, at the latest. None: no date can be said.

    `holding`: how many snapshots have it; None where nobody knows. `why`: sentences for a person.
    """

    repository: str
    server: str
    holding: int | None
    newest_at: datetime | None
    forgotten_at: datetime | None
    gone_at: datetime | None
    why: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "repository": self.repository,
            "server": self.server,
            "snapshots": self.holding,
            "newest_at": _shown(self.newest_at),
            "forgotten_at": _shown(self.forgotten_at),
            "gone_at": _shown(self.gone_at),
            "why": list(self.why),
        }


def foresee(view: Holding, now: datetime, zone: tzinfo) -> LastCopy:
    """What a person is told of one repository."""
    if view.error:
        why = (f"it could not be asked: {view.error}", "run `failsafe erase` again, with --dry-run, when it can be reached")
        return LastCopy(view.repository, view.server, None, None, None, None, why)
    having = [info for info in view.snapshots if has_it(info, view)]
    if not having:
        return _last(view, having, now, now, ("no snapshot there has it",))
    strange = sum(not is_ours(info) for info in having)
    ahead = sum(info.at > now for info in having)
    until = f"all snapshots up to {max(info.at for info in having).astimezone(zone):%Y-%m-%d %H:%M %z} have it"
    if not view.maintenance_here:
        return _last(
            view, having, None, None, (until, 'maintenance is "elsewhere": it is gone when they are forgotten and pruned there')
        )
    if view.keep.is_empty:
        return _last(view, having, None, None, (until, "`keep` is not set, so nothing is ever forgotten there; set it"))
    if strange or ahead:
        odd = f"{strange + ahead} of them are not failsafe's, or dated in the future: those stay until a person forgets them"
        return _last(view, having, None, None, (until, odd))
    forgotten = forgotten_at(having, view, now, zone)
    if forgotten is None:
        return _last(view, having, None, None, (until, f"keep ({view.keep}) holds some of them for more than 40 years"))
    return _dated(view, having, forgotten, until)


def has_it(info: SnapshotInfo, view: Holding) -> bool:
    """Whether a snapshot was made of a generation that still had the mail. One without a number is judged by its time."""
    number = read_tags(info.tags).generation
    if number is not None and view.generation is not None:
        return number < view.generation
    return info.at <= view.erased_at


def forgotten_at(having: Sequence[SnapshotInfo], view: Holding, now: datetime, zone: tzinfo) -> datetime | None:
    """The day on which the last of these is forgotten; None where it is none of HORIZON. What stops forgetting now is taken as settled.

    What is held on a day was held on every day before, so that the day is found by halving.
    """
    wanted = {info.id for info in having}
    listed = [info for info in view.snapshots if info.at <= now]
    first = max((read_tags(info.tags).generation or 0 for info in listed), default=0)

    def is_held(day: int) -> bool:
        later = [_of_day(first, number, now, listed[0].host) for number in sorted(_days_that_count(day, view.keep, now, zone))]
        decisions = plan_retention([*listed, *later], view.keep, now + day * DAY, zone)
        return any(each.kept and each.snapshot.id in wanted for each in decisions)

    if is_held(HORIZON):
        return None
    low, high = -1, HORIZON  # held (before today, at least), not held
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_held(middle) else (low, middle)
    return now + high * DAY


def _of_day(first: int, number: int, now: datetime, host: str) -> SnapshotInfo:
    """The snapshot that will be made so many days from now."""
    tags = (f"generation:{first + number}", f"state:{number:016x}", "result:ok", "messages:0")
    return SnapshotInfo(f"day{number:061}", host, now + number * DAY, tags)


def _days_that_count(day: int, keep: Keep, now: datetime, zone: tzinfo) -> set[int]:
    """Of all days until `day`, those whose snapshots a rule can take: the last few, and the last of each week, month and year."""
    days = set(range(max(1, day - max(1, keep.last, keep.hourly, keep.daily) + 1), day + 1))
    today = (now + day * DAY).astimezone(zone).date()
    sunday = today - (today.weekday() + 1) * DAY
    ends = [sunday - 7 * week * DAY for week in range(min(keep.weekly, day // 7 + 1))]
    month, year = today, today
    for _ in range(min(keep.monthly, day // 28 + 1)):
        month = month.replace(day=1) - DAY
        ends.append(month)
    for _ in range(min(keep.yearly, day // 365 + 1)):
        year = year.replace(month=1, day=1) - DAY
        ends.append(year)
    return days | {number for end in ends if (number := day - (today - end).days) >= 1}


def _dated(view: Holding, having: Sequence[SnapshotInfo], forgotten: datetime, until: str) -> LastCopy:
    """A prune follows within its time; a bucket may keep what was deleted for a while longer."""
    why = [until, f"keep: {view.keep}; reckoned with a new snapshot every day"]
    gone: datetime | None = forgotten + view.forget_every + view.prune_every
    if view.frozen:
        why.append(
            f"nothing is forgotten there while this stands: {view.frozen[0].text} ({view.frozen[0].mend}); the dates are without it"
        )
    if not view.deletes:
        why.append("the credential that lies here may not delete there: a prune with another one must follow")
        gone = None
    if gone is not None and (view.lock_days or view.versioned):
        gone += view.lock_days * DAY
        lock = f"versions are locked for {view.lock_days} days" if view.lock_days else "old versions stay"
        why.append(
            f"its bucket keeps what is deleted ({lock}): it is gone for good when a lifecycle rule on old versions removes it"
        )
    return _last(view, having, forgotten, gone, tuple(why))


def _last(
    view: Holding,
    having: Sequence[SnapshotInfo],
    forgotten: datetime | None,
    gone: datetime | None,
    why: tuple[str, ...],
) -> LastCopy:
    newest = max((info.at for info in having), default=None)
    return LastCopy(view.repository, view.server, len(having), newest, forgotten, gone, why)


def _shown(at: datetime | None) -> str | None:
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"
