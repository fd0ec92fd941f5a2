"""What the core asks of the world, as narrow protocols. One conformance suite per port runs on its fake and on the real thing.

Every method has a deadline of its own inside the adapter and raises only errors of `failsafe.errors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from failsafe.dns_ports import Authorities as Authorities  # noqa: PLC0414 - everybody asks `ports` for them
from failsafe.dns_ports import DnsZone as DnsZone  # noqa: PLC0414
from failsafe.dns_ports import ProviderZone as ProviderZone  # noqa: PLC0414
from failsafe.dns_ports import ScratchRecord as ScratchRecord  # noqa: PLC0414
from failsafe.events import Event
from failsafe.model import (
    Body,
    DomainRecord,
    Intent,
    NewIntent,
    Notice,
    Outcome,
    SnapshotInfo,
    SnapshotTaken,
)


class Clock(Protocol):
    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class Progress(Protocol):
    """Told how far a long job is; a bar on a terminal, nothing elsewhere."""

    def stage(self, text: str, total: int | None = None, unit: str = "") -> None:
        """A new stage begins; `total` None means unknown; `unit` is "B" for bytes or a plural noun."""

    def advance(self, amount: int) -> None: ...


class Channel(Protocol):
    """A duplex byte stream to a program on a mail server (or on this machine)."""

    def send(self, data: bytes) -> None: ...
    def receive(self, maximum: int) -> bytes:
        """At least one byte, or b"" at the end of the stream. Raises SshError/ProcessError on a cut or after the silence deadline."""
        ...

    def close(self) -> None:
        """Ends the program; safe to call twice."""


class MailHost(Protocol):
    """The machine that holds the mail store: over SSH, or this one."""

    @property
    def name(self) -> str: ...
    def open(self, command: Sequence[str]) -> Channel:
        """Starts `command` there (quoted by the adapter). Raises SshError, HostKeyError, ProcessError."""
        ...


@dataclass(frozen=True, slots=True)
class SnapshotRequest:
    """One `restic backup` of a staging folder: always cwd=`folder`, source '.', so that tree paths stay the same everywhere."""

    folder: Path
    host: str  # failsafe-SERVER
    tags: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()  # restic patterns, relative, in order
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class CheckReport:
    """`restic check`: what was read and what was found damaged, in restic's own words."""

    ok: bool
    read_percent: float
    damaged: tuple[str, ...] = ()
    took: timedelta = field(default_factory=timedelta)
    packs_read: int | None = None  # files of data, in this part and in all; None where restic did not say
    packs: int | None = None


@dataclass(frozen=True, slots=True)
class PruneReport:
    """`restic prune`: what it took away and what is left, in bytes as they are stored. None: restic did not say."""

    bytes_freed: int | None = None
    bytes_left: int | None = None
    took: timedelta = field(default_factory=timedelta)


class Repository(Protocol):
    """One restic repository. Raises ResticError (its `kind` says which failure)."""

    @property
    def name(self) -> str: ...
    def ensure(self) -> str:
        """Opens it, creates it where there is none yet, and gives its id (64 hex digits)."""
        ...

    def open(self) -> str:
        """Its id; never creates. Raises ResticError(kind="no-repository")."""
        ...

    def backup(self, request: SnapshotRequest, progress: Progress) -> SnapshotTaken:
        """Snapshots a folder and reads the snapshot back. rc 3 is ResticError(kind="incomplete")."""
        ...

    def retag(self, snapshot_id: str, tags: Sequence[str]) -> str:
        """Gives a snapshot these tags instead of its own; its new id. Reads back: ResticError unless it is listed with them alone."""
        ...

    def recognises(self, snapshot_id: str) -> bool:
        """Whether this is surely the repository we know, with that snapshot in it, as far as can be seen without opening it.

        False wherever that cannot be seen so: then open it.
        """
        ...

    def snapshots(self, host: str | None = None) -> tuple[SnapshotInfo, ...]:
        """Oldest first."""
        ...

    def fetch(self, snapshot_id: str, paths: Sequence[str], target: Path, progress: Progress | None = None) -> None:
        """Restores exactly these files (paths relative to the staging folder) below `target`; verifies that each one arrived.

        Raises ResticError naming what is missing: restic itself answers 0 when nothing matched.
        """

    def fetch_some(self, snapshot_id: str, paths: Sequence[str], target: Path) -> None:
        """Restores those of these files that the snapshot has, and says nothing of the others. Half the time of `fetch`. Raises ResticError."""

    def list_files(self, snapshot_id: str, folder: str) -> tuple[str, ...]:
        """Paths of the files below `folder` (relative to the staging folder, "" for all)."""
        ...

    def list_sizes(self, snapshot_id: str) -> Mapping[str, int]:
        """All files of a snapshot, with their sizes in bytes."""
        ...

    def check(self, *, part: int = 0, parts: int = 0) -> CheckReport:
        """`restic check`; with parts > 0 also reads the data of part `part` (1…parts, at most 256). Damage is a report, not an exception."""
        ...

    def forget(self, snapshot_ids: Sequence[str]) -> None:
        """Takes exactly these snapshots (whole ids) off the list; their data stays until `prune`. Reads back: ResticError unless all are gone."""

    def prune(self, progress: Progress | None = None, *, whole: bool = False) -> PruneReport:
        """Removes the data that no snapshot needs any more; with `whole` also what lies among data that is needed, however little it is.

        `progress` counts what each of its steps counts. Killed at any moment, it is done again by the next.
        """
        ...

    def unlock(self) -> None:
        """Plain `restic unlock`: stale locks only."""


class FlipJournal(Protocol):
    """The durable state of every domain and every plan ever begun. Each writing method is one transaction that first checks that this
    controller still leads and that `record.epoch` is still the domain's: LeaseLost otherwise, and nothing is written. Raises StoreError.
    """

    def load(self, domain: str, now: datetime) -> DomainRecord:
        """What is known of a domain; one never seen is `normal`, serving `primary`, epoch 0 (and is not written)."""
        ...

    def unfinished(self, domain: str) -> Intent | None: ...
    def newest(self, domain: str) -> Intent | None:
        """The plan that was begun last, finished or not."""
        ...

    def flips(self, domain: str, since_at: datetime) -> tuple[Intent, ...]:
        """Failovers and failbacks that were done since then, oldest first."""
        ...

    def begin(
        self, record: DomainRecord, changed: DomainRecord, plan: NewIntent, events: Sequence[Event]
    ) -> tuple[DomainRecord, Intent]:
        """Journals a plan and the domain's new state. A second unfinished plan for a domain is refused (Refused)."""
        ...

    def finish(
        self, record: DomainRecord, changed: DomainRecord, intent: Intent, outcome: Outcome, text: str, events: Sequence[Event]
    ) -> DomainRecord:
        """Writes how a plan ended and the domain's new state."""
        ...

    def change(self, record: DomainRecord, changed: DomainRecord, events: Sequence[Event]) -> DomainRecord:
        """A change of the domain's record without a plan. Gives `changed` with the new epoch."""
        ...


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as it lies in a mailbox on an IMAP server."""

    uid: int
    size: int  # RFC822.SIZE
    internal_date: datetime
    flags: frozenset[str]  # system flags "\\Seen" and keywords alike, \\Recent left out
    message_id: str  # as in the header, stripped; "" where there is none


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to be put into a mailbox. `flags`: as of StoredMessage."""

    body: Body
    flags: frozenset[str]
    internal_date: datetime


class MailboxServer(Protocol):
    """One mailbox on an IMAP server, opened with a credential given for this run. Folder names are UTF-8 with '/'."""

    def folders(self) -> tuple[str, ...]: ...
    def create_folder(self, folder: str) -> None:
        """Also subscribes; an existing folder is no error."""

    def attributes(self) -> Mapping[str, frozenset[str]]:
        """What the server says of each folder, in lower case, such as "\\sent" (RFC 6154)."""
        ...

    def messages(self, folder: str, *, above: int = 0) -> tuple[StoredMessage, ...]:
        """Those with higher UIDs than `above`."""
        ...

    def uid_validity(self, folder: str) -> int | None:
        """Of a folder that was opened before; None where the server did not say."""
        ...

    def read(self, folder: str, uids: Iterable[int]) -> Iterator[tuple[int, Iterable[bytes]]]:
        """(uid, its bytes in pieces) with BODY.PEEK[]: sets no flag. Pieces are to be read before the next message is asked for."""
        ...

    def append(self, folder: str, message: Body, flags: frozenset[str], internal_date: datetime) -> int | None:
        """Gives the new UID where the server tells it (UIDPLUS). Raises MailError."""

    @property
    def takes_many(self) -> bool:
        """Whether it has `append_all`."""

    def append_all(self, folder: str, messages: Sequence[NewMessage]) -> tuple[int | None, ...]:
        """All of them or, where it refuses one, none (MULTIAPPEND, RFC 3502); they are in memory meanwhile. Raises MailError."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class FolderState:
    """A folder on an IMAP server at one moment. None: the server does not say."""

    uid_validity: int
    uid_next: int | None
    messages: int
    modseq: int | None  # HIGHESTMODSEQ (RFC 7162): grows with every change, so an equal state is an unchanged folder


@dataclass(frozen=True, slots=True)
class SourceFolder:
    """A folder as the server lists it. `state` is None where the server cannot tell it, with `why`."""

    name: str
    subscribed: bool
    state: FolderState | None
    why: str = ""
    uses: frozenset[str] = frozenset()  # what LIST says that it is for (RFC 6154), in lower case: "\\all", "\\junk"


@dataclass(frozen=True, slots=True)
class SourceMessage:
    """What a server says about a message without its bytes. `internal_date` is None where it is no date."""

    uid: int
    size: int  # RFC822.SIZE
    internal_date: datetime | None
    flags: frozenset[str]  # system flags and keywords, as they come
    identity: str = ""  # the server's word that two messages of one mailbox with equal identities are the same
    certain: bool = False  # it is one that cannot repeat; else equal headers must prove it as well


@dataclass(frozen=True, slots=True)
class FolderChanges:
    """Since a modseq: flags by UID, and ranges of UIDs that vanished (None: the server does not say which)."""

    flags: Mapping[int, frozenset[str]]
    vanished: tuple[tuple[int, int], ...] | None


class SourceMailbox(Protocol):
    """One mailbox on an IMAP server, only for reading: no flag changes by it. Folder names are UTF-8 with "/".

    Raises MailError: `transient` for a broken line, after which only `close` may follow; else a refusal, and the session goes on.
    """

    @property
    def commands(self) -> int:
        """Sent so far: at most so many round trips."""
        ...

    @property
    def received(self) -> int:
        """Bytes."""
        ...

    @property
    def left_out(self) -> tuple[str, ...]:
        """Folders of others that the listing showed: shared, and other users'."""
        ...

    def folders(self) -> tuple[SourceFolder, ...]:
        """Those that can hold messages, INBOX first."""
        ...

    def open(self, folder: str) -> FolderState:
        """The methods below speak of the folder that was opened last."""
        ...

    def uids(self, among: Sequence[int] = ()) -> list[int]:
        """Of all messages that are there, or of those among these; sorted."""
        ...

    def changes(self, modseq: int, below: int) -> FolderChanges:
        """What happened since `modseq` to messages with UIDs below `below`."""
        ...

    def facts(self, uids: Sequence[int]) -> Iterator[SourceMessage]:
        """Of those that are there, in no order."""
        ...

    def flags(self, uids: Sequence[int]) -> Iterator[tuple[int, frozenset[str]]]: ...
    def headers(self, uids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """The whole header of each, with the empty line that ends it."""
        ...

    def bodies(self, wanted: Sequence[tuple[int, int]]) -> Iterator[tuple[int, Iterable[bytes]]]:
        """(uid, its bytes in pieces) for (uid, size), in the order asked for, many to a request and the next request under way.

        One that is not there is not given. Pieces are to be read before the next message is asked for.
        """
        ...

    def close(self) -> None: ...


class MailSource(Protocol):
    """A mail server whose mailboxes are read by IMAP."""

    @property
    def name(self) -> str: ...
    def mailboxes(self) -> tuple[str, ...]:
        """user@domain of every mailbox that is to be backed up. Raises ExternalError, ConfigError."""
        ...

    def open(self, mailbox: str) -> SourceMailbox:
        """Raises MailError (`credential` where the login was refused), SecretError, SshError, ProcessError."""
        ...


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a notice at one address (the address is shown without its secrets)."""

    address: str
    arrived: bool
    error: str = ""


class Notifier(Protocol):
    def send(self, notice: Notice) -> tuple[Delivery, ...]: ...


class Recorder(Protocol):
    """One event: a row, a log line and, where it asks for one, a notice."""

    def __call__(self, event: Event) -> None: ...


# Called with a line that a person may want to see while a long job runs.
Narrator = Callable[[str], None]
Environment = Mapping[str, str]
