"""A DNS provider, its authoritative servers and a clock in memory: for faults that no real server can be asked for.

`FakeZone` passes the same conformance suite as the real adapters (tests/contract/test_dns_zone.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from failsafe.errors import DnsError, OutcomeUnknown, SecretError, ZoneChanged
from failsafe.failover.own_records import PROOF_EXCHANGE, not_ours
from failsafe.failover.scratch import PROOF, is_scratch, scratch_name
from failsafe.failover.zone import describe
from failsafe.model import MxChange, MxSet, ServerAnswer, ZonePromises


class FakeClock:
    """Time that passes only when someone sleeps, or `pass_time` is called. `asleep` is called after every sleep."""

    def __init__(self, start: datetime = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)) -> None:
        self.at = start
        self.asleep: Callable[[], None] = lambda: None
        self.sleeps = 0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        assert self.sleeps < 100_000, "an endless loop"
        self.pass_time(timedelta(seconds=seconds))
        self.asleep()

    def pass_time(self, span: timedelta) -> None:
        self.at += span


class FakeZone:
    """One RRset per domain with compare-and-set. `faults` holds what the next writes meet, `read_faults` what the next reads meet.

    Faults: "ok", "refused", "no-key" (its file is gone), "lost-before" (the request never arrived), "lost-after" (written, the answer was lost),
    "late" (the answer was lost, and it is written when `land` is called), "deaf" (the provider says yes and writes nothing).
    """

    promises = ZonePromises(atomic=True, compare_and_set=True, minimum_ttl_seconds=0)

    def __init__(self, sets: dict[str, MxSet]) -> None:
        self.sets = dict(sets)
        self.history: list[MxSet] = list(sets.values())
        self.faults: deque[str] = deque()
        self.read_faults: deque[str] = deque()
        self.attempts = 0
        self._waiting: list[MxChange] = []

    def read(self, zone: str, domain: str) -> MxSet:  # noqa: ARG002 - the port's signature
        if self.read_faults and self.read_faults.popleft() != "ok":
            raise DnsError("the provider does not answer")
        return self.sets.get(domain, MxSet(()))

    def preview(self, change: MxChange) -> tuple[str, ...]:
        self._demand(change)
        return (f"set {change.domain} to", *(f"{record.preference} {record.exchange}" for record in change.desired.records))

    def apply(self, change: MxChange) -> None:
        assert change.expected or is_scratch(change.domain), "the first MX record of a domain is written by a person"
        assert change.desired, "an empty MX set is never written"
        self.attempts += 1
        fault = self.faults.popleft() if self.faults else "ok"
        _meet(fault)
        if fault == "late":
            self._waiting.append(change)
            raise OutcomeUnknown("no answer")
        if fault == "deaf":
            return
        self._write(change)
        if fault == "lost-after":
            raise OutcomeUnknown("no answer")

    def clear(self, zone: str, name: str) -> None:  # noqa: ARG002 - the port's signature
        assert is_scratch(name), name
        fault = self.faults.popleft() if self.faults else "ok"
        _meet(fault)
        if fault != "deaf" and name in self.sets:
            self.history.append(self.sets.pop(name))
        if fault == "lost-after":
            raise OutcomeUnknown("no answer")

    def protected(self, zone: str, domain: str) -> tuple[str, ...]:  # noqa: ARG002 - the port's signature
        return ()

    def credential_ends(self) -> datetime | None:
        return None

    def other_zones(self, zone: str) -> tuple[str, ...] | None:  # noqa: ARG002 - the port's signature
        return ()

    def name_servers(self, zone: str) -> tuple[str, ...]:
        return (f"ns1.{zone}",)

    def scratch(self, zone: str, domain: str) -> FakeScratch:  # noqa: ARG002 - the port's signature
        return FakeScratch(self, scratch_name(PROOF, domain))

    def land(self) -> None:
        """The requests that were on their way arrive."""
        while self._waiting:
            with suppress(ZoneChanged):
                self._write(self._waiting.pop(0))

    def put(self, domain: str, found: MxSet) -> None:
        """Somebody else writes."""
        self.sets[domain] = found
        self.history.append(found)

    def _demand(self, change: MxChange) -> None:
        if not self.sets.get(change.domain, MxSet(())).same_records(change.expected):
            raise ZoneChanged(f"{change.domain} holds something else")

    def _write(self, change: MxChange) -> None:
        self._demand(change)
        ttl = (
            change.desired.ttl_seconds
            if change.desired.ttl_seconds is not None
            else self.sets.get(change.domain, MxSet(())).ttl_seconds
        )
        self.put(change.domain, MxSet(change.desired.records, ttl))


def _meet(fault: str) -> None:
    """Faults before anything was written."""
    if fault == "refused":
        raise DnsError("the provider refused", mend="look at the token")
    if fault == "no-key":
        raise SecretError("the key's file is gone", mend="put it back")
    if fault == "lost-before":
        raise OutcomeUnknown("no answer")


class FakeScratch:
    """ports.ScratchRecord on a FakeZone. `blind`: the provider accepts whatever it is sent, as one that ignores prerequisites."""

    def __init__(self, zone: FakeZone, name: str, *, blind: bool = False) -> None:
        self.zone, self.name, self.blind = zone, name, blind

    def read(self) -> tuple[int, ...]:
        found = self.zone.sets.get(self.name, MxSet(()))
        if found.exchanges - {PROOF_EXCHANGE}:
            raise not_ours("MX", self.name, describe(found))
        return tuple(record.preference for record in found.records)

    def ttl_seconds(self) -> int | None:
        return self.zone.sets.get(self.name, MxSet(())).ttl_seconds

    def write(self, expected: int | None, number: int) -> None:
        if not self.blind and self.read() != (() if expected is None else (expected,)):
            raise ZoneChanged(f"{self.name} holds something else")
        self.zone.sets[self.name] = MxSet.of((number, PROOF_EXCHANGE), ttl_seconds=self.zone.promises.minimum_ttl_seconds)

    def clear(self) -> None:
        if self.read():
            del self.zone.sets[self.name]


class FakeAuthorities:
    """Servers that follow the provider, unless they are in `frozen` (give that set) or in `silent`."""

    def __init__(self, zone: FakeZone, names: tuple[str, ...] = ("ns1", "ns2")) -> None:
        self.zone = zone
        self.names = names
        self.frozen: dict[str, MxSet] = {}
        self.silent: set[str] = set()

    def mx(self, domain: str) -> tuple[ServerAnswer, ...]:
        return tuple(self._answer(name, domain) for name in self.names)

    def _answer(self, name: str, domain: str) -> ServerAnswer:
        if name in self.silent:
            return ServerAnswer(name, None, "no answer within 3 s")
        return ServerAnswer(name, self.frozen.get(name, self.zone.sets.get(domain, MxSet(()))))
