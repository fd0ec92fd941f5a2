"""Status in words, for a tired person: is my mail safe, where does mail go now, what must I do? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from failsafe.failover.ways_out import with_way_out
from failsafe.model import DomainState, Severity, Side
from failsafe.render import spoken_age, spoken_instant
from failsafe.status.course import describe_pull, describe_work
from failsafe.status.drilled import render_drill
from failsafe.status.findings import MOVING
from failsafe.status.flips import render_halt, render_observed
from failsafe.status.values import DomainStatus, MailboxStatus, RepositoryStatus, Status, Upload


@dataclass(frozen=True, slots=True)
class Answers:
    """One sentence each; `mood` is "good", "look" or "bad" and only chooses a colour."""

    mail_safe: str
    mail_safe_mood: str
    mail_goes: tuple[str, ...]
    mail_goes_mood: str
    must_do: tuple[str, ...]  # "nothing" alone, or what to type, most urgent first


def answer_all(status: Status, zone: tzinfo) -> Answers:
    safe, mood = _mail_safe(status, zone)
    goes = tuple(_mail_goes(domain, zone) for domain in status.domains) or (
        "No domain is configured, so nobody watches where mail goes.",
    )
    calm = all(domain.state is DomainState.NORMAL and domain.health["inbound"] == "up" for domain in status.domains)
    bad = any(domain.state is DomainState.HALTED or _drifted(domain) for domain in status.domains)
    return Answers(safe, mood, goes, "bad" if bad else "good" if calm else "look", _must_do(status))


def _mail_safe(status: Status, zone: tzinfo) -> tuple[str, str]:
    if not status.servers:
        return "Not known: no mail server is configured.", "look"
    mine = [server for server in status.servers if not server.is_secondary]
    bad = [server for server in mine if server.status != "ok"]
    pulling = [server for server in bad if server.status == "pulling" and server.pull is not None]
    if pulling and len(pulling) == len(bad):
        told = [
            f"{server.server}: {describe_pull(server.pull, status.at, zone)}" for server in pulling if server.pull is not None
        ]
        return f"Not yet: the first pull is under way. {'; '.join(told)}.", "look"
    for server in (server for server in bad if server not in pulling):
        point = server.recovery_point_at
        held = (
            "There is no complete backup."
            if point is None
            else f"The last complete backup is {spoken_age(status.at - point)} old."
        )
        return f"No: {server.server} is {_spoken_status(server.status)}. {held}", "bad"
    points = [server.recovery_point_at for server in mine if server.recovery_point_at is not None]
    failing = [each.repository for each in status.repositories if each.status != "ok"]
    good = [each for each in status.repositories if each.status == "ok"]
    if not good or not points:
        return f"No: no repository is well ({', '.join(failing)}).", "bad"
    held = _held(status, good, min(points))
    guarded = [f"{guard.code} ({server.server})" for server in mine for guard in server.guards]
    if guarded:
        return f"Look: a guard stands, {', '.join(dict.fromkeys(guarded))}; everything up to {held}.", "look"
    if failing:
        return f"Partly: everything up to {held}, but not surely in {', '.join(failing)}.", "look"
    return f"Yes: everything up to {held}.", "good"


def _held(status: Status, good: list[RepositoryStatus], point: datetime) -> str:
    """`5 min ago is in 2 repositories (nas, usb), up to 5 h ago in offsite`: each repository with its own age, the freshest first."""
    ages: dict[str, list[str]] = {}
    for each in sorted(good, key=lambda each: each.holds_at or point, reverse=True):
        at = point if each.holds_at is None else min(each.holds_at, point)
        ages.setdefault(spoken_age(status.at - at), []).append(each.repository)
    (age, names), *behind = ages.items()
    counted = f"{len(names)} repositor{'y' if len(names) == 1 else 'ies'} ({', '.join(names)})"
    return "".join([f"{age} ago is in {counted}", *(f", up to {older} ago in {', '.join(late)}" for older, late in behind)])


def _spoken_status(status: str) -> str:
    return {"never": "not backed up yet", "incomplete": "not proven complete", "failed": "failing", "overdue": "overdue"}.get(
        status, status
    )


def _mail_goes(domain: DomainStatus, zone: tzinfo) -> str:
    exchanges = [exchange for _preference, exchange in domain.mx]
    first = f" ({exchanges[0]})" if exchanges else ""
    since = f" since {spoken_instant(domain.since, zone)}" if domain.since is not None else ""
    where = "the primary" if domain.serving is Side.PRIMARY else "the secondary"
    if domain.state is DomainState.HALTED:
        return f"{domain.domain}: halted{since}; the last known is {where}{first}."
    if domain.state in MOVING:
        return f"{domain.domain}: it is being moved now ({domain.state}){since}."
    if _drifted(domain):
        drift = next(guard.text for guard in domain.guards if guard.code == "drift")
        asked = f"senders ask {exchanges[0]} first" if exchanges else "there is no MX record"
        return f"{domain.domain}: {asked}; that is not what failsafe expects ({domain.state}, serving {where}): {drift}."
    if domain.state is DomainState.NORMAL:
        doubt = {"up": "", "unknown": ", whose health is not known"}.get(
            domain.health["inbound"], f", which looks {domain.health['inbound']}"
        )
        return f"{domain.domain}: to the primary{first}{doubt}."
    extra = ", which does not look well" if domain.state is DomainState.SUSPECT else ""
    return f"{domain.domain}: to {where}{first}{extra}, {domain.state}{since}."


def _drifted(domain: DomainStatus) -> bool:
    return domain.state not in MOVING and any(guard.code == "drift" for guard in domain.guards)


def _must_do(status: Status) -> tuple[str, ...]:
    order = {Severity.FAIL: 0, Severity.WARN: 1}
    mends: list[str] = []
    for finding in sorted(status.findings, key=lambda each: order.get(each.severity, 2)):
        if finding.mend and not finding.mend.startswith("nothing") and finding.mend not in mends:
            mends.append(finding.mend)
    return tuple(mends[:5]) or ("nothing",)


def render_plain(status: Status, zone: tzinfo, *, mailboxes: bool = False) -> list[str]:
    """Plain lines for pipes and small terminals; `mailboxes`: each of them, instead of the one that is behind most."""
    answers = answer_all(status, zone)
    lines = [f"Is my mail safe?         {answers.mail_safe}"]
    lines += [f"{'Where does mail go now?' if not place else '':25}{text}" for place, text in enumerate(answers.mail_goes)]
    lines += [f"{'What must I do?' if not place else '':25}{text}" for place, text in enumerate(answers.must_do)]
    for domain in status.domains:
        seen = ", ".join(f"{each.vantage} {each.verdict}" for each in domain.vantages) or "nobody has looked"
        lines += ["", f"domain {domain.domain}: {domain.state}, serving {domain.serving}, mode {domain.mode}; vantages: {seen}"]
        lines += [f"  MX {preference} {exchange}" for preference, exchange in domain.mx]
        lines += [f"  {line}" for line in render_halt(domain)]
        lines += [f"  guard {with_way_out(guard, domain.domain)}" for guard in domain.guards]
        lines += [f"  {line}" for line in render_observed(domain, zone)]
        if domain.came_home is not None:
            lines.append(f"  homecoming {spoken_instant(domain.came_home.at, zone)}: {domain.came_home.describe()}")
        if domain.drill is not None:
            lines.append(f"  last failover drill {spoken_instant(domain.drill.at, zone)}: {domain.drill.describe()}")
    if status.servers:
        lines.append("")
    for server in status.servers:
        at = "never" if server.last_at is None else f"{server.last_result} at {spoken_instant(server.last_at, zone)}"
        lines.append(
            f"server {server.server}: {server.status}; last backup {at}, {server.messages if server.messages is not None else '?'} messages"
        )
        shown = server.mailboxes if mailboxes else server.mailboxes[:1]
        lines += [f"  {_mailbox_line(each, status.at, len(server.mailboxes), alone=not mailboxes)}" for each in shown]
        if server.pull is not None:
            lines.append(f"  pull: {describe_pull(server.pull, status.at, zone)}")
    if status.disk_full_at is not None:
        lines.append(
            f"disk with staging: full about {status.disk_full_at.astimezone(zone):%Y-%m-%d}, at the pace of the last weeks"
        )
    for repository in status.repositories:
        at = "never" if repository.last_snapshot_at is None else spoken_instant(repository.last_snapshot_at, zone)
        checked = "never" if repository.last_check_at is None else spoken_instant(repository.last_check_at, zone)
        lines.append(f"repository {repository.repository}: {repository.status}; last snapshot {at}; last check {checked}")
        lines += [f"  {render_drill(repository.drill, zone)}"] if repository.last_snapshot_at is not None else []
        lines += [f"  {_render_upload(repository.upload, zone)}"] if repository.upload else []
        lines += [f"  {describe_work(repository.work, status.at, zone)}"] if repository.work is not None else []
        lines += [f"  {render_bucket(repository.bucket)}"] if repository.bucket else []
        lines += [f"  {repository.reading}"] if repository.reading is not None else []
        lines += [f"  {repository.retention}"] if repository.last_snapshot_at is not None else []
    if status.findings:
        lines.append("")
    lines += [f"{finding.severity} {finding.subject}: {finding.text}" for finding in status.findings]
    return lines


def _render_upload(upload: Upload, zone: tzinfo) -> str:
    share = "" if upload.percent is None else f" ({upload.percent} %)"
    return f"a snapshot has been on its way since {spoken_instant(upload.since, zone)}: {upload.done / 1e9:.2f} GB done{share}"


def _mailbox_line(each: MailboxStatus, now: datetime, count: int, *, alone: bool) -> str:
    """`info@example.org proven safe up to 43 min ago (the oldest of 12 mailboxes)`."""
    name = "".join(letter if letter.isprintable() else "?" for letter in each.mailbox)
    safe = "never proven safe" if each.safe_at is None else f"proven safe up to {spoken_age(now - each.safe_at)} ago"
    later = each.proved_at is not None and each.proved_at != each.safe_at
    waits = (
        f"; complete up to {spoken_age(now - each.proved_at)} ago, not in a repository yet" if later and each.proved_at else ""
    )
    return f"{name} {safe}{waits}" + (f" (the oldest of {count} mailboxes)" if alone and count > 1 else "")


def render_bucket(bucket: Mapping[str, Any]) -> str:
    """One line of what the bucket said of itself."""
    known = {None: "not told", True: "on", False: "off"}
    locked = f"{bucket['lock_mode']} for {bucket['lock_days']} d" if bucket["lock_days"] else known[bucket["lock"]]
    can = {
        "denied": "cannot delete",
        "hides": "can hide but not delete",
        "for-good": "CAN DELETE for good",
        "unknown": "cannot write",
    }
    parts = [
        f"versioning {bucket['versioning'] or 'not told'}",
        f"object lock {locked}",
        f"this machine {can[bucket['deleting']]}",
    ]
    if bucket["rules"]:
        parts.append(f"LIFECYCLE RULES ACT ON BACKUPS ({len(bucket['rules'])})")
    if bucket["contents"] is not None:
        total = sum(each["bytes"] for each in bucket["contents"].values())
        parts.append(f"{bucket['contents']['snapshots']['files']} snapshots, {total / 1e9:.2f} GB really there")
    return f"bucket, looked at {bucket['at'][:10]}: {'; '.join(parts)}"
