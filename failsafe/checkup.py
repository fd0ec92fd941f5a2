"""Gathers what the doctor judges, from everywhere, at the same time where that is possible; then keeps the findings. Judges nothing itself."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from failsafe.app import App
from failsafe.backup.doctor import (
    MachineCheckup,
    RepositoryCheckup,
    ServerCheckup,
    Space,
    judge_clock,
    judge_machine,
    judge_repository,
    judge_retention,
    judge_server,
)
from failsafe.backup.doctor_access import INSTALLED, SENT
from failsafe.backup.drill_doctor import DrillCheckup, judge_drill
from failsafe.backup.protocol import MailboxFacts
from failsafe.buckets import look_at_bucket
from failsafe.checkup_people import late_duties, look_at_accounts, look_at_notify
from failsafe.config.keep import keep_warning
from failsafe.config.vantages import vantages_of
from failsafe.dns_ports import Lookups
from failsafe.domains import Domains
from failsafe.errors import ExternalError, FailsafeError, ProcessError
from failsafe.failover.doctor import DomainCheckup, Exchange, is_ready, judge_domain
from failsafe.failover.doctor_inside import judge_inside
from failsafe.failover.doctor_provider import WRITE_PROOF
from failsafe.failover.doctor_vantages import BanCheckup, VantageCheckup
from failsafe.failover.domain_checks.published import judge_sending
from failsafe.failover_drills import last_drill
from failsafe.inside_checkup import look_at_inside
from failsafe.kits.gather import look_at_kit
from failsafe.looks.bans import look_at_bans
from failsafe.maintenance import rules_of
from failsafe.model import Axis, Finding
from failsafe.ports import MailSource
from failsafe.providers import look_at_provider
from failsafe.published import look_at_published, make_lookups
from failsafe.secondary import look_at_secondary, note_exchange, refused_until
from failsafe.sending import look_at_sending
from failsafe.status.drilled import Drilled
from failsafe.status.upkeep import reading_of
from failsafe.store.duties import DoctorRun

THREADS = 8
SILENT = 3  # mailboxes for which a mail server could not be reached
LACKING = 20  # places named in a finding
STAGING_FILES = 200_000  # counted at most; staging has a few thousand


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
        server_looks = [pool.submit(_server, app, server) for server in servers]
        bans = {server: pool.submit(look_at_bans, app, server) for server in servers}  # before those that wait for them
        domain_looks = [pool.submit(_domain, app, domains, lookups, name, began, prove, bans) for name in names]
        watched = sorted({table.server for table in app.config.domain.values()})
        sending = [pool.submit(look_at_sending, app, server, lookups, began) for server in watched]
        inside_looks = [pool.submit(look_at_inside, app, server, began) for server in servers]
        buckets = [pool.submit(look_at_bucket, app, name) for name in sorted(app.config.repository)]
        machine = _machine(app, began)
        server_facts = [look.result() for look in server_looks]
        domain_facts = [look.result() for look in domain_looks]
        inside_facts = [look.result() for look in inside_looks]
    now = app.clock.now()
    shared = (*judge_machine(machine), judge_clock(server_facts), *late_duties(app, now))
    by_domain = {name: judge_domain(facts, now) for name, facts in zip(names, domain_facts, strict=True)}
    findings = (
        *(finding for found in by_domain.values() for finding in found),
        *(finding for facts in server_facts for finding in judge_server(facts, now)),
        *(finding for look in sending for finding in judge_sending(look.result())),
        *(finding for facts in inside_facts for finding in judge_inside(facts, now)),
        *(finding for facts in _repositories(app) for finding in (judge_repository(facts, now), judge_retention(facts))),
        *(judge_drill(facts, now) for facts in _drills(app)),
        *(finding for look in buckets for finding in look.result()),
        *shared,
    )
    ready = {name: is_ready((*found, *shared)) for name, found in by_domain.items()}
    app.duties.add_doctor_run(DoctorRun(began, [_finding_json(finding) for finding in findings], ready))
    app.duties.ended("doctor", app.clock.now(), ok=True, result="ok")  # having looked is its duty, by hand as by the daemon
    return Diagnosis(began, findings, ready)


# -- domains -------------------------------------------------------------------------------------------------------------


def _domain(
    app: App,
    domains: Domains,
    lookups: Lookups,
    name: str,
    now: datetime,
    prove: Collection[str],
    bans: Mapping[str, Future[BanCheckup]],
) -> DomainCheckup:
    facts = domains.gather(name, now, fresh_zone=True)
    table = app.domain(name)
    probe = app.config.probe.get(table.server)
    recipient = None if probe is None else probe.recipient
    of_this_domain = recipient if recipient is not None and recipient.lower().endswith(f"@{name}") else None
    helo = None if probe is None else probe.helo
    ca_file = None if probe is None or probe.ca_file is None else str(probe.ca_file)
    written = [flip.outcome_at for flip in domains.journal.flips(name, now - WRITE_PROOF) if flip.outcome_at is not None]
    exchanges = {
        **{each: _exchange(each) for each in table.primary},
        **{each: _ask_exchange(app, each, _Asking(table.server, of_this_domain, helo, ca_file), now) for each in table.secondary},
    }
    views = domains.views(name, now)
    may_speak = not any(view.blocked for view in views)
    inbound = tuple(view for view in views if view.axis is Axis.INBOUND)
    return DomainCheckup(
        facts=facts,
        exchanges=exchanges,
        views=views,
        probe_configured=probe is not None,
        recipient=recipient,
        helo=helo,
        last_write_at=max(written, default=None),
        drill=last_drill(app, name),
        provider=look_at_provider(app, name, facts.policy.zone, now, prove=name in prove),
        published=look_at_published(app, name, facts.policy.zone, lookups, now, may_speak=may_speak),
        secondary=look_at_secondary(app, name, lookups, now),
        watch=VantageCheckup(vantages_of(app.config, table.server), inbound, bans[table.server].result()),
    )


@dataclass(frozen=True, slots=True)
class _Asking:
    """How to speak with a secondary: as the probe speaks with the primary."""

    server: str
    recipient: str | None
    helo: str | None
    ca_file: str | None


def _ask_exchange(app: App, name: str, asking: _Asking, now: datetime) -> Exchange:
    """One that refuses this machine itself is left alone for some days: to ask on is what gets a prober banned."""
    until = refused_until(app.duties.all(), name, now)
    if until is None:
        seen = _exchange(name, asking)
        if seen.seen is not None:
            note_exchange(app, name, seen.seen, now)
        return seen
    return replace(_exchange(name), text=f"it refused this machine, and is left alone until {until:%Y-%m-%d %H:%M} UTC")


def _exchange(name: str, asking: _Asking | None = None) -> Exchange:
    from failsafe.adapters.exchange import look_at_exchange

    sight = look_at_exchange(name)
    if asking is None or not sight.addresses:
        return Exchange(
            name, sight.addresses, sight.alias_of, sight.error, None, sight.error or "not asked", unknown=sight.unknown
        )
    from failsafe.adapters.smtp import Patience, SmtpProbe

    patience = Patience(look_up=10, connect=10, greeting=20, command=15, whole=45)
    look = SmtpProbe(
        asking.server, [f"{name}:25"], asking.recipient, asking.helo, patience=patience, ca_file=asking.ca_file
    ).look()
    return Exchange(name, sight.addresses, sight.alias_of, sight.error, look.seen, look.text)


# -- servers -------------------------------------------------------------------------------------------------------------


def _server(app: App, name: str) -> ServerCheckup:
    table = app.server(name)
    good = app.duties.last_backup(name, result="ok")
    base = ServerCheckup(
        server=name,
        over_ssh=table.ssh is not None,
        backup_every=table.backup_every,
        good_backup_at=None if good is None else good.started_at,
        domains=tuple(domain for domain, row in app.config.domain.items() if row.server == name),
        reads_files=table.layout != "imap" and table.read == "files",
        accounts=look_at_accounts(app, name),
    )
    source = app.mail_source(name)
    if source is not None:
        return _over_imap(_changed(base, over_imap=True, keeps_logins=table.layout == "imap"), source)
    from failsafe.backup.extras import look_at
    from failsafe.backup.source import open_source
    from failsafe.config.wanted import wanted_of

    try:
        with open_source(app.mail_host(name), wanted_of(table)) as (session, found):
            asked_at = app.clock.now()
            helper = SENT if session.hello["mode"] == "sent" else INSTALLED
            vitals = session.vitals()
            boxes = list(session.survey())
            missing = (*found.missing, *look_at(session, found.reach.trees))
    except FailsafeError as error:
        return _changed(base, error=str(error), mend=error.mend)
    return _changed(
        base,
        helper=helper,
        mailboxes=tuple(box.mailbox for box in boxes),
        closed=tuple((box.mailbox, why) for box in boxes if (why := _hidden(box))),
        mend=f"failsafe backup {name} lists all of it, and is incomplete until it is mended",
        sources=found.shown,
        lacking=tuple(f"{one.name}: {one.why}" for one in missing[:LACKING]),
        spaces=tuple(_space(root) for root in vitals.get("spaces") or vitals.get("roots") or () if isinstance(root, dict)),
        clock_offset=_offset(vitals.get("now"), asked_at),
    )


def _hidden(box: MailboxFacts) -> str:
    """What of a mailbox cannot be read; "" where all of it can."""
    place, why = box.problems[0] if box.problems else ("", "")
    return box.error or (f"{place}: {why}" if why else "")


def _over_imap(base: ServerCheckup, source: MailSource) -> ServerCheckup:
    """Opens every mailbox; nothing in it is read. Where the server cannot be reached for the first ones, the others are not tried."""
    closed: list[tuple[str, str]] = []
    mends: list[str] = []
    names: tuple[str, ...] = ()
    silent = 0
    try:
        names = source.mailboxes()
        for name in names:
            try:
                source.open(name).close()
                silent = 0
            except FailsafeError as error:
                closed.append((name, str(error)))
                mends.append(error.mend)
                silent += isinstance(error, ExternalError) and error.transient
                if silent >= SILENT:
                    return _changed(base, error=str(error), mend=error.mend)
    except FailsafeError as error:
        return _changed(base, error=str(error), mend=error.mend)
    return _changed(base, mailboxes=names, closed=tuple(closed), mend=next((mend for mend in mends if mend), ""))


def _changed(base: ServerCheckup, **values: Any) -> ServerCheckup:
    return replace(base, **values)


def _space(root: dict[str, Any]) -> Space:
    return Space(int(root["bytes_free"]), int(root["bytes"]), int(root["inodes_free"]), int(root["inodes"]), str(root["path"]))


def _offset(nanoseconds: Any, asked_at: datetime) -> timedelta | None:
    if not isinstance(nanoseconds, int):
        return None
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC) - asked_at


def _repositories(app: App) -> Iterable[RepositoryCheckup]:
    known = app.duties.repositories()
    for name, table in sorted(app.config.repository.items()):
        state = known.get(name)
        failed = state is not None and state.last_result not in ("", "ok")
        last_check_at = None if state is None else state.last_check_at
        reading = reading_of({} if state is None else state.details, table.check.every, last_check_at)
        yield RepositoryCheckup(
            name,
            table.check.every,
            None if state is None else state.last_snapshot_at,
            last_check_at,
            state.last_error or "no reason known" if state is not None and failed else "",
            damaged_at=None if reading is None else reading.coverage.damaged_at,
            reading="" if reading is None else str(reading),
            keep="" if rules_of(table).is_empty else str(rules_of(table)),
            maintenance_here=table.maintenance == "here",
            keep_warning=keep_warning(table),
        )


def _drills(app: App) -> Iterable[DrillCheckup]:
    known, duties = app.duties.repositories(), app.duties.all()
    for name, table in sorted(app.config.repository.items()):
        state, duty = known.get(name), duties.get(f"drill:{name}")
        details = {} if state is None else state.details
        drill, since = Drilled.of(details), (details.get("added") or {}).get("since")
        first = None if state is None else state.last_snapshot_at if since is None else datetime.fromisoformat(since)
        yield DrillCheckup(
            name,
            table.drill_every,
            first,
            None if duty is None else duty.ok_at,
            "" if drill is None else drill.describe(),
            failed=drill is not None and not drill.passed,
        )


# -- this machine --------------------------------------------------------------------------------------------------------


def _machine(app: App, now: datetime) -> MachineCheckup:
    from failsafe.adapters.own_line import OwnLineCheck
    from failsafe.config.files import file_faults
    from failsafe.store.engine import NETWORK_FILE_SYSTEMS, file_system_of

    faults, warnings = file_faults(app.config)
    usage = shutil.disk_usage(app.state_dir)
    line = OwnLineCheck([str(address) for address in app.config.own_line.references]).look(now)
    kind = file_system_of(app.state_dir)
    version, restic_error, too_old, unknown = _restic(app)
    return MachineCheckup(
        space=Space(usage.free, usage.total),
        staging_bytes=_size(app.state_dir / "staging"),
        exposed=tuple(str(folder) for folder in _exposed(app)),
        secret_faults=tuple(faults),
        secret_warnings=tuple(warnings),
        file_system=kind,
        is_network_file_system=kind in NETWORK_FILE_SYSTEMS and app.config.controller.database == "sqlite",
        restic=version,
        restic_error=restic_error,
        restic_too_old=too_old,
        restic_unknown=unknown,
        notify=look_at_notify(app, now),
        own_line=(line.answered, line.asked),
        kit=look_at_kit(app),
    )


def _exposed(app: App) -> list[Path]:
    """Folders of mail that others may enter. What lies below a closed folder is closed."""
    staging = app.state_dir / "staging"
    if not staging.is_dir() or not app.state_dir.stat().st_mode & 0o077:
        return []
    return [
        folder
        for folder in sorted(staging.iterdir())
        if folder.is_dir() and staging.stat().st_mode & 0o077 and folder.stat().st_mode & 0o077
    ][:5]


def _size(folder: Path) -> int:
    total = 0
    for count, path in enumerate(folder.rglob("*")):
        if count >= STAGING_FILES:
            break
        try:
            total += path.lstat().st_size
        except OSError:
            continue  # collected in the meantime
    return total


def _restic(app: App) -> tuple[str, str, bool, bool]:
    """(version, error, older than we support, newer than we know)."""
    if not app.config.repository:
        return "", "no repository is configured, so nothing is backed up", False, False
    from failsafe.adapters.process import Command, base_environment, run
    from failsafe.adapters.restic.capabilities import parse_version

    try:
        finished = run(Command(("restic", "version"), base_environment(), deadline=timedelta(seconds=30)))
    except ProcessError as error:
        return "", str(error), False, False
    found = parse_version("\n".join(finished.stdout))
    if found is None:
        return "", "restic does not say its version", False, False
    return found.text, "", not found.is_supported, found.is_supported and not found.is_known


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {**asdict(finding), "severity": str(finding.severity)}
