"""Watching: which probes are due, looking in a small pool of threads, and a decision for every domain after each look.

Looking and deciding are two things that may each take a while (a dead server's timeouts, a silent name server), so each has its own
future: at most one look of each probe and one decision a domain are under way, and none keeps another waiting. A probe of people's
access that hangs for its whole deadline must not make the evidence of inbound mail stale.

The wait before a failover rarely ends with a look. One more look begins so early that it ends when the wait does: the decision then is neither
late by an interval nor made from what was true a minute ago.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from failsafe.app import App
from failsafe.daemon.drifting import DriftWatch
from failsafe.daemon.public import tell_public
from failsafe.daemon.report import WatchReport, report_of
from failsafe.daemon.trouble import tell_trouble
from failsafe.domains import Domains, Round
from failsafe.errors import FailsafeError, LeaseLost
from failsafe.events import Event
from failsafe.failover.decide import Order
from failsafe.failover.evidence import against, due_at
from failsafe.failover.health import ACCEPTING, discount
from failsafe.failover.rounds import Probe, due_probes, next_run_at
from failsafe.logs import get_log
from failsafe.looks.every import looks_of
from failsafe.looks.look import Look
from failsafe.looks.past import probe_of
from failsafe.model import Axis, DomainState, Evidence, OwnLine
from failsafe.status.watched import WATCH_FLUSH

THREADS = 8  # a home has few mail servers; more of them take turns
DECIDE_WITHOUT_LOOK = timedelta(minutes=1)  # also a domain that nobody probes is looked after
PROOF_EVERY = timedelta(minutes=2)  # between two looks for mail on a server that seems down
HURRY = timedelta(seconds=1)  # between decisions while a plan is being carried out
BY_HAND = timedelta(seconds=10)  # between decisions while a person is to make the change: it is seen almost at once


@dataclass(slots=True)
class _Watched:
    """A look, and when it was made."""

    look: Look
    last_run_at: datetime | None = None
    took: timedelta = timedelta(0)  # the last one


@dataclass(frozen=True, slots=True)
class _Sight:
    evidence: Evidence
    interval: timedelta
    line: OwnLine | None  # of this machine; None where the look has a line of its own


@dataclass(slots=True)
class _Told:
    """What the database knows of a domain's watch."""

    report: WatchReport | None = None
    at: datetime | None = None


@dataclass(slots=True)
class Watch:
    """All looks and decisions of one configuration. Used by one thread, which calls `step` again and again."""

    app: App
    domains: Domains
    pool: ThreadPoolExecutor = field(init=False)
    _watched: list[_Watched] = field(init=False)
    _looks: dict[str, Future[_Sight]] = field(default_factory=dict)
    _decisions: dict[str, Future[Round]] = field(default_factory=dict)
    _decide_at: dict[str, datetime] = field(default_factory=dict)
    _decided_at: dict[str, datetime] = field(default_factory=dict)  # as of which moment the last decision was begun
    _told: dict[str, _Told] = field(default_factory=dict)
    _proofs: dict[str, Future[datetime | None]] = field(default_factory=dict)  # looks for mail on a server that seems down
    _proved_at: dict[str, datetime] = field(default_factory=dict)
    looked_at: dict[str, datetime] = field(default_factory=dict)
    _drift: DriftWatch = field(init=False)
    _due: dict[str, datetime] = field(default_factory=dict)  # when a domain's wait for a failover is over
    _last_looks: dict[str, datetime] = field(default_factory=dict)  # when the look begins that ends with the wait
    nudge: Callable[[], None] = lambda: None  # called in a thread when a look or a decision has ended

    def __post_init__(self) -> None:
        self._drift = DriftWatch(self.app)
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="watch")
        looks = [look for server in self.app.config.probe for look in looks_of(self.app, server)]
        self._watched = [_Watched(look) for look in looks]
        self.domains.targets = {(look.server, look.vantage, look.axis): look.target for look in looks}

    # -- one step --------------------------------------------------------------------------------------------------------

    def step(self, now: datetime, *, looks: bool = True) -> None:
        """Collects what has ended, begins what is due; returns at once. With `looks` False no new look is begun (a pass that ends)."""
        self._collect_looks(now)
        self._collect_decisions(now)
        self._collect_proofs(now)
        if looks:
            self._begin_looks(now)
        self._begin_decisions(now)

    def wake_at(self, now: datetime) -> datetime | None:
        """When `step` has something to do, if nothing ends before."""
        looks = [self._look_at(each, now) for each in self._watched if each.look.name not in self._looks]
        waiting = (name for name in self.app.config.domain if name not in self._decisions)
        decisions = [self._decide_at.get(name, now) for name in waiting if not self._last_look_is_under_way(name, now)]
        return min([*looks, *decisions, *self._last_looks.values()], default=None)

    def _look_at(self, watched: _Watched, now: datetime) -> datetime:
        probe = self._probe(watched)
        return probe.quiet_until(now) or next_run_at(probe, now)

    @property
    def busy(self) -> bool:
        return bool(self._looks or self._decisions)

    def finish(self, now: datetime, *, write: bool = True) -> None:
        """Waits for what is under way (each part has its own deadline), then writes what is only in memory."""
        self.pool.shutdown(wait=True, cancel_futures=True)
        self._collect_looks(now)
        self._collect_decisions(now)
        self._collect_proofs(now)
        if write:
            self.app.history.flush(now)
            self.app.vitals.flush(now)

    def forget_decision_times(self) -> None:
        """Every domain is decided at the next step."""
        self._decide_at.clear()

    # -- looking ---------------------------------------------------------------------------------------------------------

    def _probe(self, watched: _Watched) -> Probe:
        return probe_of(self.app, watched.look, watched.last_run_at, (each.look for each in self._watched))

    def _begin_looks(self, now: datetime) -> None:
        due = {probe.name for probe in due_probes((self._probe(each) for each in self._watched), now)}
        last = {domain for domain, at in self._last_looks.items() if at <= now}
        servers = {self.app.config.domain[domain].server for domain in last}
        for each in self._watched:
            look = each.look
            ends_a_wait = look.server in servers and look.axis is Axis.INBOUND and self._probe(each).quiet_until(now) is None
            if (look.name in due or ends_a_wait) and look.name not in self._looks:
                each.last_run_at = now
                self._looks[look.name] = self.pool.submit(_make, self.app, look)
                self._looks[look.name].add_done_callback(lambda _: self.nudge())
        for domain in last:  # where a look is under way anyway, it is that one
            del self._last_looks[domain]

    def _collect_looks(self, now: datetime) -> None:
        for name in [name for name, look in self._looks.items() if look.done()]:
            look = self._looks.pop(name)
            if look.cancelled():
                continue
            self._note_time(name, now)
            try:
                sight = look.result()
                self._note(sight)
            except Exception as error:  # noqa: BLE001 - one look must never stop the others
                get_log().error("watch.look", probe=name, error=str(error), kind=type(error).__name__)
                continue
            self.looked_at[sight.evidence.server] = now
            for domain in self.domains.by_server(sight.evidence.server):
                self._decide_at[domain] = now

    def _note_time(self, name: str, now: datetime) -> None:
        for each in self._watched:
            if each.look.name == name and each.last_run_at is not None:
                each.took = max(timedelta(0), now - each.last_run_at)

    def _note(self, sight: _Sight) -> None:
        history, evidence = self.app.history, sight.evidence
        known = history.last_line() is not None
        if sight.line is not None and history.record_line(sight.line) and known:
            said = "works again" if sight.line.up else "is down"
            text = f"our own line {said}: {sight.line.answered} of {sight.line.asked} references answer"
            self.app.record(Event("own-line.changed", self.app.config.controller.id, text, sight.line.at))
        first = not history.newest(evidence.server, evidence.vantage, evidence.axis)
        changed = history.record(evidence, sight.interval) and not history.following  # else the leader tells what it sees
        if changed:
            tell_trouble(self.app, evidence)
        if changed and not first:
            text = f"{evidence.vantage} sees {evidence.axis} {evidence.seen}: {evidence.text}"
            self.app.record(Event("probe.changed", evidence.server, text, evidence.at, {"target": evidence.target}))

    # -- deciding --------------------------------------------------------------------------------------------------------

    def _begin_decisions(self, now: datetime) -> None:
        for domain in self.app.config.domain:
            due = self._decide_at.get(domain)
            if domain not in self._decisions and (due is None or due <= now):
                if (due is None and self._first_look_is_coming(domain)) or self._last_look_is_under_way(domain, now):
                    continue
                self._decided_at[domain], self._decide_at[domain] = now, now + DECIDE_WITHOUT_LOOK
                self._decisions[domain] = self.pool.submit(self.domains.decide_and_act, domain, now)
                self._decisions[domain].add_done_callback(lambda _: self.nudge())

    def _last_look_is_under_way(self, domain: str, now: datetime) -> bool:
        """Whether the look that ends the wait has yet to end, for at most an interval: the primary may just have come back."""
        due = self._due.get(domain)
        looking = (each.look for each in self._inbound(domain) if each.look.name in self._looks)
        return due is not None and any(due <= now < due + look.interval for look in looking)

    def _inbound(self, domain: str) -> list[_Watched]:
        server = self.app.config.domain[domain].server
        return [each for each in self._watched if each.look.server == server and each.look.axis is Axis.INBOUND]

    def _await(self, domain: str, round_: Round, now: datetime) -> None:
        """Arranges for a look and a decision where the wait for a failover ends, and for a decision at its half."""
        self._due.pop(domain, None)
        self._last_looks.pop(domain, None)
        due = due_at(round_.facts)
        if round_.facts.record.state not in (DomainState.NORMAL, DomainState.SUSPECT) or due is None:
            return
        if due <= self._decided_at[domain]:
            return
        self._due[domain] = due
        warned = due - round_.facts.policy.down_for / 2  # that it is coming is told then
        moment = warned if warned > self._decided_at[domain] else due
        self._decide_at[domain] = min(self._decide_at.get(domain, moment), moment)
        for each in self._inbound(domain):
            begin = due - each.took
            if begin > now:
                self._last_looks[domain] = begin

    def _first_look_is_coming(self, domain: str) -> bool:
        """Whether to wait for it: what was seen before the start may be old. Not where no look may come for days, nor with a plan unfinished."""
        inbound = self._inbound(domain)
        if any(each.look.name in self._looks for each in inbound):
            return True
        if all(each.last_run_at is not None for each in inbound) or self.domains.journal.unfinished(domain) is not None:
            return False
        now = self.app.clock.now()
        return any(each.last_run_at is None and self._probe(each).quiet_until(now) is None for each in inbound)

    def _collect_decisions(self, now: datetime) -> None:
        for domain in [domain for domain, decision in self._decisions.items() if decision.done()]:
            decision = self._decisions.pop(domain)
            if decision.cancelled():
                continue
            try:
                round_ = decision.result()
            except LeaseLost as error:
                self.domains.take(None)
                get_log().warning("watch.lease", domain=domain, error=str(error))
                continue
            except FailsafeError as error:
                get_log().error("watch.decide", domain=domain, error=str(error))
                continue
            except Exception as error:  # noqa: BLE001 - one domain's fault must never stop the others
                get_log().error("watch.decide", domain=domain, error=str(error), kind=type(error).__name__, exc_info=error)
                continue
            self._await(domain, round_, now)
            if round_.ending is not None and (round_.ending.unfinished or round_.ending.done):
                self._decide_at[domain] = now + HURRY
            elif Order.TELL_PREPARED in round_.decision.orders and not round_.facts.policy.writable:
                self._decide_at[domain] = now + BY_HAND
            self._drift.look(round_, now)
            self._seek_proof(round_, now)
            if round_.ending is not None and round_.ending.done:
                self.pool.submit(tell_public, self.app, round_.ending)
            self._tell(domain, round_, now)

    def _seek_proof(self, round_: Round, now: datetime) -> None:
        """While the primary seems down: does it receive mail from outside all the same? A look of its own, since a dead server keeps it waiting."""
        facts, server = round_.facts, round_.facts.policy.server
        begun = [view.since_at for view in against(facts) if view.since_at is not None]
        looked = self._proved_at.get(server)
        recent = looked is not None and timedelta(0) <= now - looked < PROOF_EVERY
        if facts.record.state is not DomainState.SUSPECT or not facts.leader or not begun or recent or server in self._proofs:
            return
        from failsafe.proof_of_life import can_look, newest_proof

        if can_look(self.app, server):
            self._proved_at[server] = now
            self._proofs[server] = self.pool.submit(newest_proof, self.app, server, min(begun))

    def _collect_proofs(self, now: datetime) -> None:
        for server in [server for server, proof in self._proofs.items() if proof.done()]:
            proof = self._proofs.pop(server)
            if proof.cancelled():
                continue
            try:
                at = proof.result()
                if at is not None:
                    self.domains.note_alive(server, at, now)
            except Exception as error:  # noqa: BLE001 - one look must never stop the others
                get_log().error("watch.proof-of-life", server=server, error=str(error), kind=type(error).__name__)

    def _tell(self, domain: str, round_: Round, now: datetime) -> None:
        """Writes what `status` shows, when it changed, or at most every WATCH_FLUSH."""
        if self.app.history.following:
            return
        report = report_of(round_, self._axis_views(round_, now))
        told = self._told.setdefault(domain, _Told())
        if (
            told.report is not None
            and told.at is not None
            and told.report.same(report)
            and timedelta(0) <= now - told.at < WATCH_FLUSH
        ):
            return
        self.app.duties.ended(f"watch:{domain}", now, ok=True, details=report.to_json())
        self.app.history.flush(now)  # all every ten minutes, so all at once: the disk wakes once
        self.app.vitals.flush(now)
        self._told[domain] = _Told(report, now)

    def _axis_views(self, round_: Round, now: datetime) -> Iterable[Any]:
        from failsafe.failover.health import JudgePolicy, judge_all

        policy, views = round_.facts.policy, list(round_.facts.views)
        runs = self.domains.evidence(policy.server)
        for look in (
            each.look for each in self._watched if each.look.server == policy.server and each.look.axis is not Axis.INBOUND
        ):
            alike = [run for run in runs if (run.evidence.vantage, run.evidence.axis) == (look.vantage, look.axis)]
            views += judge_all(alike, now, JudgePolicy(look.interval, policy.down_for))  # each at its own pace
        return views


def _make(app: App, look: Look) -> _Sight:
    """In a thread: our own line, the look, our own line again; evidence through a line that was down says nothing."""
    if not look.by_our_line:
        return _Sight(look.see(app.clock.now()), look.interval, None)
    from failsafe.adapters.own_line import OwnLineCheck, patience_within

    references = [str(address) for address in app.config.own_line.references]
    check = OwnLineCheck(references, patience=patience_within(look.interval))
    before = check.look(app.clock.now())
    evidence = look.see(app.clock.now())
    after = check.look(app.clock.now(), closely=evidence.seen not in ACCEPTING)
    worse = before if not before.up else after
    return _Sight(discount(evidence, before, after), look.interval, worse)
