"""A failover rehearsed at a shadow name of the zone, through ports: real writes, real read-backs, measured; live MX is only read.

Theory. `failsafe-drill.DOMAIN` is given the records that the domain has. Then the same code that flips the domain flips the shadow: decide,
plan, intent, write, read back from the provider and every authoritative server; and back. Only the journal is one in memory: what a
killed drill leaves is not remembered, it is looked for at the shadow name by the next one, and cleared before that begins.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from failsafe.errors import DnsError, OutcomeUnknown, Refused, SecretError
from failsafe.failover.by_hand import run_by_hand
from failsafe.failover.decide import decide_by_hand
from failsafe.failover.drill_report import FailoverDrill, Leg, describe_difference
from failsafe.failover.facts import DomainFacts, Policy, Readiness, ZoneReading
from failsafe.failover.gather import read_zone
from failsafe.failover.memory_journal import MemoryJournal, MemoryStore
from failsafe.failover.runner import FIRST_POLL, LONGEST_POLL, FlipRunner
from failsafe.failover.scratch import DRILL, is_scratch, scratch_name
from failsafe.failover.ways_out import told_guards
from failsafe.failover.zone import describe
from failsafe.model import DomainRecord, DomainState, FlipKind, MxChange, MxSet, ServerAnswer, Side, ZonePromises
from failsafe.ports import Authorities, Clock, DnsZone, Narrator

CLEARED_AGAIN = 3  # times the shadow name is cleared, where answers get lost


def refuse_drill(facts: DomainFacts, now: datetime) -> tuple[str, ...]:
    """Raises Refused where the domain is not at peace, or the plan itself could not be made; else gives what a person should know."""
    domain, state = facts.policy.domain, facts.record.state
    decision = decide_by_hand(facts, FlipKind.FAILOVER, now, force=True)
    if decision.refusing:
        guards = told_guards(decision.refusing, domain)
        raise Refused(f"a failover of {domain} would be refused, so there is nothing to rehearse", guards)
    if state is not DomainState.NORMAL:
        raise Refused(f"{domain} is {state}: a drill waits for peace", mend="try again when `failsafe status` says normal")
    held_up = [guard for guard in decision.guards if guard.code == "secondary-not-ready"]
    return tuple(f"a failover by hand would need --force: {guard.text}" for guard in held_up)


def run_drill(
    zone: DnsZone, authorities: Authorities, clock: Clock, facts: DomainFacts, narrate: Narrator, notes: tuple[str, ...] = ()
) -> FailoverDrill:
    """Rehearses one domain there and back, and clears up whatever happens. `notes` are of `refuse_drill`, which was asked before.

    What fails outside is in the report; Refused where the shadow name holds what no drill wrote.
    """
    started_at, began = clock.now(), clock.monotonic()
    before = read_zone(zone, authorities, facts.policy)
    drill = _Drill(_ScratchZone(zone, clock), _TimedAuthorities(authorities, clock), clock, facts, narrate)
    try:
        drill.prepare()
        setup = clock.monotonic() - began
        drill.rehearse()
    except (DnsError, SecretError) as error:
        setup = clock.monotonic() - began
        drill.trouble, drill.mend = str(error), error.mend
    finally:
        cleaning = clock.monotonic()
        drill.clear_up()
    cleaned = clock.monotonic() - cleaning
    after = read_zone(zone, authorities, facts.policy)
    difference = describe_difference(before, after)
    if difference:
        drill.findings.append(f"the live MX records changed while the drill ran, not by it: {difference}")
    return FailoverDrill(
        facts.policy.domain, drill.shadow, facts.policy.layout.strategy, started_at, clock.now(), before, after,
        drill.legs.get(FlipKind.FAILOVER), drill.legs.get(FlipKind.FAILBACK), setup, cleaned, drill.cleared,
        tuple(drill.findings), tuple(dict.fromkeys((*notes, *drill.notes))), drill.trouble, drill.mend,
    )  # fmt: skip


@dataclass(slots=True)
class _ScratchZone:
    """The provider, for scratch names alone; notes when the last write was answered."""

    inner: DnsZone
    clock: Clock
    answered: float = 0.0

    @property
    def promises(self) -> ZonePromises:
        return self.inner.promises

    def read(self, zone: str, domain: str) -> MxSet:
        return self.inner.read(zone, domain)

    def preview(self, change: MxChange) -> tuple[str, ...]:
        return self.inner.preview(change)

    def apply(self, change: MxChange) -> None:
        assert is_scratch(change.domain), f"a drill never writes {change.domain}"
        try:
            self.inner.apply(change)
        finally:
            self.answered = self.clock.monotonic()

    def clear(self, zone: str, name: str) -> None:
        assert is_scratch(name), f"a drill never clears {name}"
        self.inner.clear(zone, name)


@dataclass(slots=True)
class _TimedAuthorities:
    """Notes when each server gave what."""

    inner: Authorities
    clock: Clock
    heard: list[tuple[float, ServerAnswer]] = field(default_factory=list)

    def mx(self, domain: str) -> tuple[ServerAnswer, ...]:
        answers = self.inner.mx(domain)
        at = self.clock.monotonic()
        self.heard += [(at, answer) for answer in answers]
        return answers

    def first_giving(self, wanted: MxSet, since: float) -> tuple[tuple[str, float], ...]:
        found: dict[str, float] = {}
        for at, answer in self.heard:
            if at >= since and answer.mx is not None and answer.mx.same_records(wanted):
                found.setdefault(answer.nameserver, at - since)
        return tuple(sorted(found.items()))


class _Drill:
    def __init__(
        self, zone: _ScratchZone, authorities: _TimedAuthorities, clock: Clock, live: DomainFacts, narrate: Narrator
    ) -> None:
        self._zone, self._authorities, self._clock, self._live, self._narrate = zone, authorities, clock, live, narrate
        self.shadow = scratch_name(DRILL, live.policy.domain)
        self._policy: Policy = replace(live.policy, domain=self.shadow)
        self._journal = MemoryJournal(
            MemoryStore({self.shadow: DomainRecord(self.shadow, DomainState.NORMAL, clock.now(), Side.PRIMARY)})
        )
        self._empty: ZoneReading | None = None  # what the name shows while it has no records (a wildcard's, or nothing)
        self._written = False
        self.legs: dict[FlipKind, Leg] = {}
        self.findings: list[str] = []
        self.notes: list[str] = []
        self.cleared: MxSet | None = None
        self.trouble = self.mend = ""

    # -- before and after ------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """The shadow name holds what the domain holds, at every server that answers. Raises DnsError, SecretError, Refused."""
        layout, zone, seed = self._policy.layout, self._policy.zone, self._live.zone.agreed
        assert seed, "refuse_drill was asked"
        left = self._zone.read(zone, self.shadow)
        foreign = left.exchanges - {*layout.primaries, *layout.secondaries}
        if foreign:
            raise Refused(
                f"{self.shadow} shows MX records that no drill wrote: {describe(left)}",
                mend=f"remove the MX records of {self.shadow}, or of a wildcard that shows there, at the DNS provider",
            )
        if left:
            self._narrate(f"clearing what is at {self.shadow}")
        self._clear()  # also where nothing is seen: a lost answer of a killed drill may have arrived since
        self._empty = self._read()
        if left and self._empty.provider != left:
            self.cleared = left
            self.notes.append(f"an earlier drill had left {describe(left)} at {self.shadow}; it was cleared")
        self._narrate(f"writing the shadow of the live records to {self.shadow}")
        self._written = True
        with suppress(OutcomeUnknown):  # what became of it is read below
            self._zone.apply(MxChange(self.shadow, zone, MxSet(()), seed, "failsafe drill"))
        if not self._settle(lambda reading: reading.agreed is not None and reading.agreed.same_records(seed)):
            reading = self._read()
            said = reading.unreadable or reading.disagreement or f"it holds {describe(reading.agreed or MxSet(()))}"
            raise DnsError(
                f"the shadow {self.shadow} did not appear at every server within {self._policy.verify_for}: {said}",
                mend="look at the zone's transfers to its other servers; a real failover would halt there",
            )

    def clear_up(self) -> None:
        """Nothing is left at the shadow name, and everyone says so. What cannot be cleared is a finding; the next drill tries again."""
        if not self._written:
            return
        self._narrate(f"clearing {self.shadow}")
        try:
            self._clear()
            if self._settle(self._is_empty):
                return
            reading = self._read()
            said = reading.disagreement or reading.unreadable or describe(reading.agreed or MxSet(()))
            self.findings.append(f"{self.shadow} is cleared, but still shown: {said}")
        except (DnsError, SecretError) as error:
            self.findings.append(f"{self.shadow} could not be cleared, the next drill tries again: {error}")

    def _clear(self) -> None:
        for attempt in range(CLEARED_AGAIN):
            try:
                self._zone.clear(self._policy.zone, self.shadow)
            except OutcomeUnknown:
                if attempt + 1 == CLEARED_AGAIN:
                    raise
            else:
                return

    def _is_empty(self, reading: ZoneReading) -> bool:
        assert self._empty is not None
        shown = {answer.nameserver: answer.mx for answer in self._empty.answers}
        return reading.provider == self._empty.provider and all(
            answer.mx is None or not answer.mx or answer.mx == shown.get(answer.nameserver) for answer in reading.answers
        )

    # -- the rehearsal ---------------------------------------------------------------------------------------------------

    def rehearse(self) -> None:
        for kind in (FlipKind.FAILOVER, FlipKind.FAILBACK):
            self._narrate(f"rehearsing the {kind}")
            leg = self._leg(kind)
            if leg is None:
                return
            self.legs[kind] = leg
            self.notes += [f"{name} did not answer" for name in leg.silent]

    def _leg(self, kind: FlipKind) -> Leg | None:
        began = self._clock.monotonic()
        facts = self._facts()
        decision = decide_by_hand(facts, kind, self._clock.now(), force=True)
        if decision.plan is None or decision.refusing:
            stands = "; ".join(f"{guard.code}: {guard.text}" for guard in decision.refusing)
            self.findings.append(f"the {kind} of the shadow could not be planned: {stands}")
            return None
        planned = self._clock.monotonic()
        runner = FlipRunner(self._zone, self._authorities, self._journal, self._clock)
        ending = run_by_hand(runner, self._journal, self._clock, self._facts, facts, decision, "drill")
        if not ending.done:
            self.findings.append(f"the {kind} of the shadow was not verified: {ending.text}")
            return None
        desired, answered = decision.plan.change.desired, self._zone.answered
        return Leg(
            planned - began,
            answered - planned,
            self._clock.monotonic() - answered,
            self._authorities.first_giving(desired, answered),
            self._read().silent,
            desired,
        )

    def _facts(self) -> DomainFacts:
        """The live domain's, but for what is the shadow's own."""
        return replace(
            self._live,
            policy=self._policy,
            record=self._journal.load(self.shadow, self._clock.now()),
            zone=self._read(),
            readiness=Readiness(),
            unfinished=self._journal.unfinished(self.shadow),
            flips=(),
            primary=None,
            store_suspect="",
            store_lost="",
        )

    def _read(self) -> ZoneReading:
        return read_zone(self._zone, self._authorities, self._policy)

    def _settle(self, wanted: Callable[[ZoneReading], bool]) -> bool:
        """Looks until it is as wanted, or `verify_for` is over."""
        until, wait = self._clock.monotonic() + self._policy.verify_for.total_seconds(), FIRST_POLL
        while not wanted(self._read()):
            if self._clock.monotonic() >= until:
                return False
            self._clock.sleep(wait)
            wait = min(wait * 1.5, LONGEST_POLL)
        return True
