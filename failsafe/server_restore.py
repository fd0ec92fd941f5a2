"""Puts the restore of a whole server together: which state, onto which machine, with whose word. Used by `restore --to server:NAME`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from failsafe.app import App
from failsafe.backup.archive.layout import path_of
from failsafe.backup.server_plan import FilesPlan, Known, Owner, Placing, Silence, plan_files
from failsafe.backup.server_run import ServerJob, ServerRun, Tally, is_unfinished
from failsafe.backup.server_supply import Sent, Supply
from failsafe.backup.write_session import Sight, WriteSession
from failsafe.backups import back_up, restore_lock
from failsafe.errors import FailsafeError, Refused, UsageError
from failsafe.events import Event
from failsafe.mail.manifest import Generation
from failsafe.model import Result
from failsafe.ports import Narrator, Progress
from failsafe.server_pull import fetched
from failsafe.server_states import Chosen, Request, known_states, measure, note_begun, note_ended
from failsafe.server_target import Target, find_placing, find_root

START_SECONDS = 900.0
DOVEADM_SECONDS = 3600.0
USUAL: dict[str, Owner] = {
    "docker-mailserver": (5000, 5000),
    "mailcow": (5000, 5000),
}  # as these images have it, where a backup does not say
ROOM = 1.05  # of the bytes that come: file systems round up
RESYNC = 'for user; do {0} force-resync -u "$user" "*" || exit; done'
# HIGHESTMODSEQ begins anew with an index: a program that knows a higher one would see no change of flags until it is reached (RFC 7162)
MODSEQ = (
    'for user; do {0} mailbox list -u "$user" </dev/null | while IFS= read -r folder; do '
    '{0} mailbox update --min-highest-modseq {1} -u "$user" "$folder" </dev/null || echo "not raised: $user $folder"; done; done'
)
QUOTA = 'for user; do {0} quota recalc -u "$user" || exit; done'


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is known before anything is written."""

    request: Request
    chosen: Chosen
    target: Target
    root: str
    placing: Placing
    sight: Sight
    owner: Owner | None
    usual: Owner
    files: FilesPlan
    messages: int
    bytes: int
    gone: int  # entries that had vanished while a guard stood; not part of the state
    nameless: tuple[int, ...]

    @property
    def goes_on(self) -> bool:
        """An earlier run of this restore was cut off there."""
        return is_unfinished(_marked(self), self.sight)

    @property
    def is_live(self) -> bool:
        """Mail is there that no run of this restore has put there."""
        return self.sight.messages > 0 and not self.goes_on


@dataclass(slots=True)
class Report:
    tally: Tally
    seconds: float = 0.0
    resynced: bool = False
    start_failed: str = ""
    notes: list[str] = field(default_factory=list)


def check(app: App, request: Request) -> None:
    """Raises UsageError for what cannot be done however the world is."""
    table = app.server(request.server)
    if table.layout == "imap":
        raise UsageError(
            f'{request.server} is read over IMAP (layout = "imap"): its backups hold mail, and no files of the server',
            mend=f"set up the server and its accounts, then: failsafe restore --server {request.server} --at TIME --to imap",
        )
    if request.at is not None and request.snapshot is not None:
        raise UsageError("--at and --snapshot name two different states", mend="give one of them")
    if not request.pull_there and (request.pull_url or request.credential_file):
        raise UsageError("--pull-url and --credential-file go with --pull-there")


def make_plan(app: App, request: Request, chosen: Chosen, target: Target, session: WriteSession) -> Plan:
    """Looks at the target and reads the state's own lists; writes nothing. Raises UsageError, Refused."""
    host = target.host(app, request.server)
    root, naming = find_root(app, request.server, host, request.mail_root)
    sight = session.look(root)
    placing = find_placing(app, request.server, naming, request.maildir)
    owner = None if request.mail_owner is None else session.numbers(request.mail_owner)
    size = measure(chosen, request.server)
    usual = size.owner
    files = _files(chosen, request.server)
    plan = Plan(
        request, chosen, target, root, placing, sight, owner, _usual(owner or usual or USUAL.get(app.server(request.server).layout), sight), files, size.messages, size.bytes + files.bytes, size.gone,
        session.nameless({file.uid for file in files.files} | {usual[0] if usual else 0}),
    )  # fmt: skip
    _demand_possible(plan)
    return plan


def _usual(owner: Owner | None, sight: Sight) -> Owner:
    found = owner or (sight.owner if sight.exists and sight.owner[0] != 0 else None)
    if found is None:
        raise UsageError(
            "nothing in the backup says who owns the mail on the server",
            mend="say --mail-owner USER:GROUP, such as vmail:vmail or 5000:5000",
        )
    return found


def _files(chosen: Chosen, server: str) -> FilesPlan:
    generation = chosen.generation
    links = generation.notes.get("links", {})
    if generation.files is None:
        return plan_files((), {})
    archive = chosen.source.with_files(server, generation.number, [path_of("lists", generation.files)])
    return plan_files(archive.files(generation), links if isinstance(links, dict) else {})


def _demand_possible(plan: Plan) -> None:
    sight = plan.sight
    if sight.user != 0 and any(
        owner[0] != sight.user for owner in ((plan.owner or plan.usual), *((file.uid, file.gid) for file in plan.files.files))
    ):
        raise Refused(
            f"user {sight.user} on {plan.target.name} cannot give files to their owners; nothing was written",
            mend="log in there as root: --ssh root@HOST",
        )
    if not plan.goes_on and sight.bytes_free < plan.bytes * ROOM:
        raise Refused(
            f"{plan.target.name} has {sight.bytes_free / 1e9:.1f} GB free, and {plan.bytes / 1e9:.1f} GB are to come; nothing was written"
        )
    if sight.inodes_free is not None and not plan.goes_on and sight.inodes_free < plan.messages * ROOM:
        raise Refused(
            f"{plan.target.name} has {sight.inodes_free:,} inodes free for {plan.messages:,} messages; nothing was written"
        )
    if plan.request.pull_there and not sight.has_restic:
        raise Refused(f"restic is not installed on {plan.target.name}", mend="install it there (Debian: apt-get install restic)")


def secure_live_target(app: App, plan: Plan, progress: Progress, narrate: Narrator) -> str:
    """A snapshot of what is there now, before any of it is touched. Gives a sentence. Raises Refused where it cannot be had."""
    server = plan.request.server
    note_ended(app, server)  # of another restore that was cut off: the name was typed for this one
    narrate(f"a snapshot of what is on {plan.target.name} comes first")
    try:
        report = back_up(plan.target.app(app, server), server, progress, narrate, by_hand=True)
    except Refused:
        raise
    except FailsafeError as error:
        raise Refused(
            f"what is on {plan.target.name} could not be backed up first, so nothing is restored over it: {error}",
            mend=error.mend,
        ) from error
    stored = [one for one in report.snapshots if one.result is Result.OK]
    if report.pulled is not Result.OK or not (stored or report.unchanged):
        why = "; ".join(
            [
                *(trouble.text for trouble in report.troubles),
                *(f"{one.mailbox} {one.folder} {one.name}: {one.why}" for one in report.missing[:3]),
            ]
        )
        raise Refused(
            f"what is on {plan.target.name} could not be backed up whole first, so nothing is restored over it"
            + (f": {why}" if why else ""),
            mend=f"failsafe backup {server} says more; or move the mail away there yourself, and it counts as an empty machine",
        )
    places = ", ".join(f"{one.repository} {one.snapshot_id[:8]}" for one in stored)
    return (
        f"what was there is in a snapshot: {places}"
        if places
        else "what was there is in the newest snapshot: nothing had changed since"
    )


def carry_out(
    app: App, plan: Plan, session: WriteSession, folder: Path, progress: Progress, narrate: Narrator
) -> tuple[Report, Generation]:
    """The restore itself, then indexes and quotas. Backups of this server wait meanwhile. Raises what the session raises."""
    request, chosen = plan.request, plan.chosen
    began = app.clock.monotonic()
    with restore_lock(app, request.server).hold():
        known, newest, before = known_states(app, request.server, chosen, folder, narrate)
        report = Report(Tally())
        note_begun(app, request.server, chosen.moment)
        stamp = f"{app.clock.now():%Y%m%dT%H%M%SZ}"
        job = ServerJob(
            request.server, chosen.generation, chosen.source, plan.root, plan.placing, plan.owner, plan.usual, known,
            Silence(before, app.clock.now()), stamp, lambda: _at_ease(request, session, report, narrate),
        )  # fmt: skip
        supply = _supply(app, plan, session, narrate)
        report.tally = ServerRun(job, session, supply, plan.sight, progress, narrate).run()
        if not report.tally.missing_count:
            note_ended(app, request.server)
        report.resynced = _resync(app, plan, session, report)
    report.seconds = app.clock.monotonic() - began
    _record(app, plan, report)
    return report, newest


def _supply(app: App, plan: Plan, session: WriteSession, narrate: Narrator) -> Supply:
    request, chosen = plan.request, plan.chosen
    if not request.pull_there:
        return Sent(session, chosen.sources, request.server, chosen.moment.number, narrate)
    return fetched(app, plan.request, session, chosen.source, chosen.moment, plan.sight.work, narrate)


def _at_ease(request: Request, session: WriteSession, report: Report, narrate: Narrator) -> None:
    narrate("accounts, configuration and the newest 30 days of every mailbox are there: people can work")
    if request.start is None:
        return
    ended = session.run(["/bin/sh", "-c", request.start], seconds=START_SECONDS)
    if not ended.is_good:
        report.start_failed = f"--start ended with status {ended.status}: {ended.said.strip()[-300:]}"
        narrate(report.start_failed)


def doveadm_words(app: App, request: Request) -> str:
    if request.doveadm is not None:
        return request.doveadm
    table = app.server(request.server)
    if table.container is None and table.layout == "mailcow":
        return "docker exec $(docker ps -qf name=dovecot-mailcow) doveadm"
    return "doveadm" if table.container is None else f"docker exec {shlex.quote(table.container)} doveadm"


def _resync(app: App, plan: Plan, session: WriteSession, report: Report) -> bool:
    """Indexes and quotas are made anew where doveadm answers; where it does not, a person is told the commands."""
    words = doveadm_words(app, plan.request)
    users: Sequence[str] = list(report.tally.mailboxes)
    if not users:
        return True
    probe = session.run(["/bin/sh", "-c", f'{words} user "$1" >/dev/null', "sh", users[0]], seconds=60)
    if not probe.is_good:
        report.notes.append(f"doveadm did not answer there ({probe.said.strip()[-200:] or f'status {probe.status}'})")
        return False
    ended = session.run(["/bin/sh", "-c", RESYNC.format(words), "sh", *users], seconds=DOVEADM_SECONDS)
    if not ended.is_good:
        report.notes.append(f"doveadm force-resync: {ended.said.strip()[-300:]}")
        return False
    raised = session.run(
        ["/bin/sh", "-c", MODSEQ.format(words, int(app.clock.now().timestamp())), "sh", *users], seconds=DOVEADM_SECONDS
    )
    if not raised.is_good or "not raised" in raised.said:
        report.notes.append(f"HIGHESTMODSEQ could not be raised everywhere: {raised.said.strip()[-300:]}")
    quota = session.run(["/bin/sh", "-c", QUOTA.format(words), "sh", *users], seconds=DOVEADM_SECONDS)
    if not quota.is_good:
        report.notes.append(
            f"quotas were not recalculated: {quota.said.strip().splitlines()[-1] if quota.said.strip() else quota.status}"
        )
    return True


def _record(app: App, plan: Plan, report: Report) -> None:
    tally = report.tally
    text = (
        f"the whole server, as of {plan.chosen.generation.at:%Y-%m-%d %H:%M} UTC, to {plan.target.name}: {tally.added} message(s) and {tally.files} file(s) "
        f"written, {tally.already + tally.files_there} were there, {tally.missing_count} missing"
    )
    name = "restore.short" if tally.missing_count else "restore.done"
    try:
        app.record(Event(name, plan.request.server, text, app.clock.now()))
    except FailsafeError as error:
        report.notes.append(f"the restore could not be recorded: {error}")


def _marked(plan: Plan) -> ServerJob:
    """Only its marker counts."""
    nothing: dict[str, list[Known]] = {}
    at = plan.chosen.generation.at
    return ServerJob(
        plan.request.server,
        plan.chosen.generation,
        plan.chosen.source,
        plan.root,
        plan.placing,
        None,
        plan.usual,
        lambda _: nothing,
        Silence(at, at),
        "",
    )
