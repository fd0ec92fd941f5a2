"""Which snapshots of one server in one repository stay, and which are forgotten, each with its reasons. Pure.

The rules are restic's own (`restic forget --keep-…`), compared with it by a test. Ours differ where restic would give away mail: a snapshot
that is not complete never takes the place of one that is, one from the future takes no place at all, the newest complete one always stays,
and nothing goes while a freeze stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from failsafe.backup.snapshot import read_tags
from failsafe.model import Guard, Result, SnapshotInfo

DIGITS = 8  # of a snapshot's id, where a person reads it
RULES = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
_LABELS: dict[str, Callable[[datetime], str]] = {
    "hourly": lambda local: f"{local:%Y-%m-%d %H}h",
    "daily": lambda local: f"{local:%Y-%m-%d}",
    "weekly": lambda local: "{}-W{:02}".format(*local.isocalendar()),
    "monthly": lambda local: f"{local:%Y-%m}",
    "yearly": lambda local: f"{local:%Y}",
}


@dataclass(frozen=True, slots=True)
class Keep:
    """`keep` of a repository. `within` as restic writes it ("7d", "12h", "1y"; "" for none); a count of 0 is no rule."""

    within: str = ""
    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    @property
    def is_empty(self) -> bool:
        """Nothing is said, so nothing is ever forgotten."""
        return self == Keep()

    @property
    def counts(self) -> dict[str, int]:
        return {rule: getattr(self, rule) for rule in RULES if getattr(self, rule)}

    def __str__(self) -> str:
        parts = [f"within {self.within}"] if self.within else []
        return ", ".join([*parts, *(f"{count} {rule}" for rule, count in self.counts.items())]) or "everything"


@dataclass(frozen=True, slots=True)
class Pin:
    """The last complete snapshot from before this moment stays, and why."""

    before_at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one snapshot, and why. `pinned`: the reason why a person should not lose it now; "" where there is none."""

    snapshot: SnapshotInfo
    kept: bool
    reasons: tuple[str, ...]
    pinned: str = ""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A snapshot as the rules look at it, read once: there may be thousands."""

    info: SnapshotInfo
    state: tuple[int, str]
    is_ok: bool
    local: datetime

    @property
    def id(self) -> str:
        return self.info.id


def plan_retention(
    snapshots: Iterable[SnapshotInfo],
    keep: Keep,
    now: datetime,
    zone: tzinfo,
    *,
    pins: Sequence[Pin] = (),
    freezes: Sequence[Guard] = (),
) -> tuple[Decision, ...]:
    """One decision for each snapshot, oldest first. Hours, days, weeks, months and years are those of `zone`."""
    listed = sorted(snapshots, key=_age)
    ours = [_seen(info, zone) for info in listed if is_ours(info) and info.at <= now]
    reasons: dict[str, list[str]] = {info.id: [] for info in listed}
    pinned = _pinned(ours, pins)
    for freeze in freezes:
        _add(reasons, ((info.id, f"frozen: {freeze.text}") for info in listed))
    _add(reasons, ((id_, f"pinned: {text}") for id_, text in pinned.items()))
    _add(reasons, _always(listed, ours, now))
    if keep.is_empty:
        _add(reasons, ((info.id, "keep is not set: nothing is ever forgotten") for info in listed))
    elif ours:
        _add(reasons, _within(ours, keep.within, zone))
        for rule, count in keep.counts.items():
            _add(reasons, _counted(ours, rule, count).items())
    _add(reasons, _twins(ours, {id_ for id_, why in reasons.items() if why}))
    going = [each for each in ours if not reasons[each.id]]
    why = dict(_why_not(going, ours, keep))
    return tuple(
        Decision(info, not why.get(info.id), tuple(reasons[info.id]) or why[info.id], pinned.get(info.id, "")) for info in listed
    )


def find_pinned(snapshots: Iterable[SnapshotInfo], pins: Sequence[Pin]) -> dict[str, str]:
    """{id: why} of the snapshots that pins hold."""
    seen = [_seen(info, UTC) for info in sorted(snapshots, key=_age) if is_ours(info)]
    return _pinned(seen, pins)


def _age(info: SnapshotInfo) -> tuple[datetime, int, str]:
    return info.at, read_tags(info.tags).generation or 0, info.id


def is_ours(info: SnapshotInfo) -> bool:
    """Made by failsafe, and saying what it holds."""
    held = read_tags(info.tags)
    return held.generation is not None and held.result in (Result.OK, Result.INCOMPLETE)


def _seen(info: SnapshotInfo, zone: tzinfo) -> _Seen:
    held = read_tags(info.tags)
    return _Seen(info, (held.generation or 0, held.state), held.result == Result.OK, info.at.astimezone(zone))


def _add(reasons: Mapping[str, list[str]], found: Iterable[tuple[str, str]]) -> None:
    for id_, text in found:
        reasons[id_].append(text)


# -- what always stays ---------------------------------------------------------------------------------------------------


def _always(listed: Sequence[SnapshotInfo], ours: Sequence[_Seen], now: datetime) -> Iterable[tuple[str, str]]:
    for info in listed:
        if not is_ours(info):
            yield info.id, "not one of failsafe's"
        elif info.at > now:
            yield info.id, "dated in the future: a clock was wrong, so it is not counted"
    if ours:
        yield ours[-1].id, "newest"
    complete = [each for each in ours if each.is_ok]
    if complete:
        yield complete[-1].id, "newest complete one"


def _pinned(ours: Sequence[_Seen], pins: Sequence[Pin]) -> dict[str, str]:
    """restic keeps whole seconds, so a snapshot made in the very second of the guard is not one from before it."""
    found: dict[str, str] = {}
    for pin in pins:
        before = [each for each in ours if each.is_ok and each.info.at < pin.before_at.replace(microsecond=0)]
        if before:
            known = found.get(before[-1].id)
            found[before[-1].id] = pin.text if known is None else f"{known}; {pin.text}"
    return found


def _twins(ours: Sequence[_Seen], kept: set[str]) -> Iterable[tuple[str, str]]:
    """Two snapshots of one state: one of them may have been found wanting and made again. Where tags do not tell which, both stay, or none."""
    states = {each.state: each.id for each in ours if each.id in kept}
    whole = {each.id for each in ours if each.is_ok}
    for each in ours:
        if each.id not in kept and (twin := states.get(each.state)) is not None and (each.is_ok or twin not in whole):
            yield each.id, f"of the same state as {twin[:DIGITS]}"


# -- the rules -----------------------------------------------------------------------------------------------------------


def _within(ours: Sequence[_Seen], span: str, zone: tzinfo) -> Iterable[tuple[str, str]]:
    """Counted back from the newest one, as restic does: a machine that was off for a month forgets nothing because of that."""
    if not span:
        return ()
    begin = _back(ours[-1].info.at, span, zone)
    return ((each.id, f"within {span}") for each in ours if each.info.at > begin)


def _back(at: datetime, span: str, zone: tzinfo) -> datetime:
    """`at` without that span: hours are real hours, days and years are those of the calendar, as in restic."""
    count, unit = int(span[:-1]), span[-1]
    try:
        if unit == "h":
            return at - timedelta(hours=count)
        local = at.astimezone(zone)
        if unit == "d":
            return (local - timedelta(days=count)).astimezone(UTC)
        leap = (local.month, local.day) == (2, 29)  # in a year without one that is 1 March
        day = local.replace(day=28) if leap else local
        return (day.replace(year=local.year - count) + timedelta(days=leap)).astimezone(UTC)
    except (OverflowError, ValueError):
        return datetime.min.replace(tzinfo=UTC)  # before all time


def _counted(ours: Sequence[_Seen], rule: str, count: int) -> dict[str, str]:
    """Complete ones are counted among themselves, so that a month of incomplete ones pushes none of them out.

    Incomplete ones are kept beside them only where their hour, day, … has no complete one.
    """
    complete = [each for each in ours if each.is_ok]
    taken = _take(complete, rule, count)
    covered = {_label(each, rule) for each in complete}
    open_ = [each for each in ours if each.is_ok or _label(each, rule) not in covered]
    for id_, text in _take(open_, rule, count).items():
        taken.setdefault(id_, f"{text}, incomplete" + ("" if rule == "last" else ", and no complete one is there"))
    return taken


def _take(candidates: Sequence[_Seen], rule: str, count: int) -> dict[str, str]:
    """restic's own walk: the newest of each hour, day, … until the count is used up; and the very oldest, while any of it is left."""
    taken: dict[str, str] = {}
    before = ""
    for place, each in enumerate(reversed(candidates), start=1):
        if len(taken) == count:
            break
        label, is_oldest = _label(each, rule), place == len(candidates)
        if label != before or is_oldest:
            name = rule if rule == "last" else f"{rule} {label}"
            oldest = "oldest, " if label == before else ""
            taken[each.id] = f"{oldest}{name} ({len(taken) + 1} of {count})"
            before = label
    return taken


def _label(each: _Seen, rule: str) -> str:
    return each.id if rule == "last" else _LABELS[rule](each.local)


def _why_not(going: Sequence[_Seen], ours: Sequence[_Seen], keep: Keep) -> Iterable[tuple[str, tuple[str, ...]]]:
    """For a person who asks where a snapshot went: what stood in its place, for each rule."""
    holders: dict[str, dict[str, _Seen]] = {rule: {} for rule in keep.counts if rule != "last"}
    for rule, found in holders.items():
        for each in ours:  # oldest first, so that the newest of each kind is what is left
            if each.is_ok or (label := _label(each, rule)) not in found or not found[label].is_ok:
                found[_label(each, rule)] = each
    for each in going:
        reasons = [f"not within {keep.within}"] if keep.within else []
        reasons += [f"not among the last {keep.last}"] if keep.last else []
        for rule, found in holders.items():
            label = _label(each, rule)
            holder = found[label]
            better = "complete" if holder.is_ok and not each.is_ok else "newer"
            is_it = f"{rule} {label} is {holder.id[:DIGITS]}, which is {better}"
            reasons.append(f"before the last {keep.counts[rule]} {rule}" if holder.id == each.id else is_it)
        yield each.id, tuple(reasons)
