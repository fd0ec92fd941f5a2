"""Invariants of lost delivery, judged by what the simulator itself saw of canaries and of the look from inside.

A failover without a quorum of vantages is right only where the quorum of these two has said lost for `down_for` and no canary arrives. A primary that
loses mail is left in time, and not gone home to before a canary has arrived there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from failsafe.failover.canary import LOST_AFTER
from failsafe.failover.delivery import CANARY, INSIDE
from failsafe.failover.rounds import JITTER
from failsafe.failover.zone import serving
from failsafe.model import DomainRecord, DomainState, Side
from tests.simulate.behind import LOSING
from tests.simulate.engine import START
from tests.simulate.liveness import PROVIDER_TIME
from tests.simulate.scenario import DOMAIN, HERE

if TYPE_CHECKING:
    from tests.simulate.machine import Machine
    from tests.simulate.process import Process
    from tests.simulate.world import World

SLACK = timedelta(seconds=1)


class Behind:
    """What lies behind the way in."""

    def __init__(self, world: World, fail: Callable[[str, str], None]) -> None:
        self._world, self._scenario, self._fail = world, world.scenario, fail
        self._losing_from: datetime | None = None  # since when nothing else stands in the way of leaving
        self.swallowed = 0  # messages of strangers

    # -- safety ----------------------------------------------------------------------------------------------------------

    def lost_since(self, process: Process) -> dict[str, datetime]:
        """Who says lost, and since when without a break, as of the decision."""
        assert process.snapshot is not None
        at, found = process.snapshot.at, {}
        for looker, one in process.snapshot.delivery.items():
            if one.failing_since is not None and at - one.last <= 3 * self._scenario.every(looker) + SLACK:
                found[looker] = one.failing_since
        return found

    def why_not_lost(self, process: Process, at: datetime) -> str:
        """Why mail may not be called lost; "" where it may."""
        assert process.snapshot is not None
        policy, since = self._scenario.policy, self.lost_since(process)
        long = [looker for looker, begun in since.items() if at - begun >= policy.down_for - SLACK]
        canary, inside = (process.snapshot.delivery.get(looker) for looker in (CANARY, INSIDE))
        if (
            canary is not None
            and canary.kind == "ok"
            and CANARY not in since
            and at - canary.last <= 3 * self._scenario.every(CANARY)
        ):
            return "canaries arrive"
        if inside is not None and inside.kind == "degraded":
            return "mail waits in the queue"
        if len(long) < policy.quorum:
            return f"{', '.join(long) or 'nobody'} said so for {policy.down_for}"
        if any(process.snapshot.delivery[looker].last < process.started_at for looker in long):
            return "nobody has looked since the start"
        missing = {each.number for each in process.machine.canaries.book.sent}  # also those that are not overdue yet
        if policy.quorum > 1 and not process.machine.canaries.swallowed & missing:
            return "the primary took none of those that are missing, or has them in its queue"
        return ""

    def judge_failback(self, process: Process) -> None:
        if process.machine.lost_behind_open_way:
            what = "still loses mail" if self._world.primary in LOSING else "lost mail"
            self._fail("undelivered", f"a failback to a primary that {what}, and no canary has arrived there")

    # -- liveness --------------------------------------------------------------------------------------------------------

    def disturbed(self) -> None:
        self._losing_from = None

    def judge(self, process: Process) -> None:
        """After every decision of the controller that leads."""
        if not self._scenario.lookers or process.domains.lease is None:
            return
        record = self._world.store.records.get(DOMAIN) or DomainRecord(DOMAIN, DomainState.NORMAL, START, Side.PRIMARY)
        if next(self._why_not_away(process.machine, record), ""):
            self._losing_from = None
            return
        self._losing_from = self._losing_from or self._world.engine.now
        if self._late:
            lasts = self._world.engine.now - self._losing_from
            self._fail("not-left", f"the primary loses mail for {lasts}, and mail still goes there")

    def judge_swallowed(self) -> None:
        self.swallowed += 1
        if self._losing_from is not None and self._late:
            self._fail(
                "swallowed",
                f"the primary loses mail for {self._world.engine.now - self._losing_from}, and swallows another message",
            )

    @property
    def _late(self) -> bool:
        """Beyond a canary's deadline, both lookers' intervals and what every failover may take."""
        scenario, policy = self._scenario, self._scenario.policy
        known = scenario.canary_every * (LOST_AFTER + 1) + sum(
            (scenario.every(one) * 2 * (1 + JITTER) for one in scenario.lookers), timedelta()
        )
        limit = known + policy.down_for + policy.probe_every * (1 + 2 * JITTER) + PROVIDER_TIME
        return self._losing_from is not None and self._world.engine.now - self._losing_from > limit

    def _why_not_away(self, machine: Machine, record: DomainRecord) -> Iterator[str]:
        """What excuses that mail still goes to a primary that loses it; the cheapest first."""
        world, scenario = self._world, self._scenario
        if world.primary not in LOSING:
            yield "no mail is lost"
        if serving(world.zone.held, scenario.policy.layout) is not Side.PRIMARY:
            yield "mail goes to the secondary"
        if len(scenario.lookers) < scenario.policy.quorum:
            yield "the canary is alone"
        if len(scenario.vantages) < scenario.policy.quorum:
            yield "too few vantages"
        if any(looker not in machine.delivery for looker in scenario.lookers) or not machine.has_arrived:
            yield "no canary has ever arrived"
        yield from (kind for kind in ("third-party", "inside", "store") if world.on(kind))
        if world.on("route", HERE):
            yield "the mailbox cannot be read"
        if machine.canaries.queued:
            yield "a canary waits in the primary's queue, where mail is safe"
        yield from world.watchman.liveness.standing(machine, record)
        if world.watchman.unready(machine, record):
            yield "the secondary is not ready"
