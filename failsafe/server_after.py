"""After the restore of a whole server: its key is kept, its services and its new address are looked at, and the words for a person are found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from failsafe.app import App
from failsafe.backup.server_words import Outcome, client_words, person_words
from failsafe.errors import FailsafeError
from failsafe.mail.manifest import Generation
from failsafe.model import Finding, Severity
from failsafe.server_restore import Plan, Report, doveadm_words
from failsafe.server_target import Service, Target, addresses_of, keep_host_key, leads_there, probe_services
from failsafe.server_verify import compare_over_imap

CERTIFICATES = ("fullchain", "privkey", "cert.pem", "cert1.pem", "key.pem", "letsencrypt/", "/certs/", "/ssl/")
DKIM = ("dkim", "rspamd/dkim", "mail.private")
SERIOUS = (Severity.FAIL, Severity.WARN)


@dataclass(frozen=True, slots=True)
class Ending:
    services: tuple[Service, ...]
    clients: list[str]
    person: list[str]
    findings: tuple[Finding, ...]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        shown = [
            {"code": one.code, "severity": str(one.severity), "subject": one.subject, "text": one.text, "mend": one.mend}
            for one in self.findings
        ]
        return {
            "services": [one.to_json() for one in self.services],
            "clients": self.clients,
            "to_do": self.person,
            "doctor": shown,
        }


def after(app: App, plan: Plan, report: Report, newest: Generation) -> Ending:
    """Looking may fail in any way; the mail is back all the same, so that is only told."""
    notes: list[str] = []
    server, target = plan.request.server, plan.target
    if not report.tally.missing_count:
        try:
            kept = keep_host_key(target)
        except FailsafeError as error:
            kept = f"the new host key could not be kept: {error}"
        notes += [kept] if kept else []
    services = _look_at_services(app, plan, report, notes)
    findings = _diagnose(app, server, target, notes)
    outcome = _outcome(app, plan, report, newest)
    person = person_words(outcome)
    person += [
        f"doctor: {one.code}: {one.text}" + (f" ({one.mend})" if one.mend else "") for one in findings if one.severity in SERIOUS
    ]
    return Ending(services, client_words(outcome), person, findings, notes)


def _look_at_services(app: App, plan: Plan, report: Report, notes: list[str]) -> tuple[Service, ...]:
    request, seen = plan.request, list[Service]()
    try:
        seen += probe_services(app, request.server, plan.target)
        if request.imap_password is not None:
            expected = report.tally.mailboxes
            seen.append(compare_over_imap(app, request.server, plan.target, expected, request.imap_user, request.imap_password))
    except FailsafeError as error:
        notes.append(f"services could not be looked at: {error}")
    return tuple(seen)


def _diagnose(app: App, server: str, target: Target, notes: list[str]) -> tuple[Finding, ...]:
    """The doctor, for the new address, with what is stored here: whether the next backup will get in."""
    from failsafe.checkup.run import run_checkup

    seen = app
    if target.ssh is not None:
        table = app.server(server)
        there = table.ssh if table.ssh is not None else target.ssh
        new = type(there)(there.user, target.ssh.host, target.ssh.port)
        changed = table.model_copy(update={"ssh": new, "known_hosts": target.stored_in})
        config = app.config.model_copy(update={"mail_server": {**app.config.mail_server, server: changed}})
        seen = App(config, app.config_file)
    domains = {name for name, domain in app.config.domain.items() if domain.server == server}
    try:
        found = run_checkup(seen).findings
    except FailsafeError as error:
        notes.append(f"the doctor could not look: {error}")
        return ()
    return tuple(one for one in found if one.subject in {server, *domains})


def _outcome(app: App, plan: Plan, report: Report, newest: Generation) -> Outcome:
    server, tally, generation = plan.request.server, report.tally, plan.chosen.generation
    table = app.server(server)
    paths = [file.path for file in plan.files.files]
    names = _names(app, server)
    is_new = plan.target.ssh is not None and (table.ssh is None or _is_elsewhere(table.ssh.host, plan.target))
    return Outcome(
        server=server,
        layout=table.layout,
        as_of=_local(app, generation),
        is_older=newest.at > generation.at,
        newer_as_of=_local(app, newest),
        kept_uids=tally.kept_uids,
        new_uids=tuple(tally.new_uids),
        unnumbered=tally.unnumbered,
        in_two_parts=plan.request.start is not None,
        work=tally.work,
        by_hand=tally.by_hand,
        replaced=tally.work if tally.moved_aside else "",
        resynced=report.resynced,
        doveadm=doveadm_words(app, plan.request),
        new_address=plan.target.ssh.host if plan.target.ssh is not None and is_new else "",
        names=names,
        elsewhere=tuple(name for name in names if not leads_there(name, plan.target)),
        has_keys=any(part in path for path in paths for part in DKIM),
        has_certificates=any(part in path for path in paths for part in CERTIFICATES),
        started=plan.request.start is not None and not report.start_failed,
        container=table.container or "",
    )


def _is_elsewhere(host: str, target: Target) -> bool:
    assert target.ssh is not None
    return host != target.ssh.host and not addresses_of(host) & addresses_of(target.ssh.host)


def _names(app: App, server: str) -> tuple[str, ...]:
    """That people and senders use for this server."""
    table = app.server(server)
    exchanges = [name for domain in app.config.domain.values() if domain.server == server for name in domain.primary]
    imap = [] if table.imap is None else [table.imap.host]
    return tuple(dict.fromkeys([*imap, *exchanges]))


def _local(app: App, generation: Generation) -> str:
    return generation.at.astimezone(app.time_zone).isoformat(" ", "minutes")
