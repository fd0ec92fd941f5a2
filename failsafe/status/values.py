"""What `status` knows, as frozen values. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from failsafe.backup.freshness import Overdue
from failsafe.failover.drilled import FailoverDrilled
from failsafe.failover.halt import Halt
from failsafe.model import DomainState, Finding, Guard, ObservedFlip, Side, Verdict
from failsafe.status.course import Pull, Work
from failsafe.status.drilled import Drilled
from failsafe.status.homecoming import CameHome
from failsafe.status.upkeep import Reading, Retention
from failsafe.store.glance import Row


@dataclass(frozen=True, slots=True)
class VantageStatus:
    vantage: str
    verdict: Verdict
    at: datetime | None


@dataclass(frozen=True, slots=True)
class DomainStatus:
    domain: str
    state: DomainState
    since: datetime | None
    serving: Side
    mx: tuple[tuple[int, str], ...]
    guards: tuple[Guard, ...]
    health: dict[str, str]
    vantages: tuple[VantageStatus, ...]
    held_until: datetime | None
    draining: bool
    mode: str
    reason: str = ""
    taken_over: bool = False  # from a lost controller; nothing is written until a person says which side serves
    drill: FailoverDrilled | None = None  # the last failover drill
    observed: tuple[ObservedFlip, ...] = ()  # what mode observe would have done, the newest last
    halt: Halt | None = None  # of a halted domain
    came_home: CameHome | None = None  # how its homecoming stands


@dataclass(frozen=True, slots=True)
class MailboxStatus:
    """Up to when a mailbox was proved complete, and up to when that lies in a repository. None: never."""

    mailbox: str
    proved_at: datetime | None
    safe_at: datetime | None


@dataclass(frozen=True, slots=True)
class ServerStatus:
    server: str
    status: str  # ok | incomplete | failed | overdue | never | pulling: the first pull is under way, on course
    last_at: datetime | None = None
    last_result: str | None = None
    messages: int | None = None
    recovery_point_at: datetime | None = None
    guards: tuple[Guard, ...] = ()
    mailboxes: tuple[MailboxStatus, ...] = ()  # the one that is behind most first
    pull: Pull | None = None  # the one that is under way, or that stopped on its way
    is_secondary: bool = False  # what a homecoming reads, not a mail server of ours


@dataclass(frozen=True, slots=True)
class Upload:
    """A snapshot that is being written across a network."""

    since: datetime
    done: int  # bytes
    total: int | None

    @property
    def percent(self) -> int | None:
        return min(100, self.done * 100 // self.total) if self.total else None


@dataclass(frozen=True, slots=True)
class RepositoryStatus:
    repository: str
    status: str  # ok | failed | overdue | never
    snapshots: int | None = None
    last_snapshot_at: datetime | None = None
    last_check_at: datetime | None = None
    last_drill_at: datetime | None = None
    error: str = ""
    holds_at: datetime | None = None  # everything up to then is in it, of every server
    upload: Upload | None = None
    bucket: Mapping[str, Any] = field(default_factory=dict)  # what its S3 bucket said of itself when it was last looked at
    reading: Reading | None = None
    retention: Retention = field(default_factory=Retention)
    drill: Drilled | None = None  # the last one
    work: Work | None = None  # a forget or prune that is under way, or was killed on its way


@dataclass(frozen=True, slots=True)
class Status:
    at: datetime
    controller: str
    leader: bool
    domains: tuple[DomainStatus, ...]
    servers: tuple[ServerStatus, ...]
    repositories: tuple[RepositoryStatus, ...]
    findings: tuple[Finding, ...]  # whatever a person should know; none means all is well
    overdue: tuple[Overdue, ...] = ()
    disk_full_at: datetime | None = None  # where staging lies; None: not within a year, or not known yet
    events: tuple[Row, ...] = field(default=())
    vitals: tuple[Row, ...] = ()  # the newest of each mail server and source
