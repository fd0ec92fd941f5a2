"""What a process reaches the world through. Every call passes a named point: there it can be killed, stopped, or cut off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

from failsafe.errors import DnsError, StoreError
from failsafe.events import Event
from failsafe.failover.readiness import VALID_FOR
from failsafe.model import DomainRecord, DomainState, Intent, MxChange, MxSet, NewIntent, Outcome, ServerAnswer, ZonePromises
from failsafe.ports import FlipJournal
from failsafe.store.duties import DoctorRun
from failsafe.store.lease import Lease
from tests.simulate.engine import START, chance
from tests.simulate.zone import CALL, GIVES_UP, SLOW, late, lost

if TYPE_CHECKING:
    from tests.simulate.machine import Process

DOCTOR_EVERY = timedelta(hours=1)
DOCTOR_BEGAN = START - VALID_FOR


class Ports:
    """All ports of one process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.clock = ProcessClock(process)
        self.zone = ProviderPort(process)
        self.authorities = AuthoritiesPort(process)
        self.leases = LeasePort(process)
        self.duties = Duties(process)

    def journal(self, lease: Lease | None, heard: Callable[[Event], None]) -> JournalPort:
        return JournalPort(self._process, self._process.world.keeper.journal(lease, heard))


class ProcessClock:
    """A machine's clock: true time and an error. The process may be gone when it wakes."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def now(self) -> datetime:
        return self._process.world.engine.now + self._process.machine.offset

    def monotonic(self) -> float:
        return (self._process.world.engine.now - START).total_seconds()

    def sleep(self, seconds: float) -> None:
        process = self._process
        process.machine.passing(process, "sleep")
        process.world.engine.run_until(process.world.engine.now + timedelta(seconds=seconds))
        process.machine.passing(process, "")


class ProviderPort:
    """ports.DnsZone, as one machine reaches it."""

    promises = ZonePromises(atomic=True, compare_and_set=True, minimum_ttl_seconds=0)

    def __init__(self, process: Process) -> None:
        self._process = process

    def read(self, zone: str, domain: str) -> MxSet:  # noqa: ARG002 - the port's signature
        process = self._process
        record = process.world.store.records.get(domain)
        if record is not None and record.state is not DomainState.NORMAL:  # in peace it reads when it likes
            process.machine.passing(process, "read")
            if process.flip_is_due():
                process.machine.passing(process, "due")
        if process.world.offline(process.machine.name):
            raise DnsError("the provider cannot be reached")
        return process.world.zone.read()

    def apply(self, change: MxChange) -> None:
        process, world = self._process, self._process.world
        process.machine.passing(process, "apply")
        world.watchman.applying(process, change)
        how = "offline" if world.offline(process.machine.name) else world.how("provider")
        world.note(f"{process.machine.name}: asks the provider{f' ({how})' if how else ''}")
        if how == "offline":
            process.clock.sleep(GIVES_UP.total_seconds())
            raise (
                lost("our line is down")
                if chance(world.scenario.seed, "offline", world.engine.now) < 0.5
                else DnsError("no route")
            )
        if how in ("limited", "revoked", "unreadable", "denied"):
            raise DnsError(f"the provider refused ({how})", mend="look at the provider")
        if how == "deaf":
            return
        if how in ("before", "late"):
            if how == "late":
                world.engine.after(
                    timedelta(seconds=2000 * chance(world.scenario.seed, "late", world.engine.now) ** 3), late, world.zone, change
                )
            process.clock.sleep(GIVES_UP.total_seconds())
            raise lost(how)
        self._commit(change, how)
        process.machine.passing(process, "applied")
        if how in ("after", "garbage"):
            process.clock.sleep(GIVES_UP.total_seconds())
            raise lost(how)

    def _commit(self, change: MxChange, how: str) -> None:
        world, clock = self._process.world, self._process.clock
        clock.sleep((SLOW if how == "slow" else CALL).total_seconds())
        if world.scenario.fenced:
            world.zone.commit(change)
            return
        late_check = MxChange(change.domain, change.zone, change.expected, world.zone.held, "")
        if not world.zone.held.same_records(change.expected):
            world.zone.commit(late_check)  # raises
        clock.sleep(CALL.total_seconds())  # between the comparison and the write somebody else may write
        world.zone.commit(change, blind=True)


class AuthoritiesPort:
    """ports.Authorities: through a dead line of ours nobody answers."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def mx(self, domain: str) -> tuple[ServerAnswer, ...]:  # noqa: ARG002 - the port's signature
        answers = self._process.world.zone.answers()
        if not self._process.world.offline(self._process.machine.name):
            return answers
        return tuple(replace(answer, mx=None, error="no route") for answer in answers)


class JournalPort:
    """ports.FlipJournal with named points before and after each commit; its database can be cut off."""

    def __init__(self, process: Process, journal: FlipJournal) -> None:
        self._process = process
        self._journal = journal

    def load(self, domain: str, now: datetime) -> DomainRecord:
        self._reach()
        return self._journal.load(domain, now)

    def unfinished(self, domain: str) -> Intent | None:
        self._reach()
        return self._journal.unfinished(domain)

    def newest(self, domain: str) -> Intent | None:
        return self._journal.newest(domain)

    def flips(self, domain: str, since_at: datetime) -> tuple[Intent, ...]:
        return self._journal.flips(domain, since_at)

    def begin(
        self, record: DomainRecord, changed: DomainRecord, plan: NewIntent, events: Sequence[Event]
    ) -> tuple[DomainRecord, Intent]:
        self._before("begin")
        kept = self._journal.begin(record, changed, plan, events)
        self._process.world.watchman.began(kept[1])
        self._after("begun")
        return kept

    def finish(
        self, record: DomainRecord, changed: DomainRecord, intent: Intent, outcome: Outcome, text: str, events: Sequence[Event]
    ) -> DomainRecord:
        seen_at = self._process.world.engine.now
        self._before("finish")
        kept = self._journal.finish(record, changed, intent, outcome, text, events)
        self._process.world.watchman.finished(self._process, intent, outcome, seen_at)
        self._after("finished")
        return kept

    def change(self, record: DomainRecord, changed: DomainRecord, events: Sequence[Event]) -> DomainRecord:
        self._before("change")
        kept = self._journal.change(record, changed, events)
        self._after("changed")
        return kept

    def _reach(self) -> None:
        if self._process.machine.book.unreachable:
            raise StoreError("the database failed: unable to open")

    def _before(self, point: str) -> None:
        self._process.machine.passing(self._process, point)
        self._reach()

    def _after(self, point: str) -> None:
        self._process.world.watchman.changed(self._process)
        self._process.world.wake(but=self._process)
        self._process.machine.passing(self._process, point)


class LeasePort:
    def __init__(self, process: Process) -> None:
        self._process = process

    def acquire(self, holder: str, now: datetime) -> Lease | None:
        if self._process.machine.book.unreachable:
            raise StoreError("the database failed: unable to open")
        return self._process.world.keeper.acquire(holder, now)


class Duties:
    """What backups and the doctor left in the database: the doctor runs every hour, and sees what was so at that time."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._runs: dict[int, DoctorRun] = {}

    def all(self) -> dict[str, SimpleNamespace]:
        guards = [{"code": "store-rebuilt", "text": "the mail store is new"}] if self._process.world.store_suspect else []
        return {"guards:vps": SimpleNamespace(details={"guards": guards})}

    def last_doctor_run(self, before: datetime | None = None) -> DoctorRun | None:
        process = self._process
        offset = process.machine.offset
        at = process.world.engine.now if before is None else before - offset - timedelta(microseconds=1)
        number = min(at, process.world.engine.now) - DOCTOR_BEGAN
        run = process.world.doctor_run(process.machine, number // DOCTOR_EVERY)
        return replace(run, at=run.at + offset)
