"""The person who is called: holds, says what is true of a halted domain, and sometimes meddles with the zone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from failsafe.errors import FailsafeError
from failsafe.failover.halt import RESTORE_REQUIRED
from failsafe.failover.operator import run_acknowledge, run_hold
from failsafe.failover.zone import mx_layout_fault, serving
from failsafe.model import DomainState, MxSet, Side
from failsafe.ports import FlipJournal
from tests.simulate.scenario import DOMAIN, FOREIGN

if TYPE_CHECKING:
    from tests.simulate.world import World

LOOKS_EVERY = timedelta(minutes=45)


class Person:
    """Uses the same verbs as anybody: the journal with the leader's lease."""

    def __init__(self, world: World) -> None:
        self._world = world

    def _journal(self) -> FlipJournal:
        self._world.wake()
        return self._world.keeper.journal(self._world.store.lease, lambda event: self._world.note(f"person: {event.name}"))

    def _now(self) -> datetime:
        """On the clock of the machine that leads."""
        lease = self._world.store.lease
        machine = self._world.machines.get(lease.holder if lease is not None else "")
        return self._world.engine.now + (machine.offset if machine is not None else timedelta(0))

    def hold(self, until: datetime) -> None:
        span = until - self._world.engine.now
        journal, now = self._journal(), self._now()
        try:
            run_hold(journal, journal.load(DOMAIN, now), now + span, "an upgrade", now)
        except FailsafeError as error:
            self._world.note(f"person: hold: {error}")

    def look(self) -> None:
        """From time to time: is it halted? Then the zone is put in order and the journal told."""
        world = self._world
        world.engine.after(LOOKS_EVERY, self.look)
        record = world.store.records.get(DOMAIN)
        if record is None or record.state is not DomainState.HALTED or world.on("foreign") or world.how("provider"):
            return
        if record.reason.startswith(RESTORE_REQUIRED) and world.store_suspect:
            return  # it takes until the fault is over to restore it
        if not self._fits(world.zone.held):
            world.zone.put(world.scenario.peace)
        if not world.zone.settled:
            return
        side = serving(world.zone.held, world.scenario.policy.layout) or Side.PRIMARY
        now = self._now()
        try:
            run_acknowledge(self._journal(), record, side, world.zone.held, world.scenario.policy.layout, now)
        except FailsafeError as error:
            world.note(f"person: acknowledge: {error}")

    def meddle(self, how: str) -> None:
        """Somebody changes the records at the provider by hand."""
        held = self._world.zone.held
        foreign = MxSet.of(
            (1, FOREIGN),
            *(((record.preference, record.exchange) for record in held.records) if how == "added" else ()),
            ttl_seconds=60,
        )
        self._world.zone.put(foreign, foreign=True)

    def put_back(self) -> None:
        """Their change is taken back: what the journal says is served, or peace."""
        world = self._world
        record = world.store.records.get(DOMAIN)
        back = record.written if record is not None and record.serving is Side.SECONDARY and record.written is not None else None
        if not self._fits(world.zone.held):
            world.zone.put(back or world.scenario.peace)

    def _fits(self, found: MxSet) -> bool:
        layout = self._world.scenario.policy.layout
        return any(mx_layout_fault(found, layout, side) is None for side in Side)
