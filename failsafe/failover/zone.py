"""MX layouts and the plans between them. Pure: sets go in, sets come out; nothing here knows a provider, a state or the time.

Theory. Each strategy has two layouts, one for peace and one for an outage. What the zone holds is compared with the layout it should
have (`mx_layout_fault`); where it fits, a plan changes as little as the strategy allows and keeps the numbers a person chose:

    swap        peace: primaries before secondaries, all listed      outage: the primaries move behind the secondaries
    on-demand   peace: the primaries alone                           outage: secondaries are added before the primaries
    replace     peace: the primaries alone                           outage: the secondaries alone

No plan is ever empty, lists an exchange that is not configured, or gives a primary and a secondary the same preference. `steps` orders
a change so that every state on the way holds at least one record, whatever the provider makes visible first.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import zip_longest

from failsafe.errors import Refused
from failsafe.model import Mx, MxSet, Side, Strategy

HIGHEST = 65_535  # a preference is an unsigned 16-bit number (RFC 1035 section 3.3.9)
PRIMARY_BASE = 10  # primaries of a peace layout that failsafe writes: 10, 11, …
SECONDARY_BASE = 20  # secondaries of `swap`: 20, 21, …
OUTAGE_SHIFT = 20  # `swap` moves the primaries from 10, 11, … to 30, 31, …
ROOM = 10  # `on-demand` moves the primaries up by this much where there is no room below them
LONGEST_SIDE = 10  # exchanges on one side; Postfix tries no more than 5 addresses (smtp_mx_address_limit)


@dataclass(frozen=True, slots=True)
class MxLayout:
    """What the MX records of a domain are made of. Names are lower case without the final dot, best first."""

    strategy: Strategy
    primaries: tuple[str, ...]
    secondaries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One record of a change: added (`before` is None), removed (`after` is None) or changed in place."""

    before: Mx | None
    after: Mx | None


def serving(found: MxSet, layout: MxLayout) -> Side | None:
    """Which side senders ask first; None for an empty set, a foreign exchange in front, or both sides in front."""
    if not found:
        return None
    best = min(record.preference for record in found.records)
    first = {record.exchange for record in found.records if record.preference == best}
    if first <= set(layout.primaries):
        return Side.PRIMARY
    if first <= set(layout.secondaries):
        return Side.SECONDARY
    return None


def configuration_fault(layout: MxLayout) -> str | None:
    """Why these exchanges can never make a layout; None if they can."""
    both = (*layout.primaries, *layout.secondaries)
    if not layout.primaries or not layout.secondaries:
        return "a primary and a secondary exchange are needed"
    if any(not name or name == "." for name in both):
        return "an empty exchange is a null MX (RFC 7505): senders would bounce at once"
    if len(set(both)) != len(both):
        return "an exchange is listed twice, or on both sides"
    if max(len(layout.primaries), len(layout.secondaries)) > LONGEST_SIDE:
        return f"more than {LONGEST_SIDE} exchanges on one side"
    return None


def mx_layout_fault(found: MxSet, layout: MxLayout, side: Side = Side.PRIMARY) -> str | None:
    """Why `found` is not a layout of this strategy in which `side` serves; None if it is. The sentence names what is there."""
    fault = configuration_fault(layout)
    if fault is not None:
        return fault
    if side is Side.SECONDARY and found.exchanges == set(layout.secondaries):
        layout = replace(layout, strategy=Strategy.REPLACE)  # the primary is unlisted: an outage layout of every strategy
    if not found:
        return "there is no MX record (senders then use the domain's own address, RFC 5321 section 5.1)"
    names = [record.exchange for record in found.records]
    if len(set(names)) != len(names):
        return f"an exchange is listed twice: {describe(found)}"
    foreign, absent = found.exchanges - _expected_names(layout, side), _expected_names(layout, side) - found.exchanges
    if foreign:
        return f"{', '.join(sorted(name or '.' for name in foreign))} should not be listed while the {side} serves ({layout.strategy}): {describe(found)}"
    if absent:
        return f"{', '.join(sorted(absent))} should be listed while the {side} serves ({layout.strategy}): {describe(found)}"
    front, behind = (layout.primaries, layout.secondaries) if side is Side.PRIMARY else (layout.secondaries, layout.primaries)
    if _worst(found, front) >= _best(found, behind):
        return f"every exchange of the {side} should have a lower preference than the other side's: {describe(found)}"
    return None


def plan_failover(found: MxSet, layout: MxLayout, ttl_seconds: int | None = None) -> MxSet:
    """The outage layout that changes least. Raises Refused (guard-less) where `found` is no peace layout or has no room."""
    _demand(mx_layout_fault(found, layout, Side.PRIMARY))
    if layout.strategy is Strategy.SWAP:
        records = _swapped(found, layout)
    elif layout.strategy is Strategy.ON_DEMAND:
        records = _added(found, layout)
    else:
        records = [(PRIMARY_BASE + index, name) for index, name in enumerate(layout.secondaries)]
    return _checked(records, ttl_seconds if ttl_seconds is not None else found.ttl_seconds, layout, Side.SECONDARY)


def plan_unlisted(found: MxSet, layout: MxLayout, ttl_seconds: int | None = None) -> MxSet:
    """The secondaries alone, as they are listed or as `replace` lists them. Raises Refused where `found` is no peace layout of the strategy."""
    _demand(mx_layout_fault(found, layout, Side.PRIMARY))
    kept = [(record.preference, record.exchange) for record in found.records if record.exchange in layout.secondaries]
    records = kept or [(PRIMARY_BASE + index, name) for index, name in enumerate(layout.secondaries)]
    return _checked(records, ttl_seconds if ttl_seconds is not None else found.ttl_seconds, layout, Side.SECONDARY)


def plan_failback(found: MxSet, previous: MxSet | None, layout: MxLayout, ttl_seconds: int | None = None) -> MxSet:
    """Exactly the set that was there before the failover; the strategy's peace layout where none is known or it no longer fits.

    Raises Refused where `found` is not an outage layout.
    """
    _demand(mx_layout_fault(found, layout, Side.SECONDARY))
    if previous is not None and mx_layout_fault(previous, layout, Side.PRIMARY) is None:
        ttl = ttl_seconds if ttl_seconds is not None else previous.ttl_seconds
        return MxSet(previous.records, ttl if ttl is not None else found.ttl_seconds)
    return plan_peace(found, layout, ttl_seconds)


def plan_peace(found: MxSet, layout: MxLayout, ttl_seconds: int | None = None) -> MxSet:
    """The peace layout that failsafe writes itself (`adopt-mx`): primaries at 10, 11, …; for `swap` secondaries at 20, 21, …"""
    _demand(configuration_fault(layout))
    records = [(PRIMARY_BASE + index, name) for index, name in enumerate(layout.primaries)]
    if layout.strategy is Strategy.SWAP:
        records += [(SECONDARY_BASE + index, name) for index, name in enumerate(layout.secondaries)]
    return _checked(records, ttl_seconds if ttl_seconds is not None else found.ttl_seconds, layout, Side.PRIMARY)


def steps(before: MxSet, after: MxSet) -> tuple[Step, ...]:
    """The change record by record, ordered so that no prefix of it empties the set: changes, then additions, then removals.

    A record that leaves and one that comes are paired into a change in place (same exchange first), so at least one record exists from
    beginning to end even where a provider shows each record's change at a time of its own.
    """
    assert before, "an empty set has no plan"
    assert after, "an empty set is never planned"
    gone = [record for record in before.records if record not in after.records]
    come = [record for record in after.records if record not in before.records]
    paired: list[tuple[Mx | None, Mx | None]] = []
    for old in list(gone):
        new = next((record for record in come if record.exchange == old.exchange), None)
        if new is not None:
            paired.append((old, new))
            gone.remove(old)
            come.remove(new)
    paired += zip_longest(gone, come)
    ranked = sorted(paired, key=lambda pair: (pair[1] is None, pair[0] is None))
    return tuple(Step(old, new) for old, new in ranked)


def apply_step(found: MxSet, step: Step) -> MxSet:
    """The set after one step; used by the adapters' tests and the property test."""
    kept = [record for record in found.records if record != step.before]
    return MxSet(tuple(sorted({*kept, *([step.after] if step.after is not None else [])})), found.ttl_seconds)


def describe(found: MxSet) -> str:
    """`10 mail.example.org, 20 backup.example.net` for a person."""
    return ", ".join(f"{record.preference} {record.exchange or '.'}" for record in found.records) or "no MX record"


def _swapped(found: MxSet, layout: MxLayout) -> list[tuple[int, str]]:
    shift = max(OUTAGE_SHIFT, _worst(found, layout.secondaries) - _best(found, layout.primaries) + 1)
    return [
        (record.preference + (shift if record.exchange in layout.primaries else 0), record.exchange) for record in found.records
    ]


def _added(found: MxSet, layout: MxLayout) -> list[tuple[int, str]]:
    count, best = len(layout.secondaries), _best(found, layout.primaries)
    shift = 0 if best >= count else ROOM
    base = min((best + shift) // 2, best + shift - count)
    kept = [(record.preference + shift, record.exchange) for record in found.records]
    return [*kept, *((base + index, name) for index, name in enumerate(layout.secondaries))]


def _checked(records: list[tuple[int, str]], ttl_seconds: int | None, layout: MxLayout, side: Side) -> MxSet:
    if any(not 0 <= preference <= HIGHEST for preference, _ in records):
        raise Refused(
            f"there is no room for the change below preference {HIGHEST}",
            mend="give the MX records small preferences such as 10 and 20; `failsafe adopt-mx DOMAIN` plans that",
        )
    planned = MxSet.of(*records, ttl_seconds=ttl_seconds)
    fault = mx_layout_fault(planned, layout, side)
    assert fault is None, f"a plan must be a layout of its own strategy: {fault}"
    return planned


def _demand(fault: str | None) -> None:
    if fault is not None:
        raise Refused(
            f"the MX records do not fit the strategy: {fault}",
            mend="`failsafe adopt-mx DOMAIN --dry-run` shows the layout that the strategy needs; or change the strategy",
        )


def _expected_names(layout: MxLayout, side: Side) -> frozenset[str]:
    if layout.strategy is Strategy.SWAP or (layout.strategy is Strategy.ON_DEMAND and side is Side.SECONDARY):
        return frozenset((*layout.primaries, *layout.secondaries))
    return frozenset(layout.primaries if side is Side.PRIMARY else layout.secondaries)


def _best(found: MxSet, names: tuple[str, ...]) -> int:
    """The best preference among `names`; one worse than any where none is listed (an absent side is behind)."""
    return min((record.preference for record in found.records if record.exchange in names), default=HIGHEST + 1)


def _worst(found: MxSet, names: tuple[str, ...]) -> int:
    return max((record.preference for record in found.records if record.exchange in names), default=-1)
