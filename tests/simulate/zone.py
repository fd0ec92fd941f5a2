"""A DNS provider that fails in every way, and name servers that follow it when they like."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from failsafe.errors import DnsError, OutcomeUnknown, ZoneChanged
from failsafe.failover.zone import apply_step, describe, steps
from failsafe.model import MxChange, MxSet, ServerAnswer
from tests.simulate.engine import chance

if TYPE_CHECKING:
    from tests.simulate.world import World

CALL = timedelta(seconds=0.4)  # a call of the provider's interface
SLOW = timedelta(seconds=25)
GIVES_UP = timedelta(seconds=10)  # the adapter's deadline


class Zone:
    """One RRset at its provider, and what each name server says of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        scenario = world.scenario
        self.held = scenario.peace
        self.visible = dict.fromkeys(scenario.nameservers, scenario.peace)
        self._version = 0
        self.foreign = False  # somebody else wrote last

    # -- the provider ----------------------------------------------------------------------------------------------------

    def read(self) -> MxSet:
        how = self._world.how("provider")
        if how in ("garbage", "revoked", "unreadable", "limited"):
            raise DnsError(f"the provider could not be read ({how})")
        return self.held

    def commit(self, change: MxChange, *, blind: bool = False) -> None:
        """The provider makes the change. `blind`: it does not compare itself (the adapter did, a moment ago)."""
        if not blind and not self.held.same_records(change.expected):
            raise ZoneChanged(f"the zone holds {describe(self.held)}, not {describe(change.expected)}")
        ttl = change.desired.ttl_seconds if change.desired.ttl_seconds is not None else self.held.ttl_seconds
        self.put(MxSet(change.desired.records, ttl))

    def put(self, found: MxSet, *, foreign: bool = False) -> None:
        """The provider holds this from now on; the name servers follow."""
        self._world.wake()
        before, self.held, self.foreign = self.held, found, foreign
        self._version += 1
        self._world.note(f"zone: {describe(found)}{' (foreign)' if foreign else ''}")
        self._world.watchman.committed(found)
        for name in self.visible:
            self._follow(name, before, found)

    def _follow(self, name: str, before: MxSet, found: MxSet) -> None:
        scenario, engine, version = self._world.scenario, self._world.engine, self._version
        late = scenario.spread * chance(scenario.seed, "spread", name, version)
        if scenario.whole or not before or not found:
            engine.after(late, self._show, name, found, version)
            return
        partly = before  # each record's change becomes visible at a time of its own
        for number, step in enumerate(steps(before, found)):
            partly = apply_step(partly, step)
            engine.after(late + timedelta(seconds=0.5 * number), self._show, name, partly, version)
        engine.after(late + timedelta(seconds=0.5 * 8), self._show, name, found, version)

    def _show(self, name: str, found: MxSet, version: int) -> None:
        if version != self._version:
            return
        if self._world.on("ns-stale", name):
            return  # it catches up when the fault ends
        self._world.wake()
        self.visible[name] = found
        self._world.watchman.shown(name, found)

    def catch_up(self, name: str) -> None:
        self.visible[name] = self.held
        self._world.watchman.shown(name, self.held)

    # -- the name servers ------------------------------------------------------------------------------------------------

    def silent(self, name: str) -> bool:
        scenario = self._world.scenario
        on_primary = scenario.own_nameserver and name == scenario.nameservers[0]
        return self._world.on("ns-silent", name) or (on_primary and self._world.primary == "dead")

    def answers(self) -> tuple[ServerAnswer, ...]:
        return tuple(
            ServerAnswer(name, None, "no answer within 3 s") if self.silent(name) else ServerAnswer(name, found)
            for name, found in self.visible.items()
        )

    def ask(self, number: int) -> MxSet | None:
        """What a resolver hears from one of those that answer."""
        heard = [found for name, found in self.visible.items() if not self.silent(name)]
        return heard[number % len(heard)] if heard else None

    @property
    def settled(self) -> bool:
        """Everyone says what the provider holds."""
        return all(found.same_records(self.held) for found in self.visible.values())


def late(zone: Zone, change: MxChange) -> None:
    """A request that was on its way arrives."""
    with suppress(ZoneChanged):
        zone.commit(change)


def lost(text: str) -> OutcomeUnknown:
    return OutcomeUnknown(f"no answer from the provider ({text})")
