"""Proves that a returned primary is ours and fit to take mail: certificate, host key and login, accounts, mail store, disk, queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from failsafe.app import App
from failsafe.errors import FailsafeError, HostKeyError
from failsafe.failover.facts import PrimaryCheck, PrimaryProof
from failsafe.model import Axis, Sign, Verdict

if TYPE_CHECKING:
    from failsafe.backup.protocol import MailboxFacts, ServerSession
    from failsafe.ports import MailSource

LEAST_FREE_BYTES = (
    256 << 20
)  # Postfix refuses mail below 1.5 times its message size limit (queue_minfree); this leaves room for a day
ACCESS_ROUNDS = 5  # probe rounds between two looks at IMAP
LONGEST_QUEUE = 1000  # messages; more than that in the queue of a server that just came back wants a person
NAMED = 5  # missing mailboxes named in a sentence


def prove_primary(app: App, domain: str, now: datetime) -> PrimaryProof:
    """One SSH session and one TLS look at the primary's exchange; never raises for what the primary does."""
    server = app.domain(domain).server
    checks = [_certificate(app, domain), *_access(app, domain, now), *_over_ssh(app, server)]
    return PrimaryProof(now, tuple(checks))


def _certificate(app: App, domain: str) -> PrimaryCheck:
    from failsafe.adapters.smtp import SmtpProbe

    table = app.domain(domain)
    probe = app.config.probe.get(table.server)
    refused = _turned_away(app, table.server)
    if refused:  # each try may count for a ban, and this proof is tried every two minutes
        return _check("tls", ok=False, text=f"its certificate cannot be seen from here: {refused}")
    targets = (
        [str(target) for target in probe.smtp] if probe is not None and probe.smtp else [f"{name}:25" for name in table.primary]
    )
    helo = probe.helo if probe is not None else None
    ca_file = str(probe.ca_file) if probe is not None and probe.ca_file is not None else None
    sight = SmtpProbe(table.server, targets, None, helo, ca_file=ca_file).look()
    if sight.tls_verified:
        return _check("tls", ok=True, text=f"{targets[0]} shows a certificate in its own name")
    return _check(
        "tls", ok=False, text=f"{targets[0]} does not show a valid certificate in its own name: {sight.tls or sight.text}"
    )


def _turned_away(app: App, server: str) -> str:
    """What the look at port 25 was told, where the server refuses this machine before TLS can begin; "" where it does not."""
    newest = app.history.newest(server, "here", Axis.INBOUND)
    return newest[-1].evidence.text if newest and Sign.TURNED_AWAY in newest[-1].evidence.signs else ""


def _access(app: App, domain: str, now: datetime) -> Iterator[PrimaryCheck]:
    """What the IMAP probe says, where there is one: nobody moves home while people's mailboxes are still shut. Unknown is no reason to stay away."""
    from failsafe.failover.health import JudgePolicy, judge

    table = app.domain(domain)
    probe = app.config.probe.get(table.server)
    if probe is None or probe.imap is None:
        return
    runs = [run for run in app.history.runs(table.server) if run.evidence.axis is Axis.ACCESS]
    view = judge(runs, now, JudgePolicy(probe.every * ACCESS_ROUNDS, table.down_for))
    if view is not None and view.verdict in (Verdict.DOWN, Verdict.LYING):
        yield _check("imap", ok=False, text=f"people cannot reach their mailboxes: {'; '.join(view.reasons)}")


def _over_ssh(app: App, server: str) -> Iterator[PrimaryCheck]:
    from failsafe.backup.layouts import Wanted
    from failsafe.backup.source import open_source
    from failsafe.config.wanted import wanted_of

    table = app.server(server)
    source = app.mail_source(server)
    if source is not None and table.ssh is None:
        yield _check("login", ok=False, text="without ssh to the server nothing proves that it is ours: failback is by hand")
        return
    wanted = wanted_of(table) if source is None else Wanted("maildir", "/" if table.path is None else str(table.path))
    try:
        with open_source(app.mail_host(server), wanted) as (session, _):
            yield _check("host-key", ok=True, text="the host key is the one we know")
            yield _check("login", ok=True, text="our key is let in")
            boxes = [] if source is not None else list(session.survey())
            found = {box.mailbox: _holds_mail(session, box) for box in boxes}
            vitals = session.vitals()
    except HostKeyError as error:
        yield _check("host-key", ok=False, text=str(error))
        return
    except FailsafeError as error:
        yield _check("login", ok=False, text=str(error))
        return
    yield from _mail(app, server, found if source is None else _open_all(source))
    yield from _machine(vitals)


def _holds_mail(session: ServerSession, box: MailboxFacts) -> bool:
    """Whether a message lies in any of its folders: those of a server that was installed anew are there, and empty. INBOX comes first."""
    from failsafe.backup.protocol import FolderPass

    for folder in box.folders:
        parts = [part for _, part in session.list_folders([(box.path, box.place(folder.directory))])]
        if any(not isinstance(part, FolderPass) and part for part in parts):
            return True
    return False


def _open_all(source: MailSource) -> dict[str, bool]:
    """Mailboxes that let us in over IMAP, and whether they hold any message."""
    found = {}
    try:
        for mailbox in source.mailboxes():
            with suppress(FailsafeError), closing(source.open(mailbox)) as box:
                found[mailbox] = any(folder.state is not None and folder.state.messages for folder in box.folders())
    except FailsafeError:
        return {}
    return found


def _mail(app: App, server: str, found: dict[str, bool]) -> Iterator[PrimaryCheck]:
    """Every mailbox of the newest archived state is there (`found`: and is not one that was made anew)."""
    from failsafe.backup.archive.reader import Archive
    from failsafe.errors import ArchiveError

    archive = Archive(app.staging_folder(server))
    try:
        generation = archive.generation()
    except ArchiveError:
        text, others = "there is no backup yet to compare with", _archives_of_nobody(app)
        new = bool(others) and not any(found.values())  # one that was installed anew, and given another name in the configuration
        if new:
            text += (
                f", but one of {', '.join(others[:NAMED])}, which no domain names any more; and no mailbox here holds any mail: "
                "nothing shows that this is the server that people left"
            )
        yield _check("accounts", ok=not new, text=text)
        return

    def held(mailbox: str) -> bool:
        try:
            return any(folder.messages for folder in archive.mailbox(generation, mailbox).folders)
        except ArchiveError:
            return True

    known = sorted(generation.mailboxes)
    missing = [mailbox for mailbox in known if mailbox not in found]
    names = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED} more" if len(missing) > NAMED else "")
    yield PrimaryCheck(
        "accounts", not missing, f"missing on the server: {names}" if missing else f"all {len(known)} mailboxes are there"
    )
    empty = [
        mailbox for mailbox in known if not found.get(mailbox, bool(found)) and held(mailbox)
    ]  # none there at all: all are empty
    yield PrimaryCheck(
        "store",
        not empty,
        f"nothing in {', '.join(empty[:NAMED])}: the mail store looks rebuilt" if empty else "the mail store looks sane",
    )


def _archives_of_nobody(app: App) -> list[str]:
    """Servers of which there is an archive here, and that are no domain's primary or secondary now."""
    from failsafe.backup.archive.layout import GENERATIONS

    used = {app.staging_folder(table.server) for table in app.config.domain.values()}
    used |= {app.staging_folder(name) for name in app.config.archived if name not in app.config.mail_server}
    return sorted(each.parent.name for each in (app.state_dir / "staging").glob(f"*/{GENERATIONS}") if each.parent not in used)


def _machine(vitals: dict[str, object]) -> Iterator[PrimaryCheck]:
    roots = vitals.get("roots")
    free = min((int(root["bytes_free"]) for root in roots if isinstance(root, dict)), default=0) if isinstance(roots, list) else 0
    yield PrimaryCheck("disk", free >= LEAST_FREE_BYTES, f"{free >> 20} MiB are free where the mail lies")
    queue = vitals.get("queue")
    if isinstance(queue, int):
        yield PrimaryCheck("queue", queue <= LONGEST_QUEUE, f"{queue} messages wait in its queue")


def _check(code: str, *, ok: bool, text: str) -> PrimaryCheck:
    return PrimaryCheck(code, ok, text)
