"""Roster + rows of the database + now -> Status. Pure. Never green by silence: what is not known is said to be unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from failsafe.backup.drill_words import drill_failed_at
from failsafe.backup.due import LastRun
from failsafe.backup.freeze import DAMAGED, DRILL
from failsafe.backup.freshness import is_on_course, judge_freshness
from failsafe.backup.space import SPACE, expect_full_at, read_samples
from failsafe.failover.drilled import FailoverDrilled
from failsafe.failover.halt import Halt, explain_halt
from failsafe.failover.observed import observed_of_json
from failsafe.failover.zone import describe
from failsafe.model import DomainState, Guard, Mode, MxSet, Severity, Side, Verdict
from failsafe.status.course import read_pull, read_work
from failsafe.status.drilled import Drilled
from failsafe.status.findings import (
    domain_findings,
    left_findings,
    other_findings,
    overdue_findings,
    repository_findings,
    server_findings,
    space_findings,
)
from failsafe.status.homecoming import DUTY, CameHome
from failsafe.status.roster import DomainRow, Roster
from failsafe.status.upkeep import reading_of, retention_of
from failsafe.status.values import (
    DomainStatus,
    MailboxStatus,
    RepositoryStatus,
    ServerStatus,
    Status,
    Upload,
    VantageStatus,
)
from failsafe.status.watched import is_stale
from failsafe.store.earlier import store_was_lost
from failsafe.store.glance import Glance, Row

AXES = ("inbound", "delivery", "access", "submission", "host")


def build_status(roster: Roster, glance: Glance, now: datetime) -> Status:
    """Everything that is configured, whether or not anything is known of it."""
    runs = last_runs(glance)
    first = glance.one("first_event")
    overdue = judge_freshness(roster.duties, runs, now, None if first is None else first["at"], begun_at(glance))
    late = {duty.name for duty in overdue}
    lease = glance.one("lease")
    gathered = (name for name in roster.secondaries if name in glance.by("backup_run", "server"))
    servers = (
        *(_server(name, glance, late, now) for name in roster.servers),
        *(replace(_server(name, glance, late, now), is_secondary=True) for name in gathered),
    )
    domains = tuple(_domain(row, glance, now) for row in roster.domains)
    stops = _stops(servers, domains)
    repositories = tuple(_repository(name, glance, late, roster, now, stops) for name in roster.repositories)
    space = glance.by("duty", "name").get(SPACE)
    full_at = None if space is None else expect_full_at(tuple(read_samples(space["details"])))
    pulling = any(server.status == "pulling" for server in servers)
    findings = (
        *(
            finding
            for row, domain in zip(roster.domains, domains, strict=True)
            for finding in domain_findings(row, domain, glance, now)
        ),
        *left_findings((row.domain for row in roster.domains), glance, now),
        *(finding for server in servers for finding in server_findings(server, roster, now)),
        *(finding for repository in repositories for finding in repository_findings(repository, now, pulling=pulling)),
        *overdue_findings(overdue, now),
        *space_findings(full_at, now),
        *other_findings(glance, now),
    )
    return Status(
        now,
        roster.controller,
        lease is not None and lease["holder"].partition(" ")[0] == roster.controller,
        domains,
        servers,
        repositories,
        tuple(sorted(findings, key=lambda finding: finding.severity is not Severity.FAIL)),  # the worst first, else as configured
        overdue,
        full_at,
        glance.all("event"),
        glance.all("vital"),
    )


def last_runs(glance: Glance) -> dict[str, LastRun]:
    """What `due` and `freshness` judge from."""
    return {
        row["name"]: LastRun.of(row["started_at"], row["ended_at"], row["ok_at"], row["details"]) for row in glance.all("duty")
    }


def begun_at(glance: Glance) -> dict[str, datetime | None]:
    """Since when each repository could be drilled: since its first snapshot. None: there is none yet."""
    found: dict[str, datetime | None] = {}
    for row in glance.all("repository_state"):
        since = ((row.get("details") or {}).get("added") or {}).get("since")
        name = f"drill:{row['repository']}"
        if row["last_snapshot_at"] is None:
            found[name] = None
        elif since is not None:
            found[name] = datetime.fromisoformat(since)
    return found


def _server(name: str, glance: Glance, late: set[str], now: datetime) -> ServerStatus:
    last, good = glance.by("backup_run", "server").get(name), glance.by("good_run", "server").get(name)
    pull = read_pull(glance.by("duty", "name").get(f"backup:{name}"), now)
    first = "pulling" if pull is not None and pull.moving and good is None else ""
    if last is None:
        return ServerStatus(name, first or ("overdue" if f"backup:{name}" in late else "never"), pull=pull)
    result = last["result"]
    messages = last["report"].get("messages", {}).get("total") if isinstance(last["report"], dict) else None
    status = result if result != "ok" else "overdue" if f"backup:{name}" in late else "ok"
    good_at = None if good is None else good["started_at"]
    guards, mailboxes = _server_guards(name, glance), _mailboxes(name, glance)
    return ServerStatus(name, first or status, last["ended_at"], result, messages, good_at, guards, mailboxes, pull)


def _mailboxes(name: str, glance: Glance) -> tuple[MailboxStatus, ...]:
    row = glance.by("duty", "name").get(f"mailboxes:{name}")
    rows = row["details"].get("mailboxes", {}) if row is not None else {}
    found = (MailboxStatus(mailbox, _instant(proved), _instant(safe)) for mailbox, (proved, safe) in rows.items())
    return tuple(sorted(found, key=lambda each: (each.safe_at is not None, each.safe_at, each.mailbox)))


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _server_guards(name: str, glance: Glance) -> tuple[Guard, ...]:
    row = glance.by("duty", "name").get(f"guards:{name}")
    guards = row["details"].get("guards", ()) if row is not None else ()
    return tuple(Guard(guard["code"], guard["text"], guard.get("mend", "")) for guard in guards)


def _stops(servers: tuple[ServerStatus, ...], domains: tuple[DomainStatus, ...]) -> frozenset[str]:
    """The codes of what stops forgetting now."""
    moved = {"domain-state" for domain in domains if domain.state is not DomainState.NORMAL}
    return frozenset(moved | {guard.code for server in servers for guard in server.guards})


def _repository(
    name: str, glance: Glance, late: set[str], roster: Roster, now: datetime, stops: frozenset[str]
) -> RepositoryStatus:
    row = glance.by("repository_state", "repository").get(name)
    if row is None:
        return RepositoryStatus(name, "never", upload=_upload(name, glance, now))
    details, failed = row.get("details") or {}, row["last_result"] not in ("", "ok")
    every = {duty.name: duty.every for duty in roster.duties}
    reading = reading_of(details, every.get(f"check:{name}"), row["last_check_at"])
    damaged = reading is not None and reading.coverage.damaged_at is not None
    drill, broken = Drilled.of(details), drill_failed_at(details) is not None
    stops |= {code for code, stands in ((DAMAGED, damaged), (DRILL, broken)) if stands}
    status = "overdue" if {f"check:{name}", f"drill:{name}"} & late else "ok"
    status = "failed" if failed or damaged or broken else "never" if row["last_snapshot_at"] is None else status
    return RepositoryStatus(
        name,
        status,
        row["snapshots"],
        row["last_snapshot_at"],
        row["last_check_at"],
        row["last_drill_at"],
        row["last_error"] if failed else "",
        _holds_at(row, roster.servers),
        _upload(name, glance, now),
        details.get("bucket", {}),
        reading,
        retention_of(details, is_ours=f"forget:{name}" in every, standing=stops),
        drill,
        read_work(glance.by("duty", "name"), name, now),
    )


def _upload(name: str, glance: Glance, now: datetime) -> Upload | None:
    """What the repository's own job noted of itself lately; one that has ended or stands still is none."""
    row = glance.by("duty", "name").get(f"snapshot:{name}")
    run = last_runs(glance).get(f"snapshot:{name}")
    if row is None or run is None or run.started_at is None or not is_on_course(run, now) or row["details"].get("unit") != "B":
        return None
    return Upload(run.started_at, int(row["details"].get("done", 0)), row["details"].get("total"))


def _holds_at(row: Row, servers: tuple[str, ...]) -> datetime | None:
    """A repository may be behind (`every`, `window`), and may be up to date without a new snapshot. Not recorded: its last snapshot counts."""
    held = (row.get("details") or {}).get("holds", {})
    known = [datetime.fromisoformat(held[server]) for server in servers if server in held]
    return min(known) if servers and len(known) == len(servers) else row["last_snapshot_at"]


def _domain(row: DomainRow, glance: Glance, now: datetime) -> DomainStatus:
    state, watch = glance.by("domain_state", "domain").get(row.domain), glance.by("duty", "name").get(f"watch:{row.domain}")
    seen: dict[str, Any] = {} if watch is None else watch["details"]
    details = state["details"] if state is not None and isinstance(state["details"], dict) else {}
    if state is not None and seen.get("epoch", state["epoch"]) != state["epoch"]:  # changed by hand since the last look
        seen = {**seen, "guards": (), "mx": (details.get("written") or {}).get("records", ())}
    stale = is_stale(watch, row, now)
    vantages = tuple(
        VantageStatus(
            each["vantage"],
            Verdict.UNKNOWN if stale else Verdict(each["verdict"]),
            None if each["at"] is None else datetime.fromisoformat(each["at"]),
        )
        for each in seen.get("vantages", ())
    )
    health = {axis: "unknown" if stale else seen.get("health", {}).get(axis, "unknown") for axis in AXES}
    mx = tuple((int(preference), str(exchange)) for preference, exchange in seen.get("mx", ()))
    guards = tuple(Guard(guard["code"], guard["text"], guard.get("mend", "")) for guard in seen.get("guards", ()))
    taken_over = bool(details.get("taken_over_at"))
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
        Mode.OBSERVE if taken_over else row.mode,
        str(details.get("reason", "")),
        taken_over,
        _failover_drill(glance.by("duty", "name").get(f"drill-failover:{row.domain}")),
        tuple(observed_of_json(kept) for kept in details.get("observed", ())),
        _halt(row.domain, row.server, seen, details) if state is not None and state["state"] == DomainState.HALTED else None,
        _came_home(glance.by("duty", "name").get(f"{DUTY}:{row.domain}")),
    )


def _halt(domain: str, server: str, seen: dict[str, Any], details: dict[str, Any]) -> Halt:
    attempted = details.get("attempted")
    expected = None if attempted is None else MxSet.of(*((int(rank), str(name)) for rank, name in attempted["records"]))
    found = MxSet.of(*((int(rank), str(name)) for rank, name in seen.get("mx", ())))
    reason = str(details.get("reason", ""))
    described = seen.get("found") or (describe(found) if found else "")
    return explain_halt(domain, described, expected, reason=reason, server=server, store_lost=store_was_lost(details))


def _came_home(duty: Row | None) -> CameHome | None:
    return None if duty is None or duty["ended_at"] is None else CameHome.of(duty["ended_at"], duty["details"] or {})


def _failover_drill(duty: Row | None) -> FailoverDrilled | None:
    return None if duty is None else FailoverDrilled.of(duty["details"])
