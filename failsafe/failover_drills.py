"""Failover drills of one domain, put together from the configuration: what is asked, where it is written, and the evidence kept."""

from __future__ import annotations

from failsafe.adapters.lock import FileLock
from failsafe.app import App
from failsafe.domains import Domains
from failsafe.errors import Refused
from failsafe.events import Event
from failsafe.failover.drill import refuse_drill, run_drill
from failsafe.failover.drill_report import FailoverDrill
from failsafe.failover.drilled import FAILED, PASSED, FailoverDrilled
from failsafe.ports import Authorities, Narrator


def drill_failover(app: App, domain: str, narrate: Narrator) -> FailoverDrill:
    """Rehearses a failover of a domain and keeps the evidence. Raises Refused (LockBusy beside another drill), StoreError."""
    zone = app.zone(domain)
    if zone is None:
        text = f"no DNS provider is configured for {domain}, so there is nothing to rehearse: a person makes the change"
        raise Refused(text, mend=f'set `dns` in [domain."{domain}"]; failsafe failover {domain} says what a person would do')
    with FileLock(app.lock_file(f"drill:{domain}"), f"failover drill of {domain}").hold():
        now = app.clock.now()
        desk = Domains(app, app.leases.acquire(app.holder, now), now)
        facts = desk.gather(domain, now, fresh_zone=True)
        notes = refuse_drill(facts, now)
        app.duties.started(_duty(domain), now)
        report = run_drill(zone, _authorities(app, domain, facts.policy.zone), app.clock, facts, narrate, notes)
        _keep(app, report)
    return report


def last_drill(app: App, domain: str) -> FailoverDrilled | None:
    """What is remembered of the last one; None where there was none."""
    row = app.duties.all().get(_duty(domain))
    return None if row is None else FailoverDrilled.of(row.details)


def _duty(domain: str) -> str:
    return f"drill-failover:{domain}"


def _authorities(app: App, domain: str, zone: str) -> Authorities:
    """By the domain's own zone: nobody is asked for the delegation of a name that is not there most of the time."""
    from failsafe.adapters.resolver import AuthoritativeServers

    servers = tuple(str(server) for server in app.domain(domain).nameservers)
    return AuthoritativeServers(zone=zone, nameservers=servers)


def _keep(app: App, report: FailoverDrill) -> None:
    """The history (beside that of restore drills), what `status` shows, and one event."""
    evidence, domain, passed = report.to_json(), report.domain, report.result == PASSED
    app.duties.add_drill(f"failover:{domain}", report.started_at, report.ended_at, PASSED if passed else FAILED, evidence)
    app.duties.ended(_duty(domain), report.ended_at, ok=passed, result=report.result, details=report.summary.to_json())
    name = "failover-drill.passed" if passed else "failover-drill.failed"
    said = report.summary.spoken() if passed else "; ".join((*report.findings, report.trouble)).strip("; ")
    app.record(Event(name, domain, f"the failover drill {report.result}: {said}", report.ended_at, evidence))
