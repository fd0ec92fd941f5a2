"""One life of the daemon on a machine: what shift.py and watch.py do, on virtual time and one thread.

Every call that leaves the core passes a named point (ports.py), at which the process can be killed or stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from failsafe.daemon.shift import RENEW_ALONE, RENEW_SHARED, RETRY_LEASE
from failsafe.daemon.watch import DECIDE_WITHOUT_LOOK, HURRY
from failsafe.domains import Domains
from failsafe.errors import FailsafeError, LeaseLost, Refused, StoreError
from failsafe.failover.delivery import CANARY
from failsafe.failover.facts import DomainFacts, Policy, PrimaryProof
from failsafe.failover.health import discount
from failsafe.failover.rounds import quiet_until
from failsafe.model import Axis, Evidence, OwnLine, ProbeClass
from failsafe.store.lease import Lease
from tests.simulate.dormancy import Dormancy
from tests.simulate.looks import SERVER, TARGET, Looks, axis_of
from tests.simulate.machine import KilledError, Machine, Sighting
from tests.simulate.memory import MemoryHistory
from tests.simulate.ports import Ports
from tests.simulate.scenario import DOMAIN, HERE


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the simulator knew when a decision began."""

    at: datetime
    sightings: dict[str, Sighting]
    delivery: dict[str, Sighting]
    line: tuple[datetime, bool] | None


class SimulatedDomains(Domains):
    """The real thing; the policy comes from the scenario, the primary's proof from the world, the journal through named points."""

    def __init__(self, process: Process, policy: Policy) -> None:
        self._process, self._policy = process, policy
        super().__init__(process.app, None, process.clock.now(), watching=True)  # type: ignore[arg-type]
        self.journal = process.ports.journal(None, self._heard)  # type: ignore[assignment]

    def take(self, lease: Lease | None) -> None:
        self.lease = lease
        self.journal = self._process.ports.journal(lease, self._heard)  # type: ignore[assignment]

    def policy(self, domain: str) -> Policy:  # noqa: ARG002 - as overridden
        return self._policy

    def gather(self, domain: str, now: datetime, *, fresh_zone: bool = False) -> DomainFacts:
        facts = super().gather(domain, now, fresh_zone=fresh_zone)
        alive_at = self._process.world.outside_mail_at(self._process.machine)
        return facts if alive_at is None else replace(facts, proof_of_life_at=alive_at + self._process.machine.offset)

    def prove(self, domain: str, now: datetime) -> PrimaryProof:  # noqa: ARG002 - as overridden
        return self._process.world.prove_primary(self._process.machine, now)

    def _heard(self, event: Any) -> None:
        self._process.world.note(f"{self._process.machine.name}: {event.name}: {event.text}")


class Process(Dormancy):
    """One life of the daemon."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.world = machine, machine.world
        self.alive, self.busy = True, False
        self.ports = Ports(self)
        self.clock = self.ports.clock
        self.history = MemoryHistory(machine.book)
        scenario = self.world.scenario
        self.app = SimpleNamespace(
            history=self.history,
            duties=self.ports.duties,
            clock=self.clock,
            store=None,
            config=SimpleNamespace(
                controller=SimpleNamespace(id=machine.name),
                domain={DOMAIN: SimpleNamespace(server=SERVER)},
                mail_server={SERVER: None},
                probe={SERVER: None},
                canary={SERVER: SimpleNamespace(every=scenario.canary_every)} if CANARY in scenario.lookers else {},
                vantage={name: SimpleNamespace(kind="ssh", server=None) for name in scenario.vantages if name != HERE},
            ),
            domain=lambda _: SimpleNamespace(server=SERVER),
            zone=lambda _: self.ports.zone,
            authorities=lambda _: self.ports.authorities,
        )
        self.domains = SimulatedDomains(self, scenario.policy)
        self.started_at = self.world.engine.now
        lookers = (*scenario.vantages, *scenario.lookers)
        self.looks = {looker: Looks(machine.name, looker, scenario.every(looker)) for looker in lookers}
        self.decided_at = self.world.engine.now
        self.snapshot: Snapshot | None = None
        self.token = 0
        self._shared = len(scenario.machines) > 1
        super().__init__()

    # -- the life of a process -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.keep_lease()
        self.reschedule()
        if self.world.store.unfinished(DOMAIN) is not None:
            self.world.engine.at(self.world.engine.now, self._decide_event, self.token)

    def reschedule(self) -> None:
        """All that is due, from now on; earlier appointments are void."""
        self.token += 1
        for looker in self.looks:
            self.schedule(looker)
        self.schedule_decision(DECIDE_WITHOUT_LOOK)

    def keep_lease(self) -> None:
        """shift._keep_lease: renewed every minute where others could take it."""
        if not self.alive:
            return
        frozen = self.machine.frozen_until
        if frozen is not None and self.world.engine.now < frozen:
            self.world.engine.at(frozen, self.keep_lease)
            return
        try:
            before, lease = self.domains.lease, self.ports.leases.acquire(self.machine.name, self.clock.now())
        except StoreError:
            before = lease = self.domains.lease
        if lease != before:
            self.world.note(f"{self.machine.name}: {'leads' if lease is not None else 'follows'}")
            self.wake()
            self.domains.take(lease)
        every = RENEW_SHARED if self._shared else RENEW_ALONE
        self.world.engine.after(every if lease is not None else RETRY_LEASE, self.keep_lease)

    # -- looking ---------------------------------------------------------------------------------------------------------

    def schedule(self, vantage: str) -> None:
        engine, now = self.world.engine, self.clock.now()
        looks = self.looks[vantage]
        due = looks.at(looks.first_after(now))
        quiet = quiet_until(self.history.newest(SERVER, vantage, axis_of(vantage)), due)
        at = max(due, quiet or due) - self.machine.offset
        if self.machine.frozen and self.machine.frozen_until is not None:
            at = max(at, self.machine.frozen_until)
        engine.at(at, self._look_event, vantage, self.token)

    def _look_event(self, vantage: str, token: int) -> None:
        if not self.alive or token != self.token:
            return
        if self.machine.frozen and self.machine.frozen_until is not None:
            self.world.engine.at(self.machine.frozen_until, self._look_event, vantage, token)
        else:
            self.look(vantage)

    def look(self, vantage: str) -> None:
        """watch._look and _note: our own line before and after, the evidence in between."""
        line = self.line_now(self.clock.now())
        try:
            if vantage in self.world.scenario.lookers:
                self._record_delivery(vantage, self.machine.canaries.see(vantage, self.world.engine.now), line)
            else:
                self._record(vantage, self.world.sight(vantage, self.machine), line)
        except StoreError:
            self.schedule(vantage)
            return
        self.schedule(vantage)
        self.decide()

    def line_now(self, now: datetime) -> OwnLine:
        return OwnLine(now, 0 if self.world.on("line", self.machine.name) else 3, 3)

    def _record(self, vantage: str, seen: ProbeClass | None, line: OwnLine) -> None:
        self.machine.line = (self.world.engine.now, line.up)
        self.history.record_line(line)
        if seen is None:
            return
        evidence = Evidence(SERVER, vantage, Axis.INBOUND, seen, line.at, str(seen), TARGET)
        if vantage == HERE:
            evidence = discount(evidence, line, line)
        self.machine.note_sight(vantage, self.world.truly(seen, vantage, self.machine))
        self.history.record(evidence, self.world.scenario.interval)

    def _record_delivery(self, looker: str, seen: ProbeClass, line: OwnLine) -> None:
        self.machine.line = (self.world.engine.now, line.up)
        self.history.record_line(line)
        evidence = discount(Evidence(SERVER, looker, Axis.DELIVERY, seen, line.at, str(seen), TARGET), line, line)
        self.machine.note_delivery(looker, evidence.seen)
        self.history.record(evidence, self.world.scenario.every(looker))

    def flip_is_due(self) -> bool:
        """As far as the simulator knows what was seen."""
        policy, now = self.world.scenario.policy, self.world.engine.now
        known = self.machine.sightings.values()
        away = [one for one in known if one.failing_since is not None and now - one.failing_since >= policy.down_for]
        lost = [one for one in self.machine.delivery.values() if one.failing_since is not None]
        away += [one for one in lost if one.failing_since is not None and now - one.failing_since >= policy.down_for]
        home = [one for one in known if one.ok_since is not None and now - one.ok_since >= policy.up_for]
        return len(away) >= policy.quorum or len(home) == len(self.machine.sightings)

    # -- deciding --------------------------------------------------------------------------------------------------------

    def schedule_decision(self, span: timedelta) -> None:
        at, frozen = self.world.engine.now + span, self.machine.frozen_until
        self.world.engine.at(at if frozen is None else max(at, frozen), self._decide_event, self.token, self.decided_at)

    def _decide_event(self, token: int, after: datetime | None = None) -> None:
        """Without a look: only if nothing was decided since it was arranged."""
        if self.alive and token == self.token and (after is None or after == self.decided_at):
            self.decide()

    def decide(self) -> None:
        """watch._begin_decisions and _collect_decisions."""
        if self.busy:
            return
        self.busy, self.decided_at = True, self.world.engine.now
        machine = self.machine
        self.snapshot = Snapshot(self.world.engine.now, dict(machine.sightings), dict(machine.delivery), machine.line)
        round_ = None
        try:
            round_ = self.domains.decide_and_act(DOMAIN, self.clock.now())
        except KilledError:
            return
        except LeaseLost:
            self.world.note(f"{self.machine.name}: does not lead")
            self.domains.take(None)
            self.world.engine.after(RETRY_LEASE, self.keep_lease)  # the shift asks again soon, once it does not lead
        except (StoreError, Refused) as error:
            self.world.note(f"{self.machine.name}: {type(error).__name__}: {str(error).splitlines()[0]}")
        except FailsafeError as error:
            self.world.watchman.fail("crash", f"decide raised {type(error).__name__}: {error}")
        finally:
            self.busy = False
        self.decided_at = self.world.engine.now
        self.world.watchman.decided(self)
        if not self.alive:
            return
        going_on = round_ is not None and round_.ending is not None and (round_.ending.unfinished or round_.ending.done)
        if going_on or round_ is None or not self.world.skips or not self.go_dormant(round_):
            self.schedule_decision(HURRY if going_on else DECIDE_WITHOUT_LOOK)
