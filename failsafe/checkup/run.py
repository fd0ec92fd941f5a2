"""Looks at everything, at the same time where that is possible; lets it be judged, and keeps the findings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from failsafe.app import App
from failsafe.backup.doctor import (
    judge_clock,
    judge_machine,
    judge_repository,
    judge_retention,
    judge_server,
)
from failsafe.backup.drill_doctor import judge_drill
from failsafe.buckets import look_at_bucket
from failsafe.checkup.domain import look_at_domain
from failsafe.checkup.inside import look_at_inside
from failsafe.checkup.machine import look_at_machine
from failsafe.checkup.people import late_duties
from failsafe.checkup.published import make_lookups
from failsafe.checkup.repositories import look_at_drills, look_at_repositories
from failsafe.checkup.sending import look_at_sending, sends_from
from failsafe.checkup.server import look_at_server
from failsafe.domains import Domains
from failsafe.failover.doctor import DomainCheckup, is_ready, judge_domain
from failsafe.failover.doctor_delivery import judge_delivery
from failsafe.failover.doctor_inside import InsideCheckup, judge_inside
from failsafe.failover.domain_checks.published import judge_sending
from failsafe.looks.bans import look_at_bans
from failsafe.model import Finding
from failsafe.store.duties import DoctorRun

THREADS = 8


@dataclass(frozen=True, slots=True)
class Diagnosis:
    at: datetime
    findings: tuple[Finding, ...]
    ready: dict[str, bool]

    def about(self, domain: str, server: str) -> Diagnosis:
        """Only what concerns one domain: itself, its server, this machine."""
        subjects = {domain, server, "controller"}
        kept = tuple(finding for finding in self.findings if finding.subject in subjects)
        return Diagnosis(self.at, kept, {domain: self.ready[domain]})

    def to_json(self) -> dict[str, Any]:
        return {"findings": [_finding_json(finding) for finding in self.findings], "ready_for_failover": self.ready}


def run_checkup(app: App, prove: Collection[str] = ()) -> Diagnosis:
    """Looks at everything, and keeps what was found: a failover relies on the last whole run. Raises StoreError.

    Nothing is changed anywhere, but for the scratch record of each domain in `prove`; LockBusy where another run writes it just now.
    """
    began = app.clock.now()
    names, servers = sorted(app.config.domain), sorted(app.config.mail_server)
    domains, lookups = Domains(app, None, began), make_lookups(app)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="doctor") as pool:
        server_looks = [pool.submit(look_at_server, app, server) for server in servers]
        bans = {server: pool.submit(look_at_bans, app, server) for server in servers}  # before those that wait for them
        inside = {server: pool.submit(look_at_inside, app, server, began) for server in servers}  # likewise
        domain_looks = [pool.submit(look_at_domain, app, domains, lookups, name, began, prove, bans) for name in names]
        watched = sorted({table.server for table in app.config.domain.values()})
        sending = [pool.submit(look_at_sending, app, server, lookups, began, inside[server]) for server in watched]
        buckets = [pool.submit(look_at_bucket, app, name) for name in sorted(app.config.repository)]
        machine = look_at_machine(app, began)
        server_facts = [look.result() for look in server_looks]
        inside_facts = [inside[server].result() for server in servers]
        domain_facts = [_with_senders(look.result(), {facts.server: facts for facts in inside_facts}) for look in domain_looks]
    now = app.clock.now()
    shared = (*judge_machine(machine), judge_clock(server_facts), *late_duties(app, now))
    by_domain = {name: judge_domain(facts, now) for name, facts in zip(names, domain_facts, strict=True)}
    findings = (
        *(finding for found in by_domain.values() for finding in found),
        *(finding for facts in server_facts for finding in judge_server(facts, now)),
        *(finding for look in sending for finding in judge_sending(look.result())),
        *(finding for facts in inside_facts for finding in (*judge_inside(facts, now), judge_delivery(facts))),
        *(finding for facts in look_at_repositories(app) for finding in (judge_repository(facts, now), judge_retention(facts))),
        *(judge_drill(facts, now) for facts in look_at_drills(app)),
        *(finding for look in buckets for finding in look.result()),
        *shared,
    )
    ready = {name: is_ready((*found, *shared)) for name, found in by_domain.items()}
    app.duties.add_doctor_run(DoctorRun(began, [_finding_json(finding) for finding in findings], ready))
    app.duties.ended("doctor", app.clock.now(), ok=True, result="ok")  # having looked is its duty, by hand as by the daemon
    return Diagnosis(began, findings, ready)


def _with_senders(facts: DomainCheckup, inside: Mapping[str, InsideCheckup]) -> DomainCheckup:
    """What is published, with the addresses that the domain's own server says it sends from."""
    server = inside.get(facts.facts.policy.server)
    sends = None if server is None else sends_from(server)
    if facts.published is None or sends is None:
        return facts
    return replace(facts, published=replace(facts.published, sends_from=sends.public))


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "severity": str(finding.severity)}
