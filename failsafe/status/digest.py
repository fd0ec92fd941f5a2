"""The daily digest: one notice that says how the last day went, also where all went well. When it is due, and what it says; pure.

A person who hears of trouble alone cannot tell a quiet day from a failsafe that has died; the heartbeat tells machines, this tells people.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta, tzinfo
from statistics import median
from typing import Any

from failsafe.failover.health import ACCEPTING, EvidenceRun
from failsafe.model import Notice, Severity
from failsafe.render import spoken_age, spoken_instant
from failsafe.status.values import RepositoryStatus, ServerStatus, Status

DAY = timedelta(days=1)
FINDINGS, FLIPS, KINDS, KIND_LENGTH = 8, 5, 6, 100  # lines of each; a chat service takes some 3,000 characters
TOLD = frozenset(
    {"failover.done", "failback.done", "flip.failed", "flip.blocked", "flip.postponed", "flip.observed", "flip.prepared"}
)


@dataclass(frozen=True, slots=True)
class ServerDay:
    """What was seen of one mail server. `inside` and `canaries`: the numbers of each look (store/vitals.py), the oldest first."""

    server: str
    runs: tuple[EvidenceRun, ...] = ()
    inside: tuple[Mapping[str, Any], ...] = ()
    canaries: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class DigestFacts:
    since: datetime
    now: datetime
    status: Status
    servers: tuple[ServerDay, ...] = ()
    happened: tuple[tuple[datetime, str, str, str], ...] = ()  # (when, name, subject, text) of events since then


def last_moment(at: time, now: datetime, zone: tzinfo) -> datetime:
    """The newest moment at which a digest was to be made."""
    local = now.astimezone(zone)
    today = datetime.combine(local.date(), at, tzinfo=zone)
    return today if today <= local else datetime.combine(local.date() - DAY, at, tzinfo=zone)


def digest_due(at: time, now: datetime, zone: tzinfo, made_at: datetime | None, begun_at: datetime | None) -> bool:
    """Once for each such moment, however often the program begins anew; after days without one, once. `begun_at`: failsafe's first event here."""
    moment = last_moment(at, now, zone)
    before = made_at or begun_at
    return before is not None and before < moment


def make_digest(facts: DigestFacts, zone: tzinfo) -> Notice:
    status = facts.status
    bad = [finding for finding in status.findings if finding.severity is Severity.FAIL]
    warned = [finding for finding in status.findings if finding.severity is Severity.WARN]
    severity = Severity.FAIL if bad else Severity.WARN if warned else Severity.OK
    said = f"{len(bad)} fault(s), {len(warned)} warning(s)" if bad or warned else "all is well"
    worst = (*bad, *warned)
    return Notice(
        subject=f"the day: {said}",
        losing_mail=_losing(status),
        mail_goes="; ".join(f"{each.domain}: to the {each.serving}" for each in status.domains[:5]) or "no domain is watched",
        must_do=worst[0].mend or "failsafe status" if worst else "nothing",
        since=facts.since,
        thread=f"digest/{facts.now.astimezone(zone):%Y-%m-%d}",
        severity=severity,
        details="\n".join(_lines(facts, zone)),
    )


def _losing(status: Status) -> str:
    lying = [each.domain for each in status.domains if each.health.get("inbound") == "lying"]
    gone = [each.domain for each in status.domains if each.health.get("delivery") == "down"]
    if lying or gone:
        return f"perhaps: look at {', '.join(sorted({*lying, *gone}))}"
    return "no"


def _lines(facts: DigestFacts, zone: tzinfo) -> Iterator[str]:
    findings = [f"! {finding.subject}: {finding.text}" for finding in facts.status.findings]
    yield from _bounded(findings, FINDINGS)
    for server in facts.status.servers:
        yield f"backup of {server.server}: {_backup(server, facts.now)}"
    for repository in facts.status.repositories:
        yield f"repository {repository.repository}: {_repository(repository, facts.now)}"
    yield from _flips(facts, zone)
    for day in facts.servers:
        yield from _server(day, facts)


def _backup(server: ServerStatus, now: datetime) -> str:
    point = "never complete" if server.recovery_point_at is None else f"complete {spoken_age(now - server.recovery_point_at)} ago"
    count = "" if server.messages is None else f", {server.messages} messages"
    return f"{server.status}, {point}{count}"


def _repository(repository: RepositoryStatus, now: datetime) -> str:
    def ago(at: datetime | None) -> str:
        return "never" if at is None else f"{spoken_age(now - at)} ago"

    drill = repository.drill
    drilled = (
        "no restore drill yet" if drill is None else f"restore drill {'passed' if drill.passed else 'FAILED'} {ago(drill.at)}"
    )
    return f"{repository.status}, snapshot {ago(repository.last_snapshot_at)}, checked {ago(repository.last_check_at)}, {drilled}"


def _flips(facts: DigestFacts, zone: tzinfo) -> Iterator[str]:
    told = [f"{spoken_instant(at, zone)} {subject}: {text}" for at, name, subject, text in facts.happened if name in TOLD]
    if told:
        yield "flips:"
        yield from _bounded([f"  {line}" for line in told], FLIPS)
    elif facts.status.domains:
        yield "flips: none"


def _server(day: ServerDay, facts: DigestFacts) -> Iterator[str]:
    probes = [_probes(name, runs, facts.since) for name, runs in _by_look(day.runs)]
    if any(probes):
        yield f"probes of {day.server}: {'; '.join(text for text in probes if text)}"
    if day.inside:
        yield f"inside {day.server}: {'; '.join(_inside(day.inside[-1], facts.now))}"
        yield from _log(day)
    if day.canaries:
        yield f"canaries of {day.server}: {_canaries(day.canaries)}"


def _by_look(runs: Iterable[EvidenceRun]) -> list[tuple[str, list[EvidenceRun]]]:
    groups: dict[str, list[EvidenceRun]] = {}
    for run in runs:
        groups.setdefault(f"{run.evidence.axis} from {run.evidence.vantage}", []).append(run)
    return sorted(groups.items())


def _probes(name: str, runs: list[EvidenceRun], since: datetime) -> str:
    """A run that began before the day counts for the part of it that lies in the day."""
    seen: Counter[str] = Counter()
    up = 0
    for run in runs:
        count = _within(run, since)
        seen[str(run.evidence.seen)] += count
        up += count if run.evidence.seen in ACCEPTING else 0
    whole = sum(seen.values())
    if not whole:
        return ""
    others = ", ".join(f"{count} {kind}" for kind, count in seen.most_common() if kind not in ACCEPTING and count)
    return f"{name} {up} of {whole} up" + (f" ({others})" if others else "")


def _within(run: EvidenceRun, since: datetime) -> int:
    if run.last_at < since:
        return 0
    whole = (run.last_at - run.first_at).total_seconds()
    share = 1.0 if run.first_at >= since or not whole else (run.last_at - since).total_seconds() / whole
    return max(1, round(run.count * share))


def _inside(numbers: Mapping[str, Any], now: datetime) -> Iterator[str]:
    rooms = [(free / total, path) for path, total, free, *_ in numbers.get("rooms", ()) if total]
    if rooms:
        share, path = min(rooms)
        yield f"{share:.0%} of its room is free at {path}"
    queue = numbers.get("queue")
    if queue is not None:
        count = sum(entry[0] for entry in queue["queues"].values())
        oldest = min((datetime.fromisoformat(entry[1]) for entry in queue["queues"].values()), default=None)
        yield f"{count} in the queue" + ("" if oldest is None else f", the oldest for {spoken_age(now - oldest)}")
    ends = [(datetime.fromisoformat(until), path) for path, until in numbers.get("certificates", ())]
    if ends:
        until, path = min(ends)
        yield f"certificate {path} lasts {(until - now).days} days"
    if load := numbers.get("load"):
        yield f"load {load[1]}"


def _log(day: ServerDay) -> Iterator[str]:
    kinds: Counter[str] = Counter()
    flow: Counter[str] = Counter()
    looked = [numbers["log"] for numbers in day.inside if numbers.get("log")]
    for log in looked:
        kinds.update(log["kinds"])
        flow.update(log["flow"])
    if not looked:
        return
    lines = sum(kinds.values()) + sum(log["rest"] for log in looked)
    moved = ", ".join(f"{count} {name}" for name, count in flow.most_common())
    yield f"mail log of {day.server}: {moved or 'no mail moved'}; {lines} line(s) of warnings and errors"
    yield from _bounded([f"  {count} x {kind[:KIND_LENGTH]}" for kind, count in kinds.most_common()], KINDS)


def _canaries(rows: tuple[Mapping[str, Any], ...]) -> str:
    took = [row["seconds"] for row in rows if row.get("new") and row.get("seconds") is not None]
    lost = max(0, rows[-1]["lost"] - rows[0]["lost"])
    ways = f"{len(took)} arrived" + (f", most in {median(took):.0f} s, the slowest in {max(took):.0f} s" if took else "")
    return f"{ways}; {lost} lost" + (f"; {rows[-1]['overdue']} overdue now" if rows[-1]["overdue"] else "")


def _bounded(lines: list[str], count: int) -> Iterator[str]:
    yield from lines[:count]
    if len(lines) > count:
        yield f"  and {len(lines) - count} more"
