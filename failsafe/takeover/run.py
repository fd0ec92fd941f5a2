"""The takeover, from the first question to the last file. Interrupted at any point and run again it goes on: each step finds what is done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from failsafe.adapters.host_keys import known_keys
from failsafe.adapters.lock import FileLock
from failsafe.app import HOLDER, App
from failsafe.backup.kit import Kit
from failsafe.config.load import load_config
from failsafe.daemon.loop import DAEMON_LOCK
from failsafe.errors import ExternalError, HostKeyError
from failsafe.ports import Narrator, Progress
from failsafe.takeover.adopt import (
    DUTY,
    Adopted,
    Journal,
    TakenDomain,
    find_journal,
    import_journal,
    open_repositories,
    settle_ids,
    take_domains,
)
from failsafe.takeover.places import Placed, Placing
from failsafe.takeover.rebuild import RebuiltServer, note_snapshots, rebuild_catalog, rebuild_server, stored_secondaries
from failsafe.takeover.writing import write_files

NEWER = ".from-repository"  # after the name of the configuration: a younger one than the kit's


@dataclass(frozen=True, slots=True)
class TakeoverReport:
    """What came of it; `remarks` for a person, in the order in which they matter."""

    config: Path
    written: tuple[Path, ...]
    repositories: tuple[Adopted, ...]
    journal: Journal
    domains: tuple[TakenDomain, ...]
    servers: tuple[RebuiltServer, ...]
    remarks: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        return any(each.refused for each in self.repositories)

    @property
    def failed(self) -> bool:
        return any(each.error and not each.refused for each in self.repositories) or any(each.error for each in self.servers)


def run_takeover(kit: Kit, placing: Placing, progress: Progress, say: Narrator) -> TakeoverReport:
    """Raises Refused, KitError, ConfigError, StoreError; ExternalError where not one repository could be opened. What else fails is in the report."""
    written = write_files(placing.all)
    app = App(load_config(placing.config.path), placing.config.path)
    app.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.path.lexists(app.state_dir / HOLDER):
        name = f"{app.config.controller.id} {app.clock.now():%Y-%m-%dT%H:%M:%SZ}\n"
        write_files([Placed(app.state_dir / HOLDER, 0o600, name.encode())])
    remarks = list(_host_keys(app, kit))
    with FileLock(app.lock_file(DAEMON_LOCK), "takeover").hold():
        adopted, journal = _take_journal(app, kit, say, remarks)
        domains = take_domains(app, app.clock.now())
    for domain in domains:
        say(f"{domain.domain}: {domain.state}, serving {domain.serving}; nothing is written to its zone until: {domain.must_do}")
    ours = [each.name for each in adopted if not each.error]
    guards = _duty(app).get("guards", [])
    names = (*sorted(app.config.mail_server), *stored_secondaries(app, ours))
    servers = tuple(rebuild_server(app, name, ours, guards, progress, say) for name in names)
    remarks += [f"repository {name}: {why}" for name in ours if (why := note_snapshots(app, name))]
    whole = [each.server for each in servers if not each.error]
    if whole and (why := rebuild_catalog(app, whole)):
        remarks.append(f"the catalog for `failsafe search` is not complete yet: {why}")
    report = TakeoverReport(placing.config.path, tuple(written), adopted, journal, domains, servers, tuple(remarks))
    _close(app, report)
    return report


def _take_journal(app: App, kit: Kit, say: Narrator, remarks: list[str]) -> tuple[tuple[Adopted, ...], Journal]:
    """Once: a second run finds it taken."""
    before = _duty(app)
    adopted = open_repositories(app, kit)
    ours = [each.name for each in adopted if not each.error]
    if not ours:
        raise _nothing(adopted)
    if before:
        say("the journal was taken over by an earlier run")
        return adopted, Journal(before.get("snapshot", ""), before.get("repository", ""), None, before.get("rows", 0))
    say("looking for the newest journal in the repositories")
    journal, knowledge = find_journal(app, ours, say)
    adopted = settle_ids(app, adopted, knowledge)
    if knowledge is not None and knowledge.configuration not in (None, kit.config.content):
        remarks.append(_keep_newer(app.config_file, knowledge.configuration or b""))
    journal.rows = import_journal(app, kit, journal, knowledge, adopted)
    return adopted, journal


def _duty(app: App) -> dict[str, Any]:
    row = app.duties.all().get(DUTY)
    return {} if row is None else dict(row.details)


def _nothing(adopted: Sequence[Adopted]) -> ExternalError:
    words = "; ".join(each.error for each in adopted) or "the kit names none that the configuration knows"
    mend = next((each.mend for each in adopted if each.mend), "mend that, then run this again: it goes on from here")
    return ExternalError(f"no repository could be opened: {words}", mend=mend)


def _close(app: App, report: TakeoverReport) -> None:
    row = _duty(app)
    done = not report.failed
    app.duties.ended(
        DUTY,
        app.clock.now(),
        ok=done,
        result="ok" if done else "unfinished",
        details={**row, "phase": "ended" if done else "imported"},
    )


def _keep_newer(config: Path, data: bytes) -> str:
    """The configuration was changed after the kit was made: both are kept, and a person chooses."""
    file = config.with_name(config.name + NEWER)
    if not os.path.lexists(file):
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            out.write(data)
    return f"the configuration was changed after the kit was made; the younger one, with the lost machine's paths, is {file}: compare the two"


def _host_keys(app: App, kit: Kit) -> list[str]:
    """Where the configuration names no file of known host keys, the kit's go into the person's own, unless some are there."""
    remarks = []
    for server in kit.servers:
        table = app.config.mail_server.get(server.name)
        if table is None or table.ssh is None or table.known_hosts is not None or not server.host_keys:
            continue
        (host, port), file = app.ssh_place(server.name)
        if not _knows(file, host, port):
            file.parent.mkdir(mode=0o700, exist_ok=True)
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as out:
                out.write("".join(f"{line}\n" for line in server.host_keys))
            remarks.append(f"the host key of {server.name} was added to {file}")
    return remarks


def _knows(file: Path, host: str, port: int) -> bool:
    try:
        return bool(known_keys(file, host, port))
    except HostKeyError:
        return False
