"""Liveness: a dead primary with a ready secondary is left in time, and a healthy one is returned to.

Everything that excuses a delay is listed; whenever one of these stands, the clock begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from failsafe.failover.facts import fitting
from failsafe.failover.rounds import JITTER
from failsafe.failover.zone import serving
from failsafe.model import DomainRecord, DomainState, Side
from tests.simulate.engine import START
from tests.simulate.scenario import DOMAIN, HERE

if TYPE_CHECKING:
    from tests.simulate.machine import Machine
    from tests.simulate.process import Process
    from tests.simulate.world import World

PROVIDER_TIME = timedelta(seconds=60)  # a slow call, the slowest name server, the last look of the runner
RECHECK = timedelta(minutes=3)  # between two proofs of the primary, and the hurry after a plan


class Liveness:
    """`judge` after every decision of the controller that leads."""

    def __init__(self, world: World, fail: Callable[[str, str], None]) -> None:
        self._world = world
        self._fail = fail
        self._leave_from: datetime | None = None
        self._return_from: datetime | None = None
        self.left_after: list[timedelta] = []  # from the quorum's evidence to the verified failover, undisturbed ones

    def disturbed(self) -> None:
        self._leave_from = self._return_from = None

    def judge(self, process: Process) -> None:
        if process.domains.lease is None:
            return
        record = self._world.store.records.get(DOMAIN) or DomainRecord(DOMAIN, DomainState.NORMAL, START, Side.PRIMARY)
        self._leave_from = self._since(self._leave_from, self._why_not_away(process.machine, record))
        self._return_from = self._since(self._return_from, self._why_not_home(process.machine, record))
        self._judge_leaving(process)
        self._judge_returning()

    def _since(self, since: datetime | None, reasons: Iterator[str]) -> datetime | None:
        if next(reasons, ""):
            return None
        return since if since is not None else self._world.engine.now

    def _judge_leaving(self, process: Process) -> None:
        world, policy, since = self._world, self._world.scenario.policy, self._due_since(process)
        more = policy.probe_every * (1 + 2 * JITTER) + PROVIDER_TIME
        if since is not None and world.engine.now - since > policy.down_for + more:
            self._fail("not-left", f"the primary is dead for {world.engine.now - since}, and mail still goes there")
        lies = self._lies_since(process)
        if lies is not None and world.engine.now - lies > max(policy.down_for / 5, 2 * policy.probe_every) + more:
            self._fail("not-left", f"the primary refuses mail for good for {world.engine.now - lies}, and mail still goes there")

    def _lies_since(self, process: Process) -> datetime | None:
        """Since when the quorum has been told 5xx and nothing else stood in the way."""
        quorum = self._world.scenario.policy.quorum
        lies = sorted(one.lying_since for one in process.machine.sightings.values() if one.lying_since is not None)
        return None if self._leave_from is None or len(lies) < quorum else max(self._leave_from, lies[quorum - 1])

    def left(self, process: Process) -> None:
        """A failover was verified: how long after its time had come?"""
        since = self._due_since(process)
        if since is not None:
            self.left_after.append(self._world.engine.now - since - self._world.scenario.policy.down_for)

    def _due_since(self, process: Process) -> datetime | None:
        """Since when the quorum has said down and nothing else stood in the way."""
        quorum = self._world.scenario.policy.quorum
        failing = sorted(
            one.failing_since
            for one in process.machine.sightings.values()
            if one.kind == "failing" and one.failing_since is not None
        )
        if self._leave_from is None or len(failing) < quorum:
            return None
        return max(self._leave_from, failing[quorum - 1])

    def _judge_returning(self) -> None:
        policy, now = self._world.scenario.policy, self._world.engine.now
        up_for = self._world.watchman.recovery_time(timedelta(hours=2))  # more than any clock is wrong
        limit = up_for * 2 + policy.probe_every * 3 * (1 + JITTER) + PROVIDER_TIME + RECHECK
        if self._return_from is not None and now - self._return_from > limit:
            self._fail("not-returned", f"the primary is well for {now - self._return_from}, and mail still goes elsewhere")

    def why_not_home(self, record: DomainRecord) -> list[str]:
        """What excuses that mail does not go to the primary."""
        return list(self._why_not_home(next(iter(self._world.machines.values())), record))

    def _why_not_away(self, machine: Machine, record: DomainRecord) -> Iterator[str]:
        """What excuses that mail still goes to the primary; the cheapest first."""
        world, scenario = self._world, self._world.scenario
        if world.primary not in ("dead", "silent", "lying"):
            yield "the primary is not dead"
        if len(scenario.vantages) < scenario.policy.quorum:
            yield "too few vantages"
        if serving(world.zone.held, scenario.policy.layout) is not Side.PRIMARY:
            yield "mail goes to the secondary"
        seeing = [name for name in scenario.vantages if world.sight(name, machine) in ("down", "lying")]
        if len(seeing) < scenario.policy.quorum:
            yield "too few vantages see it"
        yield from self.standing(machine, record)
        if world.watchman.unready(machine, record):
            yield "the secondary is not ready"

    def _why_not_home(self, machine: Machine, record: DomainRecord) -> Iterator[str]:
        world, scenario = self._world, self._world.scenario
        if record.state not in (DomainState.FAILED_OVER, DomainState.RECOVERING, DomainState.FAILING_BACK):
            yield "mail goes to the primary"
        if world.primary != "well":
            yield "the primary is not well"
        if world.store_suspect:
            yield "the primary's store is not ours"
        if not scenario.policy.auto_failback:
            yield "failback is by hand"
        if any(one.lost_since is not None for one in world.machines.values()):
            yield "no canary has arrived at the primary since one was lost there"
        if any(world.on("route", name) for name in scenario.vantages) or world.on("banned", HERE):
            yield "a vantage does not get through"
        refused = any(fault.kind == "banned" and fault.at <= world.engine.now for fault in scenario.faults)
        here = machine.sightings.get(HERE)
        if refused and (here is None or world.engine.now - here.last > 3 * scenario.interval):
            yield "our prober was refused, and keeps quiet for days"
        yield from self.standing(machine, record)

    def standing(self, machine: Machine, record: DomainRecord) -> Iterator[str]:
        """What stands against both ways."""
        world, policy = self._world, self._world.scenario.policy
        now = world.engine.now
        if record.state is DomainState.HALTED:
            yield "halted"
        yield from (kind for kind in ("line", "database", "clock") if world.on(kind, machine.name))
        yield from (kind for kind in ("provider", "foreign") if world.on(kind))
        yield from (name for name in world.scenario.nameservers if world.on("ns-stale", name))
        if all(world.zone.silent(name) for name in world.scenario.nameservers):
            yield "no name server answers"
        if not world.zone.settled:
            yield "name servers differ"
        if machine.process is None or machine.frozen or machine.armed:
            yield "the controller is not running"
        elif now - machine.process.started_at < policy.probe_every * 3:
            yield "the controller just started"
        if record.held_until is not None and now + machine.offset < record.held_until:
            yield "held"
        if record.retry_at is not None and now + machine.offset < record.retry_at:
            yield "waits after a refusal"
        flips = world.watchman.flips
        if (
            sum(now - at < timedelta(days=1) + policy.probe_every for at, _ in flips) >= policy.flips_per_day
        ):  # seen by the next look
            yield "the budget is spent"
        if flips and now - flips[-1][0] < policy.min_dwell + world.watchman.clock_slack():
            yield "the last flip is young"
        if not any(fitting(world.zone.held, policy, side) for side in Side):
            yield "the zone is not as it should be"
