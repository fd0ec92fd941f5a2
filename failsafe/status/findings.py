"""What of a Status a person should know, and the command that mends it. Pure; nothing found means that all is well."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from failsafe.backup.doctor_overdue import MENDS
from failsafe.backup.freshness import Overdue
from failsafe.backup.guards import ALIKE, mend_of
from failsafe.model import DomainState, Finding, Guard, Severity, Verdict
from failsafe.render import spoken_age
from failsafe.status.course import describe_pull
from failsafe.status.drilled import drill_findings
from failsafe.status.roster import DomainRow, Roster
from failsafe.status.upkeep import upkeep_findings
from failsafe.status.values import DomainStatus, RepositoryStatus, ServerStatus
from failsafe.status.watched import is_stale
from failsafe.store.glance import Glance

JUDGED_HERE = frozenset(
    {"recovery-point", "repository-check", "drill-restore"}
)  # the doctor's word on these is a day old, ours is fresh
CREDENTIAL_ENDS = "provider-token-expiry"  # of the doctor's warnings the one that becomes a fault by waiting
SPACE_WARNED = timedelta(days=60)  # before staging's disk is full: time to buy another
NOTICE_PATIENCE = timedelta(minutes=15)  # a notice that waits longer has no way out
PASSING = frozenset(
    {"dwell", "start-grace", "proof-of-life", "no-quorum"}
)  # guards that end by themselves, where vantages are enough
AT_PEACE = (DomainState.NORMAL, DomainState.SUSPECT)
LEFT_TOLD = timedelta(days=30)  # of a domain that left the configuration: whoever meant it is not told for ever
MOVING = (
    DomainState.FAILING_OVER,
    DomainState.FAILING_BACK,
)  # while a plan runs the zone is not what it was, nor what it will be


def _state_mend(row: DomainRow, domain: DomainStatus) -> str:
    if domain.taken_over:
        return f"failsafe acknowledge {row.domain} --serving {domain.serving}"
    if domain.state is DomainState.HALTED:
        return f"failsafe acknowledge {row.domain} --serving primary|secondary"
    if domain.state in (DomainState.FAILED_OVER, DomainState.RECOVERING):
        by_itself = row.mode == "auto"
        return "look after the primary; " + ("mail goes back by itself" if by_itself else f"then failsafe failback {row.domain}")
    helpless = row.mode != "auto" or row.vantages < row.quorum or any(guard.code not in PASSING for guard in domain.guards)
    bad = not {Verdict.DOWN, Verdict.LYING}.isdisjoint((domain.health["inbound"], domain.health["delivery"]))
    if domain.state is DomainState.SUSPECT and helpless and bad:
        return f"failsafe failover {row.domain}"
    return "nothing yet; failsafe events"


def domain_findings(row: DomainRow, domain: DomainStatus, glance: Glance, now: datetime) -> list[Finding]:
    findings = []
    name = row.domain
    if domain.taken_over:
        text = "was taken over from a lost controller: nothing is written to its zone until a person says which side serves"
        findings.append(Finding("taken-over", Severity.FAIL, name, text, _state_mend(row, domain)))
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
    elif is_stale(watch, row, now):
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
    if domain.state not in MOVING and not is_stale(watch, row, now):
        codes = {"drift": ("mx-drift", Severity.FAIL), "zone-unreadable": ("zone-unreadable", Severity.WARN)}
        told = [(codes[guard.code], guard) for guard in domain.guards if guard.code in codes]
        findings += [Finding(code, severity, name, guard.text, guard.mend) for (code, severity), guard in told]
    if watch is not None and domain.health["access"] in ("down", "lying"):
        findings.append(
            Finding("access", Severity.WARN, name, "people cannot read their mail (IMAP is down)", "look at the mail server")
        )
    findings += _inner_findings(domain)
    if domain.mode == "auto" and row.vantages < row.quorum:
        text = f"{row.vantages} of {row.quorum} vantages are configured, so mode auto behaves as manual"
        findings.append(
            Finding(
                "vantages",
                Severity.WARN,
                name,
                text,
                "add a [vantage.NAME], another place to look from (docs/vantages.md), or lower quorum",
            )
        )
    if domain.came_home is not None and domain.came_home.waiting:
        text = f"{domain.came_home.waiting} message(s) of the secondary wait to come home"
        findings.append(Finding("homecoming", Severity.WARN, name, text, f"failsafe homecoming {name}"))
    if domain.held_until is not None:
        findings.append(Finding("held", Severity.WARN, name, "flips are on hold", f"failsafe release {name}"))
    return findings


def left_findings(configured: Iterable[str], glance: Glance, now: datetime) -> list[Finding]:
    """Domains that left the configuration while they were not at peace: nobody brings their mail back, and nobody else says so."""
    known = set(configured)
    return [
        Finding(
            "domain-state",
            Severity.FAIL,
            row["domain"],
            f"is {row['state']} and not in the configuration any more: nobody watches it, and its MX records stay as they are",
            f'put [domain."{row["domain"]}"] back into the configuration until it is normal again',
        )
        for row in glance.all("domain_state")
        if row["domain"] not in known and row["state"] not in AT_PEACE and now - row["since_at"] < LEFT_TOLD
    ]


def _inner_findings(domain: DomainStatus) -> list[Finding]:
    """What is wrong behind a way in that is open."""
    texts = {
        "delivery": "mail that the server takes waits there or does not arrive",
        "host": "the mail server is short of something (room, a service, a certificate)",
    }
    bad = [axis for axis in texts if domain.health.get(axis) in ("down", "lying")]
    return [Finding(axis, Severity.WARN, domain.domain, texts[axis], "failsafe events") for axis in bad]


def server_findings(server: ServerStatus, roster: Roster, now: datetime) -> list[Finding]:
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
    guards = _guard_findings(server)
    told = f": {describe_pull(server.pull, now, None)}" if server.pull is not None else ""
    if server.status == "pulling":
        words, mend = (
            f"the first pull is under way{told}",
            "nothing: it goes on by itself, and after an interruption from where it was",
        )
        return [*guards, Finding("first-pull", Severity.WARN, server.server, words, mend)]
    texts = {
        "never": (f"has no backup yet{told}", f"failsafe backup {server.server}"),
        "incomplete": (f"the last backup could not be proven complete{told}", f"failsafe backup {server.server}"),
        "failed": (f"the last backup failed{told}", f"failsafe backup {server.server}"),
    }
    if server.status not in texts:
        return guards
    text, mend = texts[server.status]
    if server.is_secondary:  # what lies there is not lost by that
        mend = f"failsafe homecoming {server.server.partition(':')[0]}; failsafe doctor tries its logins"
        return [*guards, Finding("recovery-point", Severity.WARN, server.server, text, mend)]
    return [*guards, Finding("recovery-point", Severity.FAIL, server.server, text, mend)]


def _guard_findings(server: ServerStatus) -> list[Finding]:
    """More than a few of one code are one finding, with the command that ends them all."""
    findings = []
    for code in dict.fromkeys(guard.code for guard in server.guards):
        alike = [guard for guard in server.guards if guard.code == code]
        if len(alike) > ALIKE:
            words = f"{len(alike)} times: {'; '.join(guard.text for guard in alike[:ALIKE])}; …"
            alike = [Guard(code, words, mend_of(code, server.server))]
        findings += [Finding(code, Severity.FAIL, server.server, f"guard {code}: {guard.text}", guard.mend) for guard in alike]
    return findings


def repository_findings(repository: RepositoryStatus, now: datetime, *, pulling: bool = False) -> list[Finding]:
    """`pulling`: a first pull is under way, so that an empty repository is no reason to do anything."""
    upkeep = upkeep_findings(repository.repository, repository.reading, repository.retention, now)
    return [*_use_findings(repository, pulling=pulling), *upkeep, *drill_findings(repository.repository, repository.drill)]


def _use_findings(repository: RepositoryStatus, *, pulling: bool) -> list[Finding]:
    if repository.status == "never":
        mend = "nothing: the first pull is under way" if pulling else "failsafe backup"
        return [Finding("repository", Severity.WARN, repository.repository, "holds no snapshot yet", mend)]
    damaged = repository.reading is not None and repository.reading.coverage.damaged_at is not None
    drilled = repository.drill is not None and not repository.drill.passed
    if repository.status == "failed" and (repository.error or not (damaged or drilled)):
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


def overdue_findings(overdue: tuple[Overdue, ...], now: datetime) -> list[Finding]:
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
                MENDS.get(kind, "").format(subject),
            )
        )
    return findings


def space_findings(full_at: datetime | None, now: datetime) -> list[Finding]:
    if full_at is None or full_at - now > SPACE_WARNED:
        return []
    text = f"at this pace the disk with staging is full on {full_at:%Y-%m-%d}"
    return [
        Finding("staging-space", Severity.WARN, "controller", text, "make room, or set controller.state_dir to a larger disk")
    ]


def other_findings(glance: Glance, now: datetime) -> list[Finding]:
    findings = []
    notice = glance.one("notice")
    if notice is not None and notice["oldest_at"] is not None and now - notice["oldest_at"] > NOTICE_PATIENCE:
        text = f"{notice['waiting']} notice(s) could not be delivered for {spoken_age(now - notice['oldest_at'])}"
        findings.append(Finding("notify-path", Severity.FAIL, "controller", text, "failsafe notify --test"))
    doctor = glance.one("doctor_run")
    if doctor is not None:
        ending = [each for each in doctor["findings"] if each["code"] == CREDENTIAL_ENDS]
        findings += [
            Finding(CREDENTIAL_ENDS, Severity(each["severity"]), each["subject"], each["text"], each["mend"])
            for each in ending
            if each["severity"] in (Severity.FAIL, Severity.WARN)
        ]
        bad = [
            each
            for each in doctor["findings"]
            if each["severity"] == Severity.FAIL and each["code"] not in (*JUDGED_HERE, CREDENTIAL_ENDS)
        ]
        if bad:
            codes = ", ".join(sorted({each["code"] for each in bad})[:6])
            findings.append(
                Finding(
                    "doctor", Severity.WARN, "controller", f"the doctor found {len(bad)} fault(s): {codes}", "failsafe doctor"
                )
            )
    return findings
