"""Judges what a backup relies on: the way to the server, room, freshness, checks, secrets. Pure: gathered facts in, findings out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from failsafe.backup.doctor_access import StoredLogins, judge_helper, judge_program, judge_writing
from failsafe.backup.doctor_accounts import AccountsSeen, judge_covered, judge_domains
from failsafe.backup.doctor_notify import NotifyCheckup, judge_notify
from failsafe.backup.freeze import REPAIR
from failsafe.backup.freshness import ALLOWANCE
from failsafe.backup.kit_state import NO_KIT, KitCheckup, judge_kit
from failsafe.model import Finding, Severity

FAIL, WARN, OK, SKIPPED = Severity.FAIL, Severity.WARN, Severity.OK, Severity.SKIPPED
LEAST_FREE_BYTES = (
    256 << 20
)  # on the server: Postfix's queue_minfree with room for a day; here: staging's segments and restic's temporary files
LEAST_FREE_SHARE = 0.05
LOW_SHARE = 0.10  # on the server: time to look
LEAST_INODES_SHARE = 0.05
CLOSED_SHOWN = 10  # mailboxes named in a finding
CLOCK_WARN = timedelta(seconds=30)
CLOCK_FAIL = timedelta(minutes=5)  # TSIG (RFC 8945) refuses changes beyond this fudge

# Of servers, repositories, their buckets and this machine. Blocks a failover, what is looked at.
CODES: dict[str, tuple[bool, str]] = {
    "ssh-access": (False, "the mail on the server can be read, over SSH, on this machine or over IMAP; every mailbox opens"),
    "ssh-helper": (False, "our SSH key can do nothing on the server but read mail"),
    "server-program": (False, "the program installed on the server is the one of this failsafe"),
    "sources": (False, "where the layout's mail, configuration, keys and databases were found, and which were not"),
    "disk": (False, "room and inodes where the server's mail, its queue and its logs lie"),
    "domain-missing": (False, "every domain with accounts on the server is configured here"),
    "credential-writes": (False, "what lies here and could also write on the server, and which of it a homecoming needs"),
    "recovery-point": (False, "the age of the last complete backup"),
    "accounts-covered": (False, "a homecoming fetches what lands at the secondary for every mailbox"),
    "repository-check": (False, "the repository was checked in time, and is sound"),
    "drill-restore": (False, "mail was brought back from the repository in time, and was right"),
    "retention": (False, "what is kept, and whether an append-only repository can be attacked by it"),
    "bucket-lock": (False, "versioning, object lock and lifecycle rules of the bucket"),
    "bucket-delete": (False, "what this machine's credential can delete there"),
    "bucket-contents": (False, "the repository's files are really there"),
    "clock": (True, "this machine's clock against the servers' clocks"),
    "own-line": (True, "this machine reaches the references, so that it can tell its own line from the server's"),
    "staging-space": (False, "room where staging lies"),
    "staging-exposed": (False, "only its owner can read staging"),
    "secret-mode": (False, "only its owner can read each secret"),
    "database-place": (False, "the database does not lie on a network file system"),
    "restic-version": (False, "restic is there, and of a version that is known"),
    "notify-path": (False, "notices have an address that does not need the mail they report on, and none waits"),
    "overdue": (False, "snapshots elsewhere, forgetting and pruning went well in time"),
    "kit": (False, "a recovery kit was made after the last change that affects it"),
}


@dataclass(frozen=True, slots=True)
class Space:
    """Of one file system; None: not known."""

    bytes_free: int
    bytes_total: int
    inodes_free: int | None = None
    inodes_total: int | None = None
    path: str = "where the mail lies"


@dataclass(frozen=True, slots=True)
class ServerCheckup:
    """What one session with a mail server showed; `error` is why there was none, with `mend`."""

    server: str
    over_ssh: bool
    error: str = ""
    mend: str = ""
    over_imap: bool = False
    closed: tuple[tuple[str, str], ...] = ()  # mailboxes that could not be opened over IMAP, and why
    logins: StoredLogins = field(default_factory=StoredLogins)
    mailboxes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()  # where a layout's mail and files were found
    lacking: tuple[str, ...] = ()  # what of it was not, and how to mend it
    spaces: tuple[Space, ...] = ()
    clock_offset: timedelta | None = None
    backup_every: timedelta = timedelta(minutes=15)
    good_backup_at: datetime | None = None
    domains: Collection[str] = ()  # configured domains behind this server
    helper: str = ""  # doctor_access.SENT, INSTALLED; "" where nobody could ask
    program: str = ""  # the digest that the installed program tells of itself
    our_program: str = ""  # of the one that this failsafe would install
    reads_files: bool = True
    accounts: AccountsSeen = field(default_factory=AccountsSeen)


@dataclass(frozen=True, slots=True)
class RepositoryCheckup:
    repository: str
    check_every: timedelta
    last_snapshot_at: datetime | None
    last_check_at: datetime | None
    last_error: str
    damaged_at: datetime | None = None
    reading: str = ""  # what checks have read so far, and what they cost
    keep: str = ""  # "" where nothing is ever forgotten
    maintenance_here: bool = True
    keep_warning: str = ""


@dataclass(frozen=True, slots=True)
class MachineCheckup:
    """This machine. `exposed`: folders of mail that others may enter. `secret_faults`, `secret_warnings`: (key, text)."""

    space: Space
    staging_bytes: int
    exposed: tuple[str, ...]
    secret_faults: tuple[tuple[str, str], ...]
    secret_warnings: tuple[tuple[str, str], ...]
    file_system: str
    is_network_file_system: bool
    restic: str  # its version; "" where it could not be asked
    restic_error: str = ""
    restic_too_old: bool = False
    restic_unknown: bool = False
    notify: NotifyCheckup = field(default_factory=NotifyCheckup)
    own_line: tuple[int, int] = (0, 0)  # answered, asked
    kit: KitCheckup = NO_KIT


def judge_server(seen: ServerCheckup, now: datetime) -> tuple[Finding, ...]:
    findings = [_judge_access(seen), judge_helper(seen.server, seen.helper, over_ssh=seen.over_ssh, reads_files=seen.reads_files)]
    findings.append(judge_program(seen.server, seen.helper, seen.program, seen.our_program))
    if seen.error:
        codes = ("disk", "domain-missing", "accounts-covered")
        findings += [Finding(code, SKIPPED, seen.server, "the server could not be asked") for code in codes]
    else:
        findings.append(_judge_disk(seen))
        findings.append(judge_domains(seen.server, seen.mailboxes, seen.domains, seen.accounts))
        findings.append(judge_covered(seen.server, seen.mailboxes, seen.accounts))
    if seen.sources or seen.lacking:
        findings.append(_judge_sources(seen))
    findings.append(judge_writing(seen.server, seen.logins, seen.helper, over_ssh=seen.over_ssh, reads_files=seen.reads_files))
    findings.append(_judge_recovery_point(seen, now))
    return tuple(findings)


def judge_clock(servers: Collection[ServerCheckup]) -> Finding:
    """Our clock against the servers' clocks; a majority of one or two is still the best witness at home."""
    offsets = sorted(abs(server.clock_offset) for server in servers if server.clock_offset is not None)
    if not offsets:
        return Finding("clock", SKIPPED, "controller", "no other clock could be asked", blocks_failover=True)
    middle = offsets[len(offsets) // 2]
    mend = "let a time service (systemd-timesyncd, chrony) set the clocks of this machine and of the server"
    text = f"this clock and the mail server's differ by {middle.total_seconds():.0f} s"
    if middle >= CLOCK_FAIL:
        return Finding(
            "clock", FAIL, "controller", f"{text}: signed DNS changes are refused beyond 300 s", mend, blocks_failover=True
        )
    return Finding(
        "clock",
        WARN if middle >= CLOCK_WARN else OK,
        "controller",
        text,
        mend if middle >= CLOCK_WARN else "",
        blocks_failover=True,
    )


def judge_repository(seen: RepositoryCheckup, now: datetime) -> Finding:
    name = seen.repository
    if seen.last_snapshot_at is None:
        return Finding("repository-check", SKIPPED, name, "it holds no snapshot yet", "failsafe backup")
    if seen.last_error:
        return Finding(
            "repository-check", FAIL, name, f"its last use failed: {seen.last_error}", f"failsafe verify --repository {name}"
        )
    if seen.damaged_at is not None:
        text = f"a check found damage on {seen.damaged_at:%Y-%m-%d}"
        return Finding("repository-check", FAIL, name, text, REPAIR.format(name))
    if seen.last_check_at is None or now - seen.last_check_at > seen.check_every * 2 + ALLOWANCE:
        when = "never" if seen.last_check_at is None else f"last on {seen.last_check_at:%Y-%m-%d}"
        return Finding(
            "repository-check",
            WARN,
            name,
            f"it was {when} checked" if seen.last_check_at is None else f"it was checked {when}",
            f"failsafe verify --repository {name}",
        )
    more = f"; {seen.reading}" if seen.reading else ""
    return Finding("repository-check", OK, name, f"it was checked on {seen.last_check_at:%Y-%m-%d}{more}")


def judge_retention(seen: RepositoryCheckup) -> Finding:
    """What is forgotten there is a person's wish: only a rule that others can turn against the backups is a fault."""
    if seen.keep_warning:
        return Finding(
            "retention", WARN, seen.repository, seen.keep_warning, f"add within to keep in [repository.{seen.repository}]"
        )
    if not seen.maintenance_here:
        return Finding("retention", OK, seen.repository, 'maintenance is "elsewhere": nothing is forgotten or pruned from here')
    if not seen.keep:
        return Finding("retention", OK, seen.repository, "keep is not set: nothing is ever forgotten, and it grows")
    return Finding("retention", OK, seen.repository, f"keeps {seen.keep}; forgets daily, prunes weekly")


def judge_machine(seen: MachineCheckup) -> tuple[Finding, ...]:
    return (
        _judge_staging_space(seen),
        _judge_exposed(seen),
        _judge_secrets(seen),
        _judge_database(seen),
        _judge_restic(seen),
        judge_notify(seen.notify),
        _judge_own_line(seen),
        judge_kit(seen.kit),
    )


def _judge_access(seen: ServerCheckup) -> Finding:
    way = "over IMAP" if seen.over_imap else "over SSH" if seen.over_ssh else "on this machine"
    if seen.error:
        mend = seen.mend or f"check [mail_server.{seen.server}]: {'imap' if seen.over_imap else 'path'}, ssh, ssh_key"
        return Finding("ssh-access", FAIL, seen.server, f"its mail cannot be read {way}: {seen.error}", mend)
    if seen.closed:
        named = "; ".join(f"{mailbox}: {why}" for mailbox, why in seen.closed[:CLOSED_SHOWN])
        text = f"{len(seen.closed)} of {len(seen.mailboxes)} mailbox(es) cannot be read {way}: {named}"
        return Finding("ssh-access", FAIL, seen.server, text, seen.mend or f"check the logins of [mail_server.{seen.server}]")
    if not seen.mailboxes:
        place = "mailboxes or accounts_file" if seen.over_imap else "path"
        says = "names them" if seen.over_imap else "holds DOMAIN/USER/ folders"
        mend = f"check {place} in [mail_server.{seen.server}]: it {says}"
        return Finding("ssh-access", FAIL, seen.server, f"no mailbox was found {way}", mend)
    return Finding("ssh-access", OK, seen.server, f"{len(seen.mailboxes)} mailbox(es) can be read {way}")


def _judge_sources(seen: ServerCheckup) -> Finding:
    """Where a layout's mail and files were found, and what of it was not."""
    if seen.lacking:
        mend = f"without it a snapshot is incomplete; check path, container and ssh in [mail_server.{seen.server}]"
        return Finding("sources", FAIL, seen.server, "; ".join(seen.lacking), mend)
    return Finding("sources", OK, seen.server, "; ".join(seen.sources))


def _judge_disk(seen: ServerCheckup) -> Finding:
    mend = "make room on the mail server: a full disk refuses mail"
    for space in seen.spaces:
        if space.bytes_free < LEAST_FREE_BYTES or space.bytes_free < space.bytes_total * LEAST_FREE_SHARE:
            return Finding("disk", FAIL, seen.server, f"only {space.bytes_free >> 20} MiB are free {_at(space)}", mend)
        if space.inodes_free is not None and space.inodes_total and space.inodes_free < space.inodes_total * LEAST_INODES_SHARE:
            return Finding("disk", FAIL, seen.server, f"only {space.inodes_free} inodes are free {_at(space)}", mend)
    for space in seen.spaces:
        if space.bytes_free < space.bytes_total * LOW_SHARE:
            text = f"{space.bytes_free / space.bytes_total:.0%} of the room is left {_at(space)} ({space.bytes_free >> 20} MiB)"
            return Finding("disk", WARN, seen.server, text, mend)
    if not seen.spaces:
        return Finding("disk", SKIPPED, seen.server, "the server did not say")
    return Finding(
        "disk", OK, seen.server, f"{min(space.bytes_free for space in seen.spaces) >> 20} MiB are free where the mail lies"
    )


def _at(space: Space) -> str:
    return f"at {space.path}" if space.path.startswith("/") else space.path


def _judge_recovery_point(seen: ServerCheckup, now: datetime) -> Finding:
    mend = f"failsafe backup {seen.server}"
    if seen.good_backup_at is None:
        return Finding("recovery-point", FAIL, seen.server, "there is no complete backup yet", mend)
    age = now - seen.good_backup_at
    text = f"the last complete backup began {int(age.total_seconds() // 60)} min ago"
    late = age > seen.backup_every * 2 + ALLOWANCE
    return Finding("recovery-point", FAIL if late else OK, seen.server, text, mend if late else "")


def _judge_staging_space(seen: MachineCheckup) -> Finding:
    free = seen.space.bytes_free
    text = f"{free >> 20} MiB are free for staging, which takes {seen.staging_bytes >> 20} MiB"
    if free < LEAST_FREE_BYTES or free < seen.space.bytes_total * LEAST_FREE_SHARE:
        return Finding("staging-space", WARN, "controller", text, "make room, or set controller.state_dir to a larger disk")
    return Finding("staging-space", OK, "controller", text)


def _judge_exposed(seen: MachineCheckup) -> Finding:
    if seen.exposed:
        return Finding(
            "staging-exposed",
            FAIL,
            "controller",
            f"others on this machine may read mail in {', '.join(seen.exposed)}",
            f"chmod 700 {seen.exposed[0]}",
        )
    return Finding("staging-exposed", OK, "controller", "only its owner can read staging")


def _judge_secrets(seen: MachineCheckup) -> Finding:
    if seen.secret_faults:
        return Finding(
            "secret-mode", FAIL, "controller", "; ".join(text for _key, text in seen.secret_faults[:5]), "failsafe config check"
        )
    if seen.secret_warnings:
        return Finding(
            "secret-mode",
            WARN,
            "controller",
            "; ".join(text for _key, text in seen.secret_warnings[:5]),
            "move the secrets to a file system with modes",
        )
    return Finding("secret-mode", OK, "controller", "every secret can be read by its owner only")


def _judge_database(seen: MachineCheckup) -> Finding:
    if seen.is_network_file_system:
        return Finding(
            "database-place",
            FAIL,
            "controller",
            f"the database lies on {seen.file_system}, where SQLite loses data",
            "set controller.state_dir to a local disk",
        )
    return Finding("database-place", OK, "controller", f"the state folder lies on {seen.file_system or 'a local file system'}")


def _judge_restic(seen: MachineCheckup) -> Finding:
    if seen.restic_error:
        return Finding("restic-version", FAIL, "controller", seen.restic_error, "apt install restic")
    if seen.restic_too_old:
        return Finding(
            "restic-version", FAIL, "controller", f"restic {seen.restic} is older than 0.14.0", "install restic 0.14.0 or newer"
        )
    if seen.restic_unknown:
        return Finding(
            "restic-version",
            WARN,
            "controller",
            f"restic {seen.restic} is newer than what failsafe was tested with",
            "watch the first backups after its update",
        )
    return Finding("restic-version", OK, "controller", f"restic {seen.restic}")


def _judge_own_line(seen: MachineCheckup) -> Finding:
    answered, asked = seen.own_line
    if asked == 0:
        return Finding(
            "own-line",
            FAIL,
            "controller",
            "no reference is configured, so nobody knows whether our own line works",
            "set references in [own_line]",
            blocks_failover=True,
        )
    if answered * 2 <= asked:
        mend = "if the line is well, choose references that answer from here"
        return Finding(
            "own-line", WARN, "controller", f"only {answered} of {asked} references answer now", mend, blocks_failover=True
        )
    return Finding("own-line", OK, "controller", f"{answered} of {asked} references answer", blocks_failover=True)
