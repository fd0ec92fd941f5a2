"""The words that every part shares, as frozen values. No behaviour beyond reading themselves; no I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Body:
    """A message's bytes in pieces, as often as they are wanted: a large one is never in memory whole.

    `size` bytes; `pieces` begins anew each time it is called. Its pieces are small, but for a message that is in memory anyway.
    """

    size: int
    pieces: Callable[[], Iterable[bytes]]

    @classmethod
    def of(cls, data: bytes) -> Body:
        return cls(len(data), lambda: (data,))

    def __len__(self) -> int:
        return self.size

    def head(self, count: int) -> bytes:
        """The first bytes."""
        found = b""
        for piece in self.pieces():
            found += piece[:count]
            if len(found) >= count:
                break
        return found[:count]


class Result(StrEnum):
    """How a backup ended. `ok` only when it is proven complete."""

    OK = "ok"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


class ProbeClass(StrEnum):
    """What one probe saw."""

    UP = "up"
    GREYLISTED = "greylisted"
    DEGRADED = "degraded"
    DOWN = "down"
    LYING = "lying"
    PROBE_BLOCKED = "probe-blocked"
    BANNED = "banned"
    UNKNOWN = "unknown"


class Verdict(StrEnum):
    """What one vantage concludes from its probes over time."""

    UP = "up"
    DOWN = "down"
    LYING = "lying"
    UNKNOWN = "unknown"


class Axis(StrEnum):
    """Health has axes; only inbound and lost delivery move MX."""

    INBOUND = "inbound"
    DELIVERY = "delivery"
    ACCESS = "access"
    SUBMISSION = "submission"
    HOST = "host"


class Severity(StrEnum):
    FAIL = "fail"
    WARN = "warn"
    OK = "ok"
    SKIPPED = "skipped"


class DomainState(StrEnum):
    """The states of a domain; docs/design.md says what each promises."""

    NORMAL = "normal"
    SUSPECT = "suspect"
    FAILING_OVER = "failing-over"
    FAILED_OVER = "failed-over"
    RECOVERING = "recovering"
    FAILING_BACK = "failing-back"
    HALTED = "halted"


class Side(StrEnum):
    """One of the two places that can take mail."""

    PRIMARY = "primary"
    SECONDARY = "secondary"


class Strategy(StrEnum):
    SWAP = "swap"
    ON_DEMAND = "on-demand"
    REPLACE = "replace"


class Mode(StrEnum):
    AUTO = "auto"
    MANUAL = "manual"
    OBSERVE = "observe"


@dataclass(frozen=True, slots=True)
class Guard:
    """A reason not to act: a code of the contract, a sentence, and the next step for a person."""

    code: str
    text: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """A judged fact of `doctor`."""

    code: str
    severity: Severity
    subject: str  # a domain, a server, a repository, a file
    text: str
    mend: str = ""
    blocks_failover: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Mx:
    """One MX record: lower preference is preferred (RFC 5321 section 5.1). `exchange` is lower case without the final dot."""

    preference: int  # 0…65535
    exchange: str


@dataclass(frozen=True, slots=True)
class MxSet:
    """The MX RRset of one domain. Never empty where it is written; an empty one means 'no MX record was found'."""

    records: tuple[Mx, ...]  # sorted, without duplicates
    ttl_seconds: int | None = None  # None: not known, or as found

    def __bool__(self) -> bool:
        return bool(self.records)

    def same_records(self, other: MxSet) -> bool:
        """Equal but for the TTL, which resolvers count down and some prerequisites do not compare (RFC 2136 2.4.2)."""
        return self.records == other.records

    @property
    def exchanges(self) -> frozenset[str]:
        return frozenset(record.exchange for record in self.records)

    @classmethod
    def of(cls, *records: tuple[int, str], ttl_seconds: int | None = None) -> MxSet:
        """`MxSet.of((10, "mail.example.org"), (20, "backup.example.net"))`: normalises names and order."""
        tidy = {Mx(preference, normal_name(exchange)) for preference, exchange in records}
        return cls(tuple(sorted(tidy)), ttl_seconds)


def normal_name(name: str) -> str:
    """A DNS name in lower case without the final dot (RFC 4343: names compare without case)."""
    return name.strip().rstrip(".").lower()


class Sign(StrEnum):
    """What evidence says beside its class, for whoever goes by it. The text says it to a person; nobody reads it there."""

    STANDS = "stands"  # of unknown: the server answers elsewhere, so whoever saw that is a witness of its death
    ANSWERED = "answered"  # of down: somebody took the call, and did not serve it
    PORT_25_BLOCKED = "port-25-blocked"  # on the way: another exchange could not be reached on it either
    PORT_25_WORKS = "port-25-works"  # of one that could not be reached: another exchange was
    LOGIN_REFUSED = "login-refused"  # it is not tried again before the password changes, or a week has passed
    REFUSED_FOR_NOW = "refused-for-now"  # of probe-blocked: with a 4xx, which may be a name server's bad minute
    SAYS_BANNED = "says-banned"  # of banned: the server's own words, not what its list of bans or its silence told
    TURNED_AWAY = "turned-away"  # of probe-blocked and banned: before TLS could begin
    COUNTED = "counted"  # the recipient was refused with a code that fail2ban's filter for Postfix may count
    BAD_CERTIFICATE = "bad-certificate"  # one that does not verify was shown
    BROKEN_TLS = "broken-tls"  # STARTTLS is offered and does not work


TESTIMONY = frozenset({Sign.STANDS, Sign.ANSWERED, Sign.PORT_25_BLOCKED, Sign.PORT_25_WORKS})


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one vantage saw of one axis of one mail server, once."""

    server: str
    vantage: str
    axis: Axis
    seen: ProbeClass
    at: datetime
    text: str  # one sentence for a person
    target: str = ""  # "mail.example.org:25"
    seconds: float = 0.0
    transcript: str = ""  # the session, credentials removed
    signs: frozenset[Sign] = frozenset()
    tls_fault: str = ""  # of inbound mail, with BAD_CERTIFICATE or BROKEN_TLS: what was wrong, for a person


@dataclass(frozen=True, slots=True)
class OwnLine:
    """Whether our own connection works: references asked before and after a round of probes."""

    at: datetime
    answered: int
    asked: int

    @property
    def up(self) -> bool:
        """A majority of the references answered; with none configured nobody can know, which is not 'up'."""
        return self.asked > 0 and self.answered * 2 > self.asked


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """What one authoritative name server says of a domain's MX. `mx` is None where it did not answer; `error` says why.

    With an answer, `error` says what of it is not well: over UDP or over TCP there was none.
    """

    nameserver: str  # "ns1.example.net (192.0.2.53:53)"
    mx: MxSet | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class ZonePromises:
    """What a DNS provider's adapter can promise."""

    atomic: bool  # all changes of one plan or none
    compare_and_set: bool  # the provider itself refuses when the zone is not what the plan expects
    minimum_ttl_seconds: int


@dataclass(frozen=True, slots=True)
class MxChange:
    """A planned change of one domain's MX RRset; applied only if the zone still holds `expected`."""

    domain: str
    zone: str
    expected: MxSet
    desired: MxSet
    mark: str  # ownership mark, at most 100 characters (Cloudflare's free comment limit)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a TLS-capable service listens and how it is trusted."""

    host: str
    port: int
    tls: str = "implicit"  # implicit | starttls | none (loopback only)
    ca_file: str | None = None  # added to the system's
    certificate_sha256: str | None = None  # IMAP only: this certificate and no other, whatever it says; lower-case hexadecimal


@dataclass(frozen=True, slots=True)
class Notice:
    """What a person is told. `render` puts it in one order: is mail being lost, where mail goes now, what you must do, since when."""

    subject: str
    losing_mail: str
    mail_goes: str
    must_do: str  # one command, or "nothing"
    since: datetime | None
    thread: str  # one incident, one thread
    severity: Severity = Severity.WARN
    details: str = ""
    event: str = ""  # of what event; written when it is stored, and names the runbook


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A restic snapshot as its repository lists it."""

    id: str  # all 64 hexadecimal digits
    host: str
    at: datetime
    tags: tuple[str, ...] = ()
    original: str = ""  # id of the snapshot that this one is, with other tags


@dataclass(frozen=True, slots=True)
class SnapshotTaken:
    """A snapshot just made and read back from its repository."""

    id: str
    bytes_added: int  # packed where restic says so (0.17 and newer), else raw
    took: timedelta
    files: tuple[str, ...] | None = None  # all that it holds, read back with it; None: ask for the list


class FlipKind(StrEnum):
    """What a journalled plan is for."""

    FAILOVER = "failover"
    FAILBACK = "failback"
    ADOPT_MX = "adopt-mx"


class Outcome(StrEnum):
    """How a journalled plan ended. `void`: nothing was written and the plan is no longer wanted."""

    DONE = "done"
    FAILED = "failed"
    VOID = "void"


@dataclass(frozen=True, slots=True)
class NewIntent:
    """A plan about to be carried out; committed to the journal before the provider hears of it."""

    domain: str
    kind: FlipKind
    by: str  # a controller's id, or "person"
    reason: str
    planned_at: datetime
    deadline_at: datetime  # verified by then, or the domain is halted
    before: MxSet
    desired: MxSet
    digest: str


@dataclass(frozen=True, slots=True)
class Intent:
    """A journalled plan; `outcome` is None while it is unfinished. `epoch` is the domain's at the time it was begun."""

    id: int
    domain: str
    epoch: int
    kind: FlipKind
    by: str
    reason: str
    planned_at: datetime
    deadline_at: datetime
    before: MxSet
    desired: MxSet
    digest: str
    outcome: Outcome | None = None
    outcome_at: datetime | None = None
    outcome_text: str = ""


@dataclass(frozen=True, slots=True)
class ObservedFlip:
    """A flip that mode `observe` would have made at `at` or, where `guards` stood, that was due and would have been held up."""

    kind: FlipKind
    at: datetime
    incident_at: datetime | None
    why: tuple[str, ...]
    change: tuple[str, ...]
    guards: tuple[str, ...]
    over_at: datetime | None = None  # when the primary served and was well again


@dataclass(frozen=True, slots=True)
class DomainRecord:
    """What the journal knows of one domain. `epoch` grows with every change and is compared before every one."""

    domain: str
    state: DomainState
    since_at: datetime
    serving: Side
    epoch: int = 0
    previous: MxSet | None = None  # the exact set that failback restores
    held_until: datetime | None = None
    hold_reason: str = ""
    draining_until: datetime | None = None
    reason: str = ""  # why it is in this state, for a person
    written: MxSet | None = None  # what the last finished failover wrote; another set is drift
    attempted: MxSet | None = None  # what an unfinished or failed plan may still have written
    suspected_at: datetime | None = None  # when the present incident began; None in peace
    failures: int = 0  # plans of this incident that the provider refused
    retry_at: datetime | None = None  # not before
    retried: int | None = None  # the intent that was sent a second time after a read-back
    accepted: int | None = None  # the intent whose write the provider took, before it was seen anywhere
    told: str = ""  # digest of what a person was last told about a waiting flip
    taken_over_at: datetime | None = (
        None  # when this machine took over from a lost one; until a person acknowledges, nothing is written
    )
    observed: tuple[ObservedFlip, ...] = ()  # the newest last
    attempted_at: datetime | None = None  # when what is in `attempted` was planned
    bouncing: bool = False  # when the last plan was begun, the primary refused mail for good (5xx), so senders got it back
    store_lost: bool = False  # of a halted one: the primary came back without its mail
