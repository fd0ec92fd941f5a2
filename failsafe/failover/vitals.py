"""What a mail server says of itself from inside, over SSH: room, queue, services, certificates, load. Parsed and judged; pure.

None of it moves mail by itself. The host's axis is shown; of delivery, a queue that waits says "degraded": what waits there is safe, so a person
is told and nothing is flipped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from failsafe.failover.sends_from import SendsFrom, parse_sends_from
from failsafe.model import ProbeClass

WAITING = timedelta(minutes=15)  # mail that has not been looked at yet is delivered within seconds on a server that works
LEAST_FREE_BYTES = (
    256 << 20
)  # Postfix refuses mail below 1.5 times its message size limit (queue_minfree); this leaves room for a day
LOW_SHARE = 0.10  # of room and of inodes: time to look
BUSY = 4.0  # load of five minutes for each processor, above which mail waits
CERTIFICATE_WARNED = timedelta(days=14)  # Let's Encrypt's tools renew 30 days before the end
LISTED = 50  # of anything that the server lists
UNTRIED = ("incoming", "active", "maildrop")  # Postfix's queues of mail that was not put off
MAIL_UNITS = (
    "postfix",
    "dovecot",
    "rspamd",
    "opendkim",
    "clam",
    "amavis",
    "fail2ban",
    "redis",
    "nginx",
    "docker",
    "exim",
    "certbot",
)


@dataclass(frozen=True, slots=True)
class Room:
    """One file system there."""

    path: str
    bytes_total: int
    bytes_free: int
    inodes_total: int
    inodes_free: int

    @property
    def share(self) -> float:
        return self.bytes_free / self.bytes_total if self.bytes_total else 1.0

    @property
    def inode_share(self) -> float:
        return self.inodes_free / self.inodes_total if self.inodes_total else 1.0  # btrfs and its like count none


@dataclass(frozen=True, slots=True)
class Queue:
    """Postfix's queue. `queues`: name -> (messages, arrival of the oldest). `own`: put off by the server's own delivery (LMTP and its like)."""

    queues: Mapping[str, tuple[int, datetime]]
    own: int = 0
    awaited: int = 0  # messages for the addresses that were asked about
    reasons: tuple[tuple[str, int], ...] = ()  # why mail is put off, without addresses
    cut: bool = False  # longer than was read

    @property
    def messages(self) -> int:
        return sum(count for count, _ in self.queues.values())

    def oldest_at(self, *names: str) -> datetime | None:
        return min((at for name, (_, at) in self.queues.items() if name in names), default=None)


@dataclass(frozen=True, slots=True)
class Certificate:
    path: str
    until: datetime
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MailLog:
    """Of the mail log since the look before. `kinds`: lines alike, counted, without names and numbers. `flow`: sent, deferred, bounced, rejected.

    `taken`: lines about mail for the addresses that were asked about, refusals left out; None where the program there is too old to tell.
    """

    position: str
    kinds: Mapping[str, int] = field(default_factory=dict)
    rest: int = 0  # lines of further kinds
    flow: Mapping[str, int] = field(default_factory=dict)
    taken: int | None = None

    @property
    def lines(self) -> int:
        return sum(self.kinds.values()) + self.rest


@dataclass(frozen=True, slots=True)
class Vitals:
    """One look from inside. None where the server could not tell."""

    load: tuple[float, float, float]  # of 1, 5 and 15 minutes
    processors: int
    rooms: tuple[Room, ...] = ()
    queue: Queue | None = None
    services: frozenset[str] = frozenset()
    failed_units: tuple[str, ...] = ()
    containers: Mapping[str, str] = field(default_factory=dict)  # name -> status
    certificates: tuple[Certificate, ...] = ()
    log: MailLog | None = None
    sends_from: SendsFrom | None = None


def parse_vitals(row: Mapping[str, Any]) -> Vitals | None:
    """The answer of the program there; None where it is too old to tell. Raises ValueError, TypeError or KeyError where it makes no sense."""
    if "spaces" not in row:
        return None
    load = [float(each) for each in list(row["load"])[:3]]
    rooms = [
        Room(str(each["path"]), int(each["bytes"]), int(each["bytes_free"]), int(each["inodes"]), int(each["inodes_free"]))
        for each in list(row["spaces"] or ())[:LISTED]
    ]
    certificates = [
        Certificate(str(each["path"]), datetime.fromtimestamp(int(each["until"]), UTC), tuple(map(str, each["names"][:LISTED])))
        for each in list(row.get("certificates") or ())[:LISTED]
    ]
    return Vitals(
        (load[0], load[1], load[2]),
        max(1, int(row.get("cpus") or 1)),
        tuple(rooms),
        _queue(row["queue"]) if row.get("queue") else None,
        frozenset(str(each)[:40] for each in list(row.get("services") or ())[:LISTED]),
        tuple(str(each)[:100] for each in list(row.get("failed_units") or ())[:LISTED]),
        {str(each["name"])[:100]: str(each["status"])[:40] for each in list(row.get("containers") or ())[:LISTED]},
        tuple(certificates),
        _log(row["log"]) if row.get("log") else None,
        parse_sends_from(row.get("sending")),
    )


def _queue(row: Mapping[str, Any]) -> Queue:
    queues = {
        str(name)[:40]: (int(entry["count"]), datetime.fromtimestamp(int(entry["oldest"]), UTC))
        for name, entry in list(row["queues"].items())[:LISTED]
    }
    reasons = tuple((str(words)[:200], int(count)) for words, count in list(row["reasons"])[:LISTED])
    return Queue(queues, int(row["own"]), int(row["awaited"]), reasons, bool(row["cut"]))


def _log(row: Mapping[str, Any]) -> MailLog:
    kinds = {str(words)[:250]: int(count) for words, count in list(row["kinds"])[:LISTED]}
    flow = {str(name)[:40]: int(count) for name, count in list(row["flow"].items())[:LISTED]}
    taken = None if row.get("taken") is None else int(row["taken"])
    return MailLog(str(row["position"])[:500], kinds, int(row["rest"]), flow, taken)


def judge_host(seen: Vitals, ran_before: Collection[str], now: datetime) -> tuple[ProbeClass, str]:
    """`ran_before`: services that were seen to run there lately. Down is what stops mail: no room, or Postfix not running."""
    dead, ill = list(_dead(seen, ran_before)), list(_ill(seen, ran_before, now))
    if dead:
        return ProbeClass.DOWN, "; ".join([*dead, *ill])
    if ill:
        return ProbeClass.DEGRADED, "; ".join(ill)
    least = min((room.share for room in seen.rooms), default=1.0)
    return ProbeClass.UP, f"room ({least:.0%} free), load ({seen.load[1]:.1f}), services and certificates are well"


def _dead(seen: Vitals, ran_before: Collection[str]) -> Iterator[str]:
    for room in seen.rooms:
        if room.bytes_free < LEAST_FREE_BYTES and room.share < LOW_SHARE:
            yield f"{room.path} is full: {room.bytes_free >> 20} MiB are free"
    if "postfix" in ran_before and "postfix" not in seen.services:
        yield "postfix does not run"


def _ill(seen: Vitals, ran_before: Collection[str], now: datetime) -> Iterator[str]:
    for room in seen.rooms:
        if room.share < LOW_SHARE and room.bytes_free >= LEAST_FREE_BYTES:
            yield f"{room.path} has {room.share:.0%} of its room left ({room.bytes_free >> 20} MiB)"
        if room.inode_share < LOW_SHARE:
            yield f"{room.path} has {room.inodes_free} inodes left ({room.inode_share:.0%})"
    for name in sorted(set(ran_before) - seen.services - {"postfix"}):
        yield f"{name} ran before and does not run now"
    for name, status in sorted(seen.containers.items()):
        if status != "running":
            yield f"container {name} is {status}"
    for unit in seen.failed_units:
        if any(part in unit for part in MAIL_UNITS):
            yield f"{unit} has failed"
    for certificate in seen.certificates:
        left = certificate.until - now
        if left < CERTIFICATE_WARNED:
            yield f"the certificate {certificate.path} {'ended' if left < timedelta(0) else 'ends'} on {certificate.until:%Y-%m-%d}"
    if seen.load[1] > BUSY * seen.processors:
        yield f"its load is {seen.load[1]:.1f} on {seen.processors} processor(s)"


def judge_queue(queue: Queue | None, now: datetime, *, lost: bool = False, taken: bool | None = None) -> tuple[ProbeClass, str]:
    """Of delivery. `lost`: a canary is overdue. One that waits in the queue is late; one that was taken and does not wait there is gone.

    `taken`: whether the server took mail for the canary's address since, by its log; None where that is not known. One that it did not take was lost
    before it came here: by the third party, or on a way that led elsewhere.
    """
    if queue is None:
        return ProbeClass.UNKNOWN, "there is no Postfix whose queue could be asked"
    if trouble := describe_queue(queue, now):
        return ProbeClass.DEGRADED, f"{trouble}; it is safe in the queue"
    if lost and queue.awaited:
        return ProbeClass.DEGRADED, f"{queue.awaited} message(s) for the canary's mailbox wait in the queue, and are safe there"
    if lost and taken is None:
        return (
            ProbeClass.UNKNOWN,
            "a canary is missing, and the mail log does not tell whether this server took it: nobody can read it",
        )
    if lost and not taken:
        return (
            ProbeClass.UNKNOWN,
            "by its log this server did not take the canary that is missing: it was lost before it came here",
        )
    if lost and not queue.cut:
        return ProbeClass.DOWN, "this server took the canary that is missing, and it does not wait in the queue either"
    return ProbeClass.UP, f"{queue.messages} message(s) wait in the queue, none of them for the server's own delivery"


def describe_queue(queue: Queue, now: datetime) -> str:
    """What is wrong with it; "" where nothing is."""
    oldest = queue.oldest_at(*UNTRIED)
    said = []
    if oldest is not None and now - oldest > WAITING:
        said.append(f"mail waits untried in the queue for {int((now - oldest).total_seconds() // 60)} min")
    if queue.own:
        why = next((words for words, _ in queue.reasons), "no reason given")
        said.append(f"{queue.own} message(s) are put off by the server's own delivery ({why})")
    return "; ".join(said)


def to_row(seen: Vitals) -> dict[str, Any]:
    """As it is kept: JSON values, bounded, no address."""
    queue, log = seen.queue, seen.log
    return {
        "load": [round(each, 2) for each in seen.load],
        "processors": seen.processors,
        "rooms": [[room.path, room.bytes_total, room.bytes_free, room.inodes_total, room.inodes_free] for room in seen.rooms],
        "queue": None
        if queue is None
        else {
            "queues": {name: [count, at.isoformat()] for name, (count, at) in queue.queues.items()},
            "own": queue.own,
            "reasons": [list(pair) for pair in queue.reasons],
        },
        "services": sorted(seen.services),
        "certificates": [[each.path, each.until.isoformat()] for each in seen.certificates],
        "log": None
        if log is None
        else {"position": log.position, "kinds": dict(log.kinds), "rest": log.rest, "flow": dict(log.flow), "taken": log.taken},
    }
