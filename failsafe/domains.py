"""Gathers the facts of a domain into one frozen value, and lets decisions be carried out. Used by the daemon and by the verbs alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from failsafe.app import App
from failsafe.config.vantages import HERE, near, stack_of, vantages_of
from failsafe.errors import DnsError
from failsafe.failover.bans import ADDRESS, let_in
from failsafe.failover.canary import CANARY_LOOKS
from failsafe.failover.decide import Decision, Order, decide, may_arrive, still_wanted
from failsafe.failover.delivery import CANARY, INSIDE, INSIDE_ROUNDS, is_undelivered, judge_witness
from failsafe.failover.delivery import witnesses as witnesses_of
from failsafe.failover.facts import DomainFacts, Policy, PrimaryProof, View, ZoneReading
from failsafe.failover.gather import read_zone
from failsafe.failover.health import EvidenceRun, JudgePolicy, VantageView, judge_all
from failsafe.failover.readiness import judge_readiness
from failsafe.failover.runner import Ending, FlipRunner
from failsafe.failover.weigh import Standing, weigh
from failsafe.failover.zone import MxLayout
from failsafe.model import Axis, DomainState, Evidence, Finding, Severity, Side
from failsafe.store.duties import DoctorRun
from failsafe.store.history import FLUSH_EVERY
from failsafe.store.journal import Journal
from failsafe.store.lease import Lease

ZONE_REREAD = timedelta(minutes=10)  # in peace the zone is looked at this often, for drift; in an incident at every decision
ZONE_NAME_LASTS = timedelta(hours=1)
PRIMARY_RECHECK = timedelta(minutes=2)  # a returned primary that failed its proof is looked at again after this long
DOCTOR_RUNS_TRIED = 50  # two days of hourly runs
STORE_GUARDS = ("mass-loss", "tampered", "store-rebuilt", "mailbox-vanished")  # of a backup, about the mail itself
_LEAVING = (DomainState.SUSPECT, DomainState.FAILING_OVER)  # then a proof of life counts
STORE_LOST = ("store-rebuilt",)  # of them: there is nothing to come home to
DEFAULT_INTERVAL = timedelta(minutes=1)
DECISION_LASTS = timedelta(minutes=2)  # from reading the facts to acting on them; gathering them takes a minute at worst


@dataclass(frozen=True, slots=True)
class Round:
    """One decision about one domain: what was known, what was decided, what came of it."""

    facts: DomainFacts
    decision: Decision
    ending: Ending | None = None


class Domains:
    """All domains of one controller. `lease` None: reading only. `watching`: this process probes (else stored evidence may be unflushed)."""

    def __init__(self, app: App, lease: Lease | None, started_at: datetime, *, watching: bool = False) -> None:
        self.app = app
        self.lease = lease
        self.started_at = started_at
        self._watching = watching
        self.targets: dict[tuple[str, str, Axis], str] = {}  # what is looked at now, where this process looks
        self._zones: dict[str, tuple[datetime, int, ZoneReading]] = {}  # when, and at which epoch of the record
        self._zone_names: dict[str, tuple[float, str]] = {}  # when (monotonic seconds), and the name
        self._proofs: dict[str, PrimaryProof] = {}
        self.journal = Journal(app.store, lease, heard=self._heard)

    def take(self, lease: Lease | None) -> None:
        """From now on this controller leads with `lease`, or (None) only reads."""
        self.lease = lease
        self.journal = Journal(self.app.store, lease, heard=self._heard)

    def _heard(self, event: Any) -> None:
        from failsafe.logs import get_log

        get_log().info(event.name, subject=event.subject, text=event.text)

    # -- facts -----------------------------------------------------------------------------------------------------------

    def policy(self, domain: str) -> Policy:
        """What a person configured, as the core reads it. Raises UsageError for a domain that is not configured."""
        table = self.app.domain(domain)
        probe = self.app.config.probe.get(table.server)
        return Policy(
            domain=domain,
            zone=table.zone or self._zone_name(domain),
            server=table.server,
            layout=MxLayout(table.strategy, table.primary, table.secondary),
            mode=table.mode,
            vantages=self.vantages(table.server),
            quorum=table.quorum,
            down_for=table.down_for,
            up_for=table.up_for,
            verify_for=table.verify_for,
            min_dwell=table.min_dwell,
            probe_every=probe.every if probe is not None else DEFAULT_INTERVAL,
            flips_per_day=table.flips_per_day,
            ttl_seconds=None if table.ttl is None else int(table.ttl.total_seconds()),
            auto_failback=table.failback == "auto",
            unlist_lying=table.when_lying == "replace",
            writable=table.dns is not None,
            ssh=self.app.server(table.server).ssh is not None,
            standing=self.standing(table.server, table.quorum),
            unban=let_in(stack_of(self.app.server(table.server)), ADDRESS),
        )

    def _zone_name(self, domain: str) -> str:
        """By its SOA; the domain itself while nobody can be asked (then the provider's answer says what is wrong).

        Asked again every hour: what a resolver said while it was ill, or the domain was, must not hold for the life of this process.
        """
        from failsafe.adapters.resolver import find_zone

        known, clock = self._zone_names.get(domain), self.app.clock.monotonic()
        if known is not None and clock - known[0] < ZONE_NAME_LASTS.total_seconds():
            return known[1]
        try:
            self._zone_names[domain] = (clock, find_zone(domain))
        except DnsError:
            return domain if known is None else known[1]
        return self._zone_names[domain][1]

    def vantages(self, server: str) -> int:
        """How many places look at this server: this one, where a probe is configured, and each [vantage.NAME] that looks at it."""
        return len(vantages_of(self.app.config, server))

    def standing(self, server: str, quorum: int) -> Standing:
        """Which of them sit in the server's own network, and which only see that something answers."""
        config = self.app.config
        shallow = frozenset(name for name, table in config.vantage.items() if table.is_shallow)
        return Standing(near(config, self.app.server(server), config.controller.network), shallow, quorum)

    def views(self, domain: str, now: datetime) -> tuple[VantageView, ...]:
        """Every vantage's view of every axis of the domain's server."""
        policy = self.policy(domain)
        return self._judged(self.evidence(policy.server), policy, now)

    def _judged(self, runs: Iterable[EvidenceRun], policy: Policy, now: datetime) -> tuple[VantageView, ...]:
        slack = timedelta(0) if self._watching else FLUSH_EVERY
        return weigh(judge_all(runs, now, JudgePolicy(policy.probe_every, policy.down_for, slack)), policy.standing)

    def evidence(self, server: str) -> tuple[EvidenceRun, ...]:
        """What was seen of a server. Evidence of another target, recipient or vantage than the configured ones says nothing."""
        runs = self.app.history.runs(server)
        known = {HERE, *vantages_of(self.app.config, server)}
        return tuple(run for run in runs if self._is_of_today(run.evidence, known))

    def _delivery(self, known: Iterable[EvidenceRun], policy: Policy, now: datetime) -> tuple[View, ...]:
        """The views of delivery that may count as lost; each vantage has its own pace."""
        canary = self.app.config.canary.get(policy.server)
        intervals = {
            INSIDE: policy.probe_every * INSIDE_ROUNDS,
            CANARY: canary.every / CANARY_LOOKS if canary is not None else None,
        }
        slack = timedelta(0) if self._watching else FLUSH_EVERY
        runs = [run for run in known if run.evidence.axis is Axis.DELIVERY]
        views = (
            judge_witness(
                [run for run in runs if run.evidence.vantage == name], now, JudgePolicy(interval, policy.down_for, slack)
            )
            for name, interval in intervals.items()
            if interval is not None
        )
        return witnesses_of(view for view in views if view is not None)

    def _is_of_today(self, evidence: Evidence, vantages: set[str]) -> bool:
        if evidence.axis is Axis.INBOUND and evidence.vantage not in vantages:  # it has left the configuration
            return False
        return evidence.target == self.targets.get((evidence.server, evidence.vantage, evidence.axis), evidence.target)

    def gather(self, domain: str, now: datetime, *, fresh_zone: bool = False) -> DomainFacts:
        """Reads the world once for one decision. Raises only what the store raises."""
        policy = self.policy(domain)
        record = self.journal.load(domain, now)
        runs = self.evidence(policy.server)
        views = self._judged((run for run in runs if run.evidence.axis is Axis.INBOUND), policy, now)
        unfinished = self.journal.unfinished(domain)
        calm = record.state is DomainState.NORMAL and unfinished is None and not may_arrive(record, now)
        delivery = self._delivery(runs, policy, now) if record.serving is Side.PRIMARY else ()
        trouble = any(view.verdict in ("down", "lying") for view in (*views, *delivery))
        zone = self._zone(policy, now, record.epoch, fresh=fresh_zone or not calm or trouble)
        return DomainFacts(
            policy=policy,
            record=record,
            views=views,
            own_line=self.app.history.last_line(),
            zone=zone,
            readiness=judge_readiness(domain, *self._doctor(domain, record.suspected_at), record.suspected_at, now),
            leader=self.lease is not None,
            started_at=self.started_at,
            unfinished=unfinished,
            flips=self.journal.flips(domain, now - max(timedelta(days=1), policy.min_dwell)),
            primary=self._proof(domain, now),
            proof_of_life_at=self._alive_at(policy.server) if record.state in _LEAVING else None,
            store_suspect=self._store_guards(policy.server, STORE_GUARDS) if record.serving is Side.SECONDARY else "",
            store_lost=self._store_guards(policy.server, STORE_LOST) if record.serving is Side.SECONDARY else "",
            delivery=delivery,
            undelivered=record.serving is Side.SECONDARY and is_undelivered(runs),
        )

    def _store_guards(self, server: str, codes: tuple[str, ...]) -> str:
        """What the last pull did not believe of the mail store; it stands until a person accepts it. Going home to an empty store loses mail."""
        row = self.app.duties.all().get(f"guards:{server}")
        guards = row.details.get("guards", []) if row is not None else []
        return "; ".join(f"{guard['code']}: {guard['text']}" for guard in guards if guard["code"] in codes)

    def _alive_at(self, server: str) -> datetime | None:
        """The newest message that was found to have come in from outside, whoever looked (proof_of_life.py)."""
        row = self.app.duties.all().get(f"proof-of-life:{server}")
        return None if row is None or "at" not in row.details else datetime.fromisoformat(row.details["at"])

    def note_alive(self, server: str, at: datetime, now: datetime) -> None:
        """Keeps it, also across a restart. Raises StoreError."""
        known = self._alive_at(server)
        if known is None or known < at or known > now + timedelta(days=1):  # the clock was wrong then
            self.app.duties.ended(f"proof-of-life:{server}", now, ok=True, details={"at": at.isoformat()})

    def _zone(self, policy: Policy, now: datetime, epoch: int, *, fresh: bool) -> ZoneReading:
        domain = policy.domain
        read_at, read_epoch, reading = self._zones.get(domain, (None, None, None))
        if (
            reading is not None
            and read_at is not None
            and read_epoch == epoch  # a flip, by us or by a person, makes every earlier reading old
            and not fresh
            and timedelta(0) <= now - read_at < ZONE_REREAD
            and not reading.unreadable
        ):
            return reading
        try:
            reading = read_zone(self.app.zone(domain), self.app.authorities(domain), policy)
        except DnsError as error:
            reading = ZoneReading(None, (), provider_error=str(error))
        self._zones[domain] = (now, epoch, reading)
        return reading

    def _doctor(self, domain: str, suspected_at: datetime | None) -> tuple[datetime | None, list[Finding]]:
        newest = run = self.app.duties.last_doctor_run(before=suspected_at)
        for _ in range(
            DOCTOR_RUNS_TRIED
        ):  # one that looked through a dead line of ours saw nothing, and must not stand in the way
            if run is None or not _was_blind(run):
                break
            run = self.app.duties.last_doctor_run(before=run.at)
        run = run if run is not None else newest
        if run is None:
            return None, []
        findings = [_finding(row) for row in run.findings]
        return run.at, [finding for finding in findings if self._concerns(finding, domain)]

    def _concerns(self, finding: Finding, domain: str) -> bool:
        others = (set(self.app.config.domain) - {domain}) | (set(self.app.config.mail_server) - {self.app.domain(domain).server})
        return finding.subject not in others

    # -- decisions -------------------------------------------------------------------------------------------------------

    def runner(self, domain: str) -> FlipRunner:
        return FlipRunner(self.app.zone(domain), self.app.authorities(domain), self.journal, self.app.clock)

    def decide(self, domain: str, now: datetime) -> Round:
        """What would happen by itself now; nothing is done."""
        facts = self.gather(domain, now)
        return Round(facts, decide(facts, now))

    def decide_and_act(self, domain: str, now: datetime) -> Round:
        """One decision, carried out. Raises Refused, LeaseLost, StoreError."""
        act_by = self.app.clock.monotonic() + DECISION_LASTS.total_seconds()
        round_ = self.decide(domain, now)
        if self.lease is None:  # another one acts, and what it does is in the journal
            return round_
        if Order.CHECK_PRIMARY in round_.decision.orders and self._may_recheck(domain, now):
            self._proofs[domain] = self.prove(domain, now)
            facts = replace(round_.facts, primary=self._proofs[domain])
            round_ = Round(facts, decide(facts, now))
        if round_.facts.record.state not in (DomainState.RECOVERING, DomainState.FAILING_BACK):
            self._proofs.pop(domain, None)  # the next recovery looks anew
        if self.app.clock.monotonic() > act_by:  # stopped meanwhile (SIGSTOP, suspend), or a long proof: the facts are old
            return round_
        wanted = still_wanted(round_.facts, now)
        ending = self.runner(domain).act(round_.facts, round_.decision, by=self.app.config.controller.id, wanted=wanted)
        return replace(round_, ending=ending)

    def prove(self, domain: str, now: datetime) -> PrimaryProof:
        """Whether the returned primary is ours and fit; may take a while."""
        from failsafe.primary import prove_primary

        return prove_primary(self.app, domain, now)

    def carry_out(self, facts: DomainFacts, decision: Decision, reason: str) -> Ending:
        """What a person ordered, until it has ended. Raises Refused, LeaseLost, StoreError."""
        from failsafe.failover.by_hand import run_by_hand

        domain = facts.policy.domain
        fresh = partial(self._fresh, domain, facts)
        return run_by_hand(self.runner(domain), self.journal, self.app.clock, fresh, facts, decision, reason)

    def _fresh(self, domain: str, known: DomainFacts) -> DomainFacts:
        return replace(self.gather(domain, self.app.clock.now(), fresh_zone=True), primary=known.primary)

    def _proof(self, domain: str, now: datetime) -> PrimaryProof | None:
        """What was last seen of the returned primary; not what a clock saw that was set back since: how old that is nobody knows."""
        proof = self._proofs.get(domain)
        return None if proof is None or proof.at > now else proof

    def _may_recheck(self, domain: str, now: datetime) -> bool:
        proof = self._proof(domain, now)
        return proof is None or now - proof.at >= min(PRIMARY_RECHECK, self.policy(domain).up_for)

    def by_server(self, server: str) -> tuple[str, ...]:
        return tuple(sorted(name for name, table in self.app.config.domain.items() if table.server == server))


def _was_blind(run: DoctorRun) -> bool:
    return any(row["code"] == "own-line" and row["severity"] == Severity.WARN for row in run.findings)


def _finding(row: dict[str, Any]) -> Finding:
    return Finding(
        row["code"], Severity(row["severity"]), row["subject"], row["text"], row.get("mend", ""), bool(row.get("blocks_failover"))
    )
