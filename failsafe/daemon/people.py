"""Telling people: the outbox, reminders while something lasts, late duties, and the heartbeat. Runs in one thread of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from failsafe.adapters.notify import failures
from failsafe.app import App
from failsafe.backup.freshness import Overdue, may_send_heartbeat
from failsafe.daemon.digest import is_due, tell_the_day
from failsafe.daemon.remind import reminder_due
from failsafe.errors import FailsafeError
from failsafe.events import Event
from failsafe.failover.incident import Waiting, bundle_notices
from failsafe.failover.notices import BOUNCED, GOES_PRIMARY, LOST, QUEUED, thread_of
from failsafe.failover.ways_out import with_way_out
from failsafe.logs import get_log
from failsafe.model import DomainState, Finding, Notice, Severity, Verdict
from failsafe.ports import Notifier
from failsafe.render import spoken_age
from failsafe.status.build import begun_at, build_status, last_runs
from failsafe.status.findings import CREDENTIAL_ENDS
from failsafe.status.roster import Roster, roster_of
from failsafe.status.values import DomainStatus, Status
from failsafe.status.watched import watches_all
from failsafe.store.events import PendingNotice
from failsafe.store.journal import Journal

LOOK_EVERY = timedelta(minutes=1)  # at late duties and reminders
HEARTBEAT_EVERY = timedelta(minutes=5)
HEARTBEAT_AGAIN = timedelta(seconds=10)  # while something is late: a look at the database, and the first beat after the mend
OUTBOX_EVERY = timedelta(seconds=2)
OVERDUE_AGAIN = timedelta(days=1)  # a duty that stays late is told once a day
ENDING_AGAIN = timedelta(days=7)  # and a credential that ends, once a week


@dataclass(slots=True)
class People:
    """`step` is called every second or two; each part keeps its own time."""

    app: App
    roster: Roster
    _outbox_at: datetime | None = None
    _looked_at: datetime | None = None
    _beat_at: datetime | None = None
    _day_at: datetime | None = None

    @classmethod
    def of(cls, app: App) -> People:
        return cls(app, roster_of(app.config))

    def step(self, now: datetime, *, leader: bool) -> None:
        """Never raises for what the outside does. `leader` False: another controller speaks."""
        if not leader:
            return
        for part in (self._outbox, self._late_and_lasting, self._day, self._heartbeat):
            try:
                part(now)
            except FailsafeError as error:
                get_log().warning("people", part=part.__name__.strip("_"), error=str(error))

    def status(self, now: datetime) -> Status:
        return build_status(self.roster, self.app.glance(), now)

    # -- the outbox ------------------------------------------------------------------------------------------------------

    def _outbox(self, now: datetime) -> None:
        if not _due(self._outbox_at, OUTBOX_EVERY, now):
            return
        self._outbox_at = now
        waiting = self.app.events.pending_notices(now)
        if not waiting:
            return
        notifier = self.app.notifier()
        pending = {each.id: each for each in waiting}
        servers = {name: table.server for name, table in self.app.config.domain.items()}
        held = [Waiting(each.id, each.notice, each.created_at) for each in waiting]
        for bundle in bundle_notices(held, servers, now):
            self._send(notifier, bundle.notice, [pending[number] for number in bundle.numbers], now)

    def _send(self, notifier: Notifier | None, notice: Notice, told: list[PendingNotice], now: datetime) -> None:
        """One notice, for all that it tells."""
        failed = ""
        try:
            deliveries = notifier.send(notice) if notifier is not None else ()  # nobody wants to be told; `doctor` says so
            failed, arrived = failures(deliveries), notifier is None or any(delivery.arrived for delivery in deliveries)
        except FailsafeError as error:
            failed, arrived = str(error), False
        if failed:
            self._not_told(min(each.attempts for each in told), notice, failed, now)
        for each in told:
            if arrived:
                self.app.events.notice_delivered(each.id, now)  # sending to all again would tell the others twice
            else:
                self.app.events.notice_failed(each, failed, now)

    def _not_told(self, attempts: int, notice: Notice, failed: str, now: datetime) -> None:
        if attempts == 0:
            self.app.record(Event("notice.failed", notice.thread, f"{notice.subject}: {failed}", now))

    # -- what lasts ------------------------------------------------------------------------------------------------------

    def _late_and_lasting(self, now: datetime) -> None:
        if not _due(self._looked_at, LOOK_EVERY, now):
            return
        self._looked_at = now
        status = self.status(now)
        for late in status.overdue:
            last = self.app.events.last("duty.overdue", late.name)
            again = last is None or not timedelta(0) <= now - last.at <= OVERDUE_AGAIN
            if again or (last is not None and late.ok_at is not None and last.at < late.ok_at):
                self.app.record(_overdue_event(late, now))
        for event in ending_credentials(status, now):
            last = self.app.events.last(event.name, event.subject)
            if last is None or not timedelta(0) <= now - last.at < ENDING_AGAIN:
                self.app.record(event)
        for domain in status.domains:
            if not lasts(domain) or domain.since is None:
                continue
            self._remind(domain, domain.since, now)

    def _remind(self, domain: DomainStatus, since: datetime, now: datetime) -> None:
        """Counted from the beginning of the outage: a primary that comes and goes must not begin the count anew."""
        record = Journal(self.app.store, None).load(domain.domain, now)
        since = record.suspected_at or since
        reminded = self.app.events.last("domain.reminded", domain.domain)
        if reminder_due(since, None if reminded is None else reminded.at, now):
            self.app.record(reminder(domain, since, thread_of(record), now))

    def _day(self, now: datetime) -> None:
        """The digest. Gathering it reads much, so it is asked for first whether it is due."""
        if self.app.config.notify.digest_at is None or not _due(self._day_at, LOOK_EVERY, now):
            return
        self._day_at = now
        if is_due(self.app, now):
            tell_the_day(self.app, self.status(now), now)

    # -- the heartbeat ---------------------------------------------------------------------------------------------------

    def _heartbeat(self, now: datetime) -> None:
        file = self.app.config.notify.heartbeat_url_file
        if file is None or not _due(self._beat_at, HEARTBEAT_EVERY, now):
            return
        self._beat_at = now
        glance = self.app.glance()
        first = glance.one("first_event")
        since = None if first is None else first["at"]
        fresh = may_send_heartbeat(self.roster.duties, last_runs(glance), now, since, begun_at(glance))
        if not fresh or not watches_all(self.roster, glance, now):
            self._beat_at = now - HEARTBEAT_EVERY + HEARTBEAT_AGAIN
            return
        from failsafe.adapters.heartbeat import Heartbeat

        Heartbeat(file).send()


def _due(last: datetime | None, every: timedelta, now: datetime) -> bool:
    return last is None or now < last or now - last >= every


def _overdue_event(late: Overdue, now: datetime) -> Event:
    kind, _, subject = late.name.partition(":")
    said = "it has never gone well" if late.ok_at is None else f"it last went well {spoken_age(now - late.ok_at)} ago"
    losing = "Not now, but what arrives is not safe yet." if kind == "backup" else "No."
    commands = {
        "backup": f"failsafe backup {subject}",
        "snapshot": f"failsafe backup --repository {subject}",
        "homecoming": f"failsafe homecoming {subject}",
        "check": f"failsafe verify --repository {subject}",
        "drill": f"failsafe drill restore --repository {subject}",
        "forget": f"failsafe forget --repository {subject}",
        "prune": f"failsafe prune --repository {subject}",
    }
    command = commands.get(kind, f"failsafe {kind}")
    notice = Notice(
        subject=f"{kind} {subject} is overdue".replace("  ", " "),
        losing_mail=losing,
        mail_goes="Where it went before.",
        must_do=command,
        since=late.deadline_at,
        thread=f"duty/{late.name}",
        severity=Severity.FAIL,
        details=f"{late.name}: {said}",
    )
    return Event("duty.overdue", late.name, f"{late.name} is overdue: {said}", now, notice=notice)


def ending_credentials(status: Status, now: datetime) -> list[Event]:
    """One event for each credential that ends soon or has ended, however many domains use it."""
    found: dict[str, list[Finding]] = {}
    for finding in status.findings:
        if finding.code == CREDENTIAL_ENDS:
            found.setdefault(finding.text, []).append(finding)
    events = []
    for text, alike in found.items():
        names = ", ".join(finding.subject for finding in alike)
        notice = Notice(
            subject=f"{alike[0].subject}: the DNS provider's credential ends",
            losing_mail="No. Without it no failover of these domains can be written.",
            mail_goes="Where it went before.",
            must_do=alike[0].mend,
            since=None,
            thread=f"credential/{alike[0].subject}",
            severity=alike[0].severity,
            details=f"{text} ({names})",
        )
        events.append(Event("credential.ending", alike[0].subject, f"{text} ({names})", now, notice=notice))
    return events


def lasts(domain: DomainStatus) -> bool:
    """Whether a person should hear of it again: also an outage that nothing was done about, and a failback that waits for someone."""
    if domain.state is DomainState.SUSPECT:
        return not {Verdict.DOWN, Verdict.LYING}.isdisjoint((domain.health["inbound"], domain.health["delivery"]))
    return domain.state in (DomainState.FAILED_OVER, DomainState.RECOVERING, DomainState.HALTED)


def _losing(domain: DomainStatus) -> str:
    """Of a suspected primary."""
    if domain.health["inbound"] == Verdict.LYING:
        return BOUNCED
    return LOST if domain.health["inbound"] == Verdict.UP and domain.health["delivery"] == Verdict.DOWN else QUEUED


def reminder(domain: DomainStatus, since: datetime, thread: str, now: datetime) -> Event:
    """What is still so, with the one command that ends it."""
    name = domain.domain
    losing, goes, must_do, severity = {
        DomainState.SUSPECT: (
            _losing(domain), GOES_PRIMARY, f"failsafe failover {name}", Severity.FAIL
        ),
        DomainState.HALTED: (
            "Not known: a person must look.", f"To the {domain.serving}, as far as is known.",
            domain.halt.must_do if domain.halt is not None else f"failsafe acknowledge {name} --serving primary|secondary", Severity.FAIL,
        ),
        DomainState.RECOVERING: ("No: the secondary takes it.", "To the secondary.", f"failsafe failback {name}", Severity.WARN),
    }.get(domain.state, ("No: the secondary takes it.", "To the secondary.", "bring the primary back; failsafe sees it", Severity.WARN))  # fmt: skip
    halt = () if domain.halt is None else domain.halt.lines()
    details = "\n".join([*halt, *(with_way_out(guard, name) for guard in domain.guards)])
    notice = Notice(f"{name} is still {domain.state}", losing, goes, must_do, since, thread, severity, details)
    return Event("domain.reminded", name, f"is still {domain.state}; it began {spoken_age(now - since)} ago", now, notice=notice)
