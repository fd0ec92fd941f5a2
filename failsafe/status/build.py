"""Roster + rows of the database + now -> Status. Pure. Never green by silence: what is not known is said to be unknown."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from failsafe import __version__
from failsafe.backup.due import LastRun
from failsafe.backup.freshness import Overdue, judge_freshness
from failsafe.model import DomainState, Finding, Guard, Severity, Side, Verdict
from failsafe.render import spoken_age
from failsafe.status.roster import DomainRow, Roster
from failsafe.store.glance import Glance, Row

WATCH_FLUSH = timedelta(minutes=10)  # an unchanged watch is written at most that often, so that a NAS disk can sleep
JUDGED_HERE = frozenset({"recovery-point", "repository-check"})  # the doctor's word on these is a day old, ours is fresh
NOTICE_PATIENCE = timedelta(minutes=15)  # a notice that waits longer has no way out
PASSING = frozenset(
    {"dwell", "start-grace", "proof-of-life", "no-quorum"}
)  # guards that end by themselves, where vantages are enough
MOVING = (
    DomainState.FAILING_OVER,
    DomainState.FAILING_BACK,
)  # while a plan runs the zone is not what it was, nor what it will be
AXES = ("inbound", "delivery", "access", "submission", "host")


@dataclass(frozen=True, slots=True)
class VantageStatus:
    vantage: str
    verdict: Verdict
    at: datetime | None


@dataclass(frozen=True, slots=True)
class DomainStatus:
    domain: str
    state: DomainState
    since: datetime | None
    serving: Side
    mx: tuple[tuple[int, str], ...]
    guards: tuple[Guard, ...]
    health: dict[str, str]
    vantages: tuple[VantageStatus, ...]
    held_until: datetime | None
    draining: bool
    mode: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    server: str
    status: str  # ok | incomplete | failed | overdue | never
    last_at: datetime | None = None
    last_result: str | None = None
    messages: int | None = None
    recovery_point_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RepositoryStatus:
    repository: str
    status: str  # ok | failed | overdue | never
    snapshots: int | None = None
    last_snapshot_at: datetime | None = None
    last_check_at: datetime | None = None
    last_drill_at: datetime | None = None
    error: str = ""
    holds_at: datetime | None = None  # everything up to then is in it, of every server


@dataclass(frozen=True, slots=True)
class Status:
    at: datetime
    controller: str
    leader: bool
    domains: tuple[DomainStatus, ...]
    servers: tuple[ServerStatus, ...]
    repositories: tuple[RepositoryStatus, ...]
    findings: tuple[Finding, ...]  # whatever a person should know; none means all is well
    overdue: tuple[Overdue, ...] = ()
    events: tuple[Row, ...] = field(default=())


def build_status(roster: Roster, glance: Glance, now: datetime) -> Status:
    """Everything that is configured, whether or not anything is known of it."""
    runs = last_runs(glance)
    first = glance.one("first_event")
    overdue = judge_freshness(roster.duties, runs, now, None if first is None else first["at"])
    late = {duty.name for duty in overdue}
    lease = glance.one("lease")
    servers = tuple(_server(name, glance, late) for name in roster.servers)
    repositories = tuple(_repository(name, glance, late, roster.servers) for name in roster.repositories)
    domains = tuple(_domain(row, glance, now) for row in roster.domains)
    findings = (
        *(
            finding
            for row, domain in zip(roster.domains, domains, strict=True)
            for finding in _domain_findings(row, domain, glance, now)
        ),
        *(finding for server in servers for finding in _server_findings(server, roster)),
        *(finding for repository in repositories for finding in _repository_findings(repository)),
        *_overdue_findings(overdue, now),
        *_other_findings(glance, now),
    )
    return Status(
        now,
        roster.controller,
        lease is not None and lease["holder"] == roster.controller,
        domains,
        servers,
        repositories,
        tuple(sorted(findings, key=lambda finding: finding.severity is not Severity.FAIL)),  # the worst first, else as configured
        overdue,
        glance.all("event"),
    )


def last_runs(glance: Glance) -> dict[str, LastRun]:
    """What `due` and `freshness` judge from."""
    return {
        row["name"]: LastRun(row["started_at"], row["ended_at"], row["ok_at"], int(row["details"].get("failures", 0)))
        for row in glance.all("duty")
    }


def _server(name: str, glance: Glance, late: set[str]) -> ServerStatus:
    last, good = glance.by("backup_run", "server").get(name), glance.by("good_run", "server").get(name)
    if last is None:
        return ServerStatus(name, "overdue" if f"backup:{name}" in late else "never")
    result = last["result"]
    messages = last["report"].get("messages", {}).get("total") if isinstance(last["report"], dict) else None
    status = result if result != "ok" else "overdue" if f"backup:{name}" in late else "ok"
    return ServerStatus(name, status, last["ended_at"], result, messages, None if good is None else good["started_at"])


def _repository(name: str, glance: Glance, late: set[str], servers: tuple[str, ...]) -> RepositoryStatus:
    row = glance.by("repository_state", "repository").get(name)
    if row is None:
        return RepositoryStatus(name, "never")
    failed = row["last_result"] not in ("", "ok")
    status = (
        "failed" if failed else "never" if row["last_snapshot_at"] is None else "overdue" if f"check:{name}" in late else "ok"
    )
    return RepositoryStatus(
        name,
        status,
        row["snapshots"],
        row["last_snapshot_at"],
        row["last_check_at"],
        row["last_drill_at"],
        row["last_error"] if failed else "",
        _holds_at(row, servers),
    )


def _holds_at(row: Row, servers: tuple[str, ...]) -> datetime | None:
    """A repository may be behind (`every`, `window`), and may be up to date without a new snapshot. Not recorded: its last snapshot counts."""
    held = (row.get("details") or {}).get("holds", {})
    known = [datetime.fromisoformat(held[server]) for server in servers if server in held]
    return min(known) if servers and len(known) == len(servers) else row["last_snapshot_at"]


def _domain(row: DomainRow, glance: Glance, now: datetime) -> DomainStatus:
    state, watch = glance.by("domain_state", "domain").get(row.domain), glance.by("duty", "name").get(f"watch:{row.domain}")
    seen: dict[str, Any] = {} if watch is None else watch["details"]
    is_stale = _is_stale(watch, row, now)
    vantages = tuple(
        VantageStatus(
            each["vantage"],
            Verdict.UNKNOWN if is_stale else Verdict(each["verdict"]),
            None if each["at"] is None else datetime.fromisoformat(each["at"]),
        )
        for each in seen.get("vantages", ())
    )
    health = {axis: "unknown" if is_stale else seen.get("health", {}).get(axis, "unknown") for axis in AXES}
    mx = tuple((int(preference), str(exchange)) for preference, exchange in seen.get("mx", ()))
    guards = tuple(Guard(guard["code"], guard["text"], guard.get("mend", "")) for guard in seen.get("guards", ()))
    held = state["held_until"] if state is not None else None
    draining = state["draining_until"] if state is not None else None
    return DomainStatus(
        row.domain,
        DomainState(state["state"]) if state is not None else DomainState.NORMAL,
        state["since_at"] if state is not None else None,
        Side(state["serving"]) if state is not None else Side.PRIMARY,
        mx,
        guards,
        health,
        vantages,
        held if held is not None and held > now else None,
        draining is not None and draining > now,
        row.mode,
        str(state["details"].get("reason", "")) if state is not None and isinstance(state["details"], dict) else "",
    )


def _is_stale(watch: Row | None, row: DomainRow, now: datetime) -> bool:
    """Whether the last look at a domain says nothing of now: it is too old, or it lies in the future (the clock went back)."""
    if watch is None or watch["ended_at"] is None:
        return True
    return not -row.probe_every * 3 <= now - watch["ended_at"] <= WATCH_FLUSH + row.probe_every * 3


def watches_all(roster: Roster, glance: Glance, now: datetime) -> bool:
    """Whether somebody has looked at every domain lately."""
    watched = glance.by("duty", "name")
    return not any(_is_stale(watched.get(f"watch:{row.domain}"), row, now) for row in roster.domains)


def _state_mend(row: DomainRow, domain: DomainStatus) -> str:
    if domain.state is DomainState.HALTED:
        return f"failsafe acknowledge {row.domain} --serving primary|secondary"
    if domain.state in (DomainState.FAILED_OVER, DomainState.RECOVERING):
        by_itself = row.mode == "auto"
        return "look after the primary; " + ("mail goes back by itself" if by_itself else f"then failsafe failback {row.domain}")
    helpless = row.mode != "auto" or row.vantages < row.quorum or any(guard.code not in PASSING for guard in domain.guards)
    if domain.state is DomainState.SUSPECT and helpless and domain.health["inbound"] in (Verdict.DOWN, Verdict.LYING):
        return f"failsafe failover {row.domain}"
    return "nothing yet; failsafe events"


def _domain_findings(row: DomainRow, domain: DomainStatus, glance: Glance, now: datetime) -> list[Finding]:
    findings = []
    name = row.domain
    if domain.state is not DomainState.NORMAL:
        severity = Severity.FAIL if domain.state is DomainState.HALTED else Severity.WARN
        mend = _state_mend(row, domain)
        reason = f": {domain.reason}" if domain.reason else ""
        findings.append(Finding("domain-state", severity, name, f"is {domain.state}{reason}", mend))
    watch = glance.by("duty", "name").get(f"watch:{name}")
    if watch is None or watch["ended_at"] is None:
        findings.append(
            Finding(
                "watch", Severity.WARN, name, "nobody has looked at it yet", "start `failsafe run`, or `failsafe tick` from cron"
            )
        )
    elif _is_stale(watch, row, now):
        age = now - watch["ended_at"]
        text = (
            f"nobody has looked at it for {spoken_age(age)}"
            if age > timedelta(0)
            else "the clock went back: the last look lies in the future"
        )
        findings.append(Finding("watch", Severity.FAIL, name, text, "start `failsafe run`, or `failsafe tick` from cron"))
    elif domain.state is DomainState.NORMAL and domain.health["inbound"] != Verdict.UP:
        findings.append(
            Finding("inbound", Severity.WARN, name, f"inbound mail is {domain.health['inbound']}", "nothing yet; failsafe events")
        )
    if domain.state not in MOVING and not _is_stale(watch, row, now):
        codes = {"drift": ("mx-drift", Severity.FAIL), "zone-unreadable": ("zone-unreadable", Severity.WARN)}
        told = [(codes[guard.code], guard) for guard in domain.guards if guard.code in codes]
        findings += [Finding(code, severity, name, guard.text, guard.mend) for (code, severity), guard in told]
    if watch is not None and domain.health["access"] in ("down", "lying"):
        findings.append(
            Finding("access", Severity.WARN, name, "people cannot read their mail (IMAP is down)", "look at the mail server")
        )
    if row.mode == "auto" and row.vantages < row.quorum:
        text = f"{row.vantages} of {row.quorum} vantages are configured, so mode auto behaves as manual"
        findings.append(Finding("vantages", Severity.WARN, name, text, "add a [vantage.NAME], or lower quorum"))
    if domain.held_until is not None:
        findings.append(Finding("held", Severity.WARN, name, "flips are on hold", f"failsafe release {name}"))
    return findings


def _server_findings(server: ServerStatus, roster: Roster) -> list[Finding]:
    if not roster.repositories:
        return [
            Finding(
                "recovery-point",
                Severity.FAIL,
                server.server,
                "no repository is configured, so nothing is backed up",
                "add a [repository.NAME]",
            )
        ]
    texts = {
        "never": ("has no backup yet", f"failsafe backup {server.server}"),
        "incomplete": ("the last backup could not be proven complete", f"failsafe backup {server.server}"),
        "failed": ("the last backup failed", f"failsafe backup {server.server}"),
    }
    if server.status not in texts:
        return []
    text, mend = texts[server.status]
    return [Finding("recovery-point", Severity.FAIL, server.server, text, mend)]


def _repository_findings(repository: RepositoryStatus) -> list[Finding]:
    if repository.status == "never":
        return [Finding("repository", Severity.WARN, repository.repository, "holds no snapshot yet", "failsafe backup")]
    if repository.status == "failed":
        return [
            Finding(
                "repository",
                Severity.FAIL,
                repository.repository,
                f"the last use failed: {repository.error or 'no reason known'}",
                "failsafe backup",
            )
        ]
    return []


def _overdue_findings(overdue: tuple[Overdue, ...], now: datetime) -> list[Finding]:
    mends = {"backup": "failsafe backup {0}", "check": "failsafe verify --repository {0}", "doctor": "failsafe doctor"}
    findings = []
    for late in overdue:
        kind, _, subject = late.name.partition(":")
        said = "has never gone well" if late.ok_at is None else f"last went well {spoken_age(now - late.ok_at)} ago"
        findings.append(
            Finding(
                "overdue",
                Severity.FAIL,
                subject or "controller",
                f"{kind} is overdue: it {said}",
                mends.get(kind, "").format(subject),
            )
        )
    return findings


def _other_findings(glance: Glance, now: datetime) -> list[Finding]:
    findings = []
    notice = glance.one("notice")
    if notice is not None and notice["oldest_at"] is not None and now - notice["oldest_at"] > NOTICE_PATIENCE:
        text = f"{notice['waiting']} notice(s) could not be delivered for {spoken_age(now - notice['oldest_at'])}"
        findings.append(Finding("notify-path", Severity.FAIL, "controller", text, "failsafe notify --test"))
    doctor = glance.one("doctor_run")
    if doctor is not None:
        bad = [each for each in doctor["findings"] if each["severity"] == Severity.FAIL and each["code"] not in JUDGED_HERE]
        if bad:
            codes = ", ".join(sorted({each["code"] for each in bad})[:6])
            findings.append(
                Finding(
                    "doctor", Severity.WARN, "controller", f"the doctor found {len(bad)} fault(s): {codes}", "failsafe doctor"
                )
            )
    return findings


def to_json(status: Status) -> dict[str, Any]:
    """Exactly the promised shape, and `findings` and `answers` beside it."""
    return {
        "at": instant(status.at),
        "controller": {"id": status.controller, "leader": status.leader, "version": __version__},
        "domains": [_domain_json(domain) for domain in status.domains],
        "servers": [_server_json(server, status.at) for server in status.servers],
        "repositories": [
            {
                "repository": each.repository,
                "status": each.status,
                "snapshots": each.snapshots,
                "last_snapshot_at": instant(each.last_snapshot_at),
                "last_check_at": instant(each.last_check_at),
                "last_drill_at": instant(each.last_drill_at),
            }
            for each in status.repositories
        ],
        "findings": [
            {"code": each.code, "severity": str(each.severity), "subject": each.subject, "text": each.text, "mend": each.mend}
            for each in status.findings
        ],
    }


def _domain_json(domain: DomainStatus) -> dict[str, Any]:
    return {
        "domain": domain.domain,
        "state": str(domain.state),
        "since": instant(domain.since),
        "serving": str(domain.serving),
        "mx": [{"preference": preference, "exchange": exchange} for preference, exchange in domain.mx],
        "guards": [{"code": guard.code, "text": guard.text} for guard in domain.guards],
        "health": domain.health,
        "vantages": [{"vantage": each.vantage, "verdict": str(each.verdict), "at": instant(each.at)} for each in domain.vantages],
        "held_until": instant(domain.held_until),
        "draining": domain.draining,
        "mode": domain.mode,
    }


def _server_json(server: ServerStatus, now: datetime) -> dict[str, Any]:
    last = (
        None
        if server.last_at is None
        else {"at": instant(server.last_at), "result": server.last_result, "messages": server.messages}
    )
    age = None if server.recovery_point_at is None else max(int((now - server.recovery_point_at).total_seconds()), 0)
    return {"server": server.server, "status": server.status, "last_backup": last, "recovery_point_age_seconds": age}


def instant(at: datetime | None) -> str | None:
    """UTC with seconds, as all JSON of failsafe."""
    return None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"
