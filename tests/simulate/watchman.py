"""The invariants. They are judged by what the simulator itself knows, never by what the core believes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from failsafe.failover.guards import START_GRACE
from failsafe.failover.zone import describe, mx_layout_fault, serving
from failsafe.model import DomainRecord, DomainState, FlipKind, Intent, MxChange, MxSet, Outcome, Side, Strategy
from tests.simulate.liveness import Liveness
from tests.simulate.lost import Behind
from tests.simulate.ports import DOCTOR_BEGAN, DOCTOR_EVERY
from tests.simulate.scenario import DOMAIN, Letter

if TYPE_CHECKING:
    from tests.simulate.machine import Machine, Sighting
    from tests.simulate.process import Process
    from tests.simulate.world import World

DECISION_LASTS = timedelta(minutes=3)  # from the facts to the write: two settlings of 20 s, slow calls
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PLANS_AN_HOUR = 12  # after a refusal the next waits for 1, 2, 4, … 30 minutes; two incidents may meet
WRITES_OF_A_PLAN = 2
SLACK = timedelta(seconds=1)


class ViolationError(Exception):
    """An invariant does not hold. `kind` names it."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class Watchman:
    """Looks at every write, every change of what is visible, and every decision."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.flips: list[tuple[datetime, FlipKind]] = []
        self.false_flips = 0
        self._writes: dict[int, int] = {}
        self._plans: list[datetime] = []
        self.liveness = Liveness(world, self.fail)
        self.behind = Behind(world, self.fail)

    def fail(self, kind: str, text: str) -> None:
        self._world.note(f"VIOLATION {kind}: {text}")
        raise ViolationError(kind, f"{self._world.engine.now:%d %H:%M:%S}: {text}")

    # -- the zone --------------------------------------------------------------------------------------------------------

    def committed(self, found: MxSet) -> None:
        if not found:
            self.fail("empty", "the zone has no MX record")
        known = [self._world.scenario.peace, *self._world.known_sets()]
        if not self._world.zone.foreign and not any(found.same_records(one) for one in known):
            self.fail("unknown-set", f"the journal does not know {describe(found)}")

    def shown(self, name: str, found: MxSet) -> None:
        if not found:
            self.fail("empty", f"{name} shows no MX record")

    # -- a write ---------------------------------------------------------------------------------------------------------

    def began(self, intent: Intent) -> None:
        self._writes[intent.id] = 0
        now = self._world.engine.now
        self._plans = [at for at in self._plans if now - at < HOUR] + [now]
        if len(self._plans) > PLANS_AN_HOUR:
            self.fail("hammered", f"{len(self._plans)} plans within an hour")

    def applying(self, process: Process, change: MxChange) -> None:
        """Before the provider hears of it."""
        world, store = self._world, self._world.store
        record, intent = store.records.get(DOMAIN), store.unfinished(DOMAIN)
        if record is None or intent is None or not intent.desired.same_records(change.desired):
            self.fail("not-journalled", f"a write of {describe(change.desired)} that is no unfinished plan of the journal")
            return
        lease = store.lease
        if lease is None or lease.holder != process.machine.name or process.domains.lease != lease:
            self.fail("second-writer", f"{process.machine.name} writes, {lease} leads")
        self._writes[intent.id] = self._writes.get(intent.id, 0) + 1
        if self._writes[intent.id] > WRITES_OF_A_PLAN:
            self.fail("repeated", f"plan {intent.id} is written for the {self._writes[intent.id]}th time")
        now = world.engine.now + process.machine.offset
        if record.held_until is not None and now < record.held_until:
            self.fail("held", f"a write while held until {record.held_until:%d %H:%M}")
        side = Side.SECONDARY if intent.kind is FlipKind.FAILOVER else Side.PRIMARY
        fault = mx_layout_fault(change.desired, world.scenario.policy.layout, side)
        if fault:
            self.fail("layout", fault)
        self._judge_evidence(process, intent, record, change)
        self._judge_rate()

    def _judge_evidence(self, process: Process, intent: Intent, record: DomainRecord, change: MxChange) -> None:
        now = self._world.engine.now
        assert process.snapshot is not None
        at, sightings, line = process.snapshot.at, process.snapshot.sightings, process.snapshot.line
        if now - at > DECISION_LASTS:
            self.fail("stale-decision", f"a write {now - at} after what it was decided from")
        interval = self._world.scenario.interval
        if line is None or not line[1] or at - line[0] > 3 * interval + SLACK:
            self.fail("blind", f"a write while our own line is {'unknown' if line is None or line[1] else 'down'}")
        fresh = {name: one for name, one in sightings.items() if at - one.last <= 3 * interval + SLACK}
        if intent.kind is FlipKind.FAILOVER:
            self._judge_failover(process, at, fresh, record)
            if self._world.primary in ("well", "greylisting", "queueing"):
                self.false_flips += 1
            if self._writes[intent.id] == 1 and self._plans[-1] >= at:  # not one that is gone on with
                self._judge_fence(process, change, at, fresh)
        elif intent.kind is FlipKind.FAILBACK:
            self._judge_failback(at, fresh, resumed=self._plans[-1] < at)
            self.behind.judge_failback(process)

    def _judge_failover(self, process: Process, at: datetime, fresh: dict[str, Sighting], record: DomainRecord) -> None:
        policy, machine = self._world.scenario.policy, process.machine
        since = {name: one.failing_since for name, one in fresh.items() if one.failing_since is not None}
        long = [name for name, begun in since.items() if at - begun >= policy.down_for - SLACK]
        long = max(long, self.seen_lying(fresh, at, -SLACK), key=len)
        said = ", ".join(
            f"{name} {one.kind} since {one.failing_since:%H:%M:%S}" if one.failing_since else f"{name} {one.kind}"
            for name, one in fresh.items()
        )
        seen_up = any(one.kind == "ok" for one in fresh.values())
        by_delivery = seen_up or len(long) < policy.quorum
        if by_delivery:
            lost = self.behind.why_not_lost(process, at)
            if lost and seen_up:
                self.fail("seen-up", f"a failover while a vantage gets through ({said}), and mail is not lost: {lost}")
            if lost:
                self.fail(
                    "no-quorum",
                    f"a failover with {len(long)} of {policy.quorum} vantages for {policy.down_for} ({said}), and mail is not lost: {lost}",
                )
            since = self.behind.lost_since(process)
            long = list(since)
        if at - process.started_at < policy.probe_every * START_GRACE and all(since[name] >= process.started_at for name in long):
            self.fail("start-grace", f"a failover {at - process.started_at} after the start")
        alive_at = self._world.outside_mail_at(machine)
        began = min(since.values())
        if alive_at is not None and began < alive_at < at and at - alive_at < policy.down_for / 2 - SLACK:
            self.fail("proof-of-life", f"a failover {at - alive_at} after a stranger's mail reached the primary")
        if self.unready(machine, record):
            self.fail("not-ready", "a failover to a secondary that the doctor had found unready")

    def seen_lying(self, fresh: dict[str, Sighting], at: datetime, slack: timedelta) -> list[str]:
        """Who has been told 5xx for a fifth of `down_for` (two looks at least) and `slack`; nobody where they are less than the quorum."""
        policy = self._world.scenario.policy
        wait = max(policy.down_for / 5, 2 * policy.probe_every) + slack
        found = [name for name, one in fresh.items() if one.lying_since is not None and at - one.lying_since >= wait]
        return found if len(found) >= policy.quorum else []

    def _judge_fence(self, process: Process, change: MxChange, at: datetime, fresh: dict[str, Sighting]) -> None:
        """A liar is taken out where that is configured; nobody else ever is."""
        policy, since = self._world.scenario.policy, process.started_at
        if policy.layout.strategy is Strategy.REPLACE:
            return
        unlisted = not change.desired.exchanges & set(policy.layout.primaries)
        lying = policy.unlist_lying and self.seen_lying(fresh, at, -SLACK)
        surely = policy.unlist_lying and self.seen_lying(
            {name: one for name, one in fresh.items() if since < (one.lying_since or since)}, at, timedelta(0)
        )
        if (unlisted and not lying) or (surely and not unlisted):
            self.fail(
                "unlisted",
                f"the primary is {'taken out' if unlisted else 'left in'} ({', '.join(f'{name} {one.kind}' for name, one in fresh.items())})",
            )

    def unready(self, machine: Machine, record: DomainRecord) -> bool:
        """Whether the last hourly run before the incident that was not blind found the secondary unready."""
        if record.suspected_at is None:
            return False
        true = record.suspected_at - machine.offset
        number = (true - DOCTOR_BEGAN - timedelta(microseconds=1)) // DOCTOR_EVERY
        for back in range(50):
            rows = self._world.doctor_run(machine, number - back).findings
            if not any(row["code"] == "own-line" for row in rows):
                return bool(rows)
        return False

    def _judge_failback(self, at: datetime, fresh: dict[str, Sighting], *, resumed: bool) -> None:
        """A plan that is gone on with (within its deadline) was judged when it was begun; then being well is enough."""
        policy, world = self._world.scenario.policy, self._world
        said = ", ".join(
            f"{name} {one.kind} since {one.ok_since:%H:%M:%S}" if one.ok_since else f"{name} {one.kind}"
            for name, one in fresh.items()
        )
        if any(one.kind == "failing" for one in fresh.values()):
            self.fail("seen-down", f"a failback while a vantage does not get through ({said})")
        up_for = self.recovery_time(-self.clock_slack())
        # evidence of before the clock was set, and of after, may each be off by what the clock was wrong
        enough = timedelta(0) if resumed else up_for - 2 * self.clock_slack()
        if not any(one.kind == "ok" and one.ok_since is not None and at - one.ok_since >= enough for one in fresh.values()):
            self.fail("not-recovered", f"a failback before {up_for} of health ({said})")
        bad_since = [one.at for one in world.active.get(("store", ""), [])]
        if bad_since and at - max(bad_since) > timedelta(minutes=32):
            self.fail("rebuilt", "a failback to a primary with an empty store")
        if not policy.auto_failback:
            self.fail("by-hand", "a failback that a person reserved")

    def recovery_time(self, slack: timedelta) -> timedelta:
        """Twice as long for each failover of the last day (and `slack`) beyond the first."""
        now, policy = self._world.engine.now, self._world.scenario.policy
        flaps = sum(kind is FlipKind.FAILOVER and now - at < DAY + slack for at, kind in self.flips) - 1
        return max(policy.up_for, min(policy.up_for * 2 ** max(flaps, 0), 12 * HOUR))

    def clock_slack(self) -> timedelta:
        return SLACK + max(machine.worst_offset for machine in self._world.machines.values())

    def _judge_rate(self) -> None:
        """By true time, but for what the machines' clocks have ever been wrong: the journal's times are theirs."""
        now, policy = self._world.engine.now, self._world.scenario.policy
        slack = self.clock_slack()
        if sum(now - at < DAY - slack for at, _ in self.flips) >= policy.flips_per_day:
            self.fail("budget", f"a flip beyond {policy.flips_per_day} a day")
        if self.flips and now - self.flips[-1][0] < policy.min_dwell - slack:
            self.fail("dwell", f"a flip {now - self.flips[-1][0]} after the last one")

    def changed(self, process: Process) -> None:
        """After every change of the journal."""
        if process.domains.lease != self._world.store.lease:
            self.fail("second-writer", f"{process.machine.name} changes the journal, {self._world.store.lease} leads")

    def finished(self, process: Process, intent: Intent, outcome: Outcome, at: datetime) -> None:
        """`at`: when it was seen to be over, which is what counts; the journal may have heard of it later."""
        if outcome is not Outcome.DONE:
            return
        if intent.kind is FlipKind.FAILOVER:
            self.liveness.left(process)
        self.flips.append((at, intent.kind))
        wrong = [name for name, found in self._world.zone.visible.items() if not self._says(name, found, intent)]
        if wrong:
            self.fail("unverified", f"called done while {', '.join(wrong)} still say something else")

    def _says(self, name: str, found: MxSet, intent: Intent) -> bool:
        return self._world.zone.silent(name) or found.same_records(intent.desired)

    # -- each decision ---------------------------------------------------------------------------------------------------

    def decided(self, process: Process) -> None:
        store = self._world.store
        record = store.records.get(DOMAIN)
        if record is not None:
            running = record.state in (DomainState.FAILING_OVER, DomainState.FAILING_BACK)
            if running != (store.unfinished(DOMAIN) is not None):
                self.fail("journal", f"the state is {record.state}, the unfinished plan {store.unfinished(DOMAIN)}")
        self.liveness.judge(process)
        self.behind.judge(process)

    def disturbed(self) -> None:
        self.liveness.disturbed()
        self.behind.disturbed()

    # -- mail and the end ------------------------------------------------------------------------------------------------

    def swallowed(self) -> None:
        """By the primary, not by us; but not for ever."""
        self.behind.judge_swallowed()

    def letter(self, letter: Letter, how: str) -> None:
        if how.startswith("lost"):
            self.fail("lost", f"letter {letter.number} of {letter.sender} ended as {how}")

    def ended(self) -> None:
        """After hours of peace everything is as it was, or there is a reason why not."""
        world = self._world
        record, intent = world.store.records.get(DOMAIN), world.store.unfinished(DOMAIN)
        if intent is not None:
            self.fail("unfinished", f"plan {intent.id} was never ended")
        side = serving(world.zone.held, world.scenario.policy.layout)
        expected = record.serving if record is not None else Side.PRIMARY
        if side is not expected:
            self.fail("end", f"the journal says {expected}, the zone says {describe(world.zone.held)}")
        if record is None or record.state is DomainState.NORMAL:
            if not world.zone.held.same_records(world.scenario.peace):
                self.fail("end", f"normal, and the zone holds {describe(world.zone.held)}")
            return
        reasons = self.liveness.why_not_home(record)
        if not reasons:
            self.fail("end", f"the run ends {record.state}: {record.reason}")
        world.note(f"ends {record.state}: {', '.join(reasons)}")
