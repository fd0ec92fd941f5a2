"""Puts the delivery of a homecoming together from the configuration, runs it, and keeps what came of it. Used by the verb and by the daemon's child."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from failsafe.adapters.lock import FileLock
from failsafe.app import App
from failsafe.backup.accounts import read_accounts
from failsafe.backup.archive.reader import Archive
from failsafe.canaries import canary_key
from failsafe.errors import (
    EXIT_EXTERNAL,
    EXIT_FINDINGS,
    EXIT_OK,
    EXIT_REFUSED,
    ArchiveError,
    ExternalError,
    Refused,
)
from failsafe.homecoming.bridge import without_additions
from failsafe.homecoming.deliver import Delivery
from failsafe.homecoming.folders import Place
from failsafe.homecoming.found import Found
from failsafe.homecoming.people import Addresses
from failsafe.homecoming.route import Rules, judge_found
from failsafe.homecoming.run import Outcome, run_homecoming
from failsafe.homecoming.sift import Goes, Route, Sifter, Stays, Verdict
from failsafe.homecoming.telling import Run, Told, tell
from failsafe.homecoming.tidying import tidy
from failsafe.homecoming_begin import begin_of_homecoming
from failsafe.homecoming_marks import mark_what_is_home
from failsafe.homecoming_primary import connector, scripts
from failsafe.homecomings import gather, gathered
from failsafe.mail.accounts import Accounts
from failsafe.model import DomainState, Result
from failsafe.ports import Narrator, Progress
from failsafe.status.homecoming import DUTY, Standing

IN_DOUBT = frozenset(
    {DomainState.SUSPECT, DomainState.HALTED}
)  # by itself nothing is given to such a primary; a person may say so
WAITS_JSON = 10_000
TIDY_EVERY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class HomecomingReport:
    """`held`: why nothing was given to the primary. `away`: because mail goes to the secondary now. `gathering`: what failed of it, "" else."""

    domain: str
    outcome: Outcome
    held: str = ""
    away: bool = False
    gathering: str = ""
    dry_run: bool = False
    scheduled: bool = False

    @property
    def exit_code(self) -> int:
        if self.outcome.error or self.gathering:
            return EXIT_EXTERNAL
        if self.held:
            return EXIT_OK if self.scheduled else EXIT_REFUSED if self.away else EXIT_FINDINGS
        return EXIT_FINDINGS if self.outcome.waiting else EXIT_OK

    def to_json(self) -> dict[str, Any]:
        found = self.outcome
        return {
            "domain": self.domain,
            "home": found.home,
            "already_there": found.already_there,
            "waiting": [
                {"message_id": each.message_id, "why": each.why, "mailbox": each.mailbox, "folder": each.folder}
                for each in found.waiting[:WAITS_JSON]
            ],
            "left": found.left,
            "to_bring": found.to_bring,
            "dry_run": self.dry_run,
            "held": self.held,
            "gathering": self.gathering,
            "error": found.error,
            "notes": list(found.notes),
        }


def standing_of(app: App, domain: str) -> Standing:
    return Standing.of(app.glance().by("domain_state", "domain").get(domain))


def bring_home(
    app: App, domain: str, progress: Progress, narrate: Narrator, *, dry_run: bool = False, scheduled: bool = False
) -> HomecomingReport:
    """Gathers, then delivers where the primary serves. What fails outside is in the report.

    Raises UsageError where the domain has no homecoming, LockBusy while another one of this domain is at work, ConfigError, StoreError.
    """
    begin = begin_of_homecoming(app, domain)
    with FileLock(app.lock_file(f"homecoming:{domain}"), f"homecoming of {domain}").hold():
        gathering = _gather(app, domain, progress, narrate)
        standing = standing_of(app, domain)
        held = _held(app, domain, standing, scheduled=scheduled)
        if held and scheduled:
            return HomecomingReport(domain, Outcome(), held, standing.is_away, gathering, scheduled=True)
        outcome = _run(app, domain, begin, progress, narrate, dry_run=dry_run, held=held)
        if not dry_run and not held:
            _keep(app, domain, standing, outcome)
            mark_what_is_home(app, domain, narrate)
            if not gathering:
                _tidy(app, domain)
        return HomecomingReport(domain, outcome, held, standing.is_away, gathering, dry_run, scheduled)


def _gather(app: App, domain: str, progress: Progress, narrate: Narrator) -> str:
    """What failed of it; what was gathered before comes home all the same."""
    try:
        report = gather(app, domain, progress, narrate)
    except (Refused, ExternalError) as error:
        narrate(f"gathering: {error}")
        return str(error)
    if report.result is not Result.FAILED:
        return ""
    troubles = "; ".join(trouble.text for trouble in report.troubles) or "a repository could not be written"
    narrate(f"gathering: {troubles}")
    return troubles


def _held(app: App, domain: str, standing: Standing, *, scheduled: bool) -> str:
    """Why nothing is given to the primary; "" where it may be."""
    home = app.domain(domain).homecoming
    assert home is not None, "gather sees to it"
    if standing.is_away:
        return f"{domain} is {standing.state}: mail is gathered into the archive now, and comes home after the failback"
    if scheduled and standing.state in IN_DOUBT:
        return f"{domain} is {standing.state}: mail is gathered into the archive now, and comes home when the primary is well"
    if home.deliver is None:
        return f'[domain."{domain}".homecoming] does not say how mail gets into the primary: add deliver = {{ host, port, master_user, password_file }}'
    return ""


def _run(app: App, domain: str, begin: datetime, progress: Progress, narrate: Narrator, *, dry_run: bool, held: str) -> Outcome:
    source, now, still = gathered(app, domain), app.clock.now, dry_run or bool(held)

    def bodies(found: Found) -> Iterator[bytes]:
        return without_additions(source.read(found))

    route = router(app, domain, begin)
    sifter = Sifter(domain, source, bodies, app.homecomings, route, since=begin, now=now, dry=still)
    delivery = Delivery(
        domain, app.homecomings, connector(app, domain, held), bodies, now, progress, narrate, scripts(app, domain)
    )
    return run_homecoming(sifter, delivery, progress, dry=still)


def router(app: App, domain: str, begin: datetime) -> Route:
    """Judges by the accounts and aliases of the primary's newest snapshot."""
    home = app.domain(domain).homecoming
    assert home is not None, "gather sees to it"
    rules = Rules(
        addresses_of(app, domain),
        begin,
        canary_key(app.state_dir) or b"",
        home.unroutable or "",
        "" if home.catch_all is None else home.catch_all.user,
    )

    def judge(found: Found, head: bytes) -> Verdict:
        routing = judge_found(found, head, rules)
        if routing.routes:
            return [Goes(each.mailbox, each.folder, each.folder == Place.SENT, each.why) for each in routing.routes]
        return Stays(routing.waits or routing.left, waits=bool(routing.waits))

    return judge


def addresses_of(app: App, domain: str) -> Addresses:
    """Where nothing was backed up of the primary yet, the mailboxes that the homecoming names."""
    table = app.domain(domain)
    archive = Archive(app.staging_folder(table.server))
    named = () if table.homecoming is None else tuple(account.mailbox for account in table.homecoming.accounts)
    try:
        generation = archive.generation()
        accounts = read_accounts(archive, generation)
    except ArchiveError:
        return Addresses(domain, named)
    return Addresses(domain, tuple(sorted({*generation.mailboxes, *named})), accounts or Accounts())


def _tidy(app: App, domain: str) -> None:
    """Once a day, and only after a gathering that went well: what an archive does not show may be there all the same."""
    name, now = f"homecoming-tidy:{domain}", app.clock.now()
    row = app.duties.all().get(name)
    if row is None or row.ended_at is None or not timedelta() <= now - row.ended_at < TIDY_EVERY:
        tidy(domain, gathered(app, domain).found(), app.homecomings, now)
        app.duties.ended(name, now, ok=True)


def _keep(app: App, domain: str, standing: Standing, outcome: Outcome) -> None:
    """What `status` shows, and what people are told."""
    now = app.clock.now()
    outage = app.events.last("failover.done", domain)
    since = None if outage is None else outage.at
    draining = standing.draining_until if standing.drains(now) else None
    counts = replace(app.homecomings.counts(domain, since), waiting=len(outcome.waiting))
    row = app.duties.all().get(f"{DUTY}:{domain}")
    run = Run(domain, now, outcome.home, counts, outcome.waiting, since, draining)
    told, events = tell(run, Told() if row is None else Told.of(row.details))
    with app.store.together():
        app.duties.ended(f"{DUTY}:{domain}", now, ok=not outcome.waiting and not outcome.error, details=told.to_json())
        for event in events:
            app.record(event)
