"""Status as Prometheus metrics. Pure but for the client library; a registry of its own, so that nothing else is told."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from failsafe import __version__
from failsafe.model import DomainState, Severity, Side, Verdict
from failsafe.status.values import Status
from failsafe.web.vitals_metrics import add_vitals


def _level(verdict: str) -> int:
    return {Verdict.UP: 1, Verdict.UNKNOWN: -1}.get(Verdict(verdict), 0)


def _tell_vantages(levels: Gauge, status: Status) -> None:
    for domain in status.domains:
        for each in domain.vantages:
            levels.labels(domain.domain, each.vantage).set(_level(each.verdict))


def render_metrics(status: Status) -> str:
    """The text exposition format, version 0.0.4. An unknown instant has no sample: absence is what alerts should look for."""
    registry = CollectorRegistry()

    def gauge(name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"failsafe_{name}", text, labels, registry=registry)

    gauge("build_info", "Always 1; the version is a label.", "version").labels(__version__).set(1)
    gauge("leader", "1 while this controller leads.").set(status.leader)
    findings = gauge("findings", "Findings of status by severity; 0 means all is well.", "severity")
    for severity in (Severity.FAIL, Severity.WARN):
        findings.labels(str(severity)).set(sum(finding.severity is severity for finding in status.findings))

    state = gauge("domain_state", "1 for the state that the domain is in.", "domain", "state")
    serving = gauge("domain_serving_secondary", "1 while mail goes to the secondary.", "domain")
    health = gauge("health_up", "1 up, 0 down or lying, -1 unknown.", "domain", "axis")
    for domain in status.domains:
        for each in DomainState:
            state.labels(domain.domain, str(each)).set(domain.state is each)
        serving.labels(domain.domain).set(domain.serving is Side.SECONDARY)
        for axis, verdict in domain.health.items():
            health.labels(domain.domain, axis).set(_level(verdict))

    _tell_vantages(gauge("vantage_up", "What each vantage says of inbound mail, likewise.", "domain", "vantage"), status)

    backup_ok = gauge("backup_ok", "1 if the last backup was proven complete and none is overdue.", "server")
    point = gauge("recovery_point_timestamp_seconds", "When the last complete backup began.", "server")
    messages = gauge("backup_messages", "Mailbox entries in the last backup.", "server")
    for server in status.servers:
        backup_ok.labels(server.server).set(server.status == "ok")
        if server.recovery_point_at is not None:
            point.labels(server.server).set(server.recovery_point_at.timestamp())
        if server.messages is not None:
            messages.labels(server.server).set(server.messages)

    repository_ok = gauge("repository_ok", "1 if the repository's last use went well.", "repository")
    snapshot = gauge("repository_snapshot_timestamp_seconds", "When its last snapshot was made.", "repository")
    check = gauge("repository_check_timestamp_seconds", "When it was last checked.", "repository")
    for repository in status.repositories:
        repository_ok.labels(repository.repository).set(repository.status == "ok")
        if repository.last_snapshot_at is not None:
            snapshot.labels(repository.repository).set(repository.last_snapshot_at.timestamp())
        if repository.last_check_at is not None:
            check.labels(repository.repository).set(repository.last_check_at.timestamp())
    _drills(gauge, status)
    _failover_drills(gauge, status)
    _homecomings(gauge, status)
    add_vitals(gauge, status)
    return generate_latest(registry).decode()


def _drills(gauge: Callable[..., Gauge], status: Status) -> None:
    passed = gauge("repository_drill_ok", "1 if the last restore drill passed.", "repository")
    at = gauge("repository_drill_timestamp_seconds", "When the last restore drill ended.", "repository")
    seconds = gauge("repository_drill_recovery_seconds", "How long it took until mail could be read again.", "repository")
    messages = gauge("repository_drill_messages", "Messages that it brought back and compared.", "repository")
    for repository in status.repositories:
        if (drill := repository.drill) is None:
            continue
        passed.labels(repository.repository).set(drill.passed)
        at.labels(repository.repository).set(drill.at.timestamp())
        seconds.labels(repository.repository).set(drill.seconds)
        messages.labels(repository.repository).set(drill.messages)


def _homecomings(gauge: Callable[..., Gauge], status: Status) -> None:
    home = gauge("homecoming_home", "Messages that came home from the secondary since the last outage began.", "domain")
    waiting = gauge("homecoming_waiting", "Messages that wait to come home.", "domain")
    at = gauge("homecoming_timestamp_seconds", "When mail was last brought home, or there was none to bring.", "domain")
    for domain in status.domains:
        if (came := domain.came_home) is not None:
            home.labels(domain.domain).set(came.home)
            waiting.labels(domain.domain).set(came.waiting)
            at.labels(domain.domain).set(came.at.timestamp())


def _failover_drills(gauge: Callable[..., Gauge], status: Status) -> None:
    passed = gauge("failover_drill_ok", "1 if the last failover drill passed.", "domain")
    at = gauge("failover_drill_timestamp_seconds", "When the last failover drill ended.", "domain")
    seconds = gauge(
        "failover_drill_seconds", "How long it took until every server that answers gave the new set.", "domain", "way"
    )
    for domain in status.domains:
        if (drill := domain.drill) is None:
            continue
        passed.labels(domain.domain).set(drill.passed)
        at.labels(domain.domain).set(drill.at.timestamp())
        for way, took in (("there", drill.there), ("back", drill.back)):
            if took is not None:
                seconds.labels(domain.domain, way).set(took)
