"""Canaries of one machine, and the look from inside: the real book and the real judges; the third party, the mailbox and the queue are the world's.

Nothing here is an event: whatever a canary meets on its way is worked out when somebody looks, and before the world changes (`advance`). So a process
that slept finds what it would have found.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from failsafe.failover.canary import REMEMBERED, Arrival, CanaryBook, judge_canary, looked_for_until, lost_from
from failsafe.failover.delivery import CANARY, INSIDE
from failsafe.failover.vitals import Queue, judge_queue
from failsafe.mail.canary import Canary
from failsafe.model import ProbeClass, Side
from tests.simulate.behind import LOSING
from tests.simulate.looks import SERVER
from tests.simulate.scenario import DOMAIN, HERE
from tests.simulate.senders import HOSTS_TRIED

if TYPE_CHECKING:
    from tests.simulate.machine import Machine

ON_THE_WAY = timedelta(seconds=5)
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=5), timedelta(seconds=4000)  # of the third party, between two tries
UNREACHED = ("dead", "silent")  # nobody logs in there
NEVER = ("gone", "later", "queued", "losing", "misfiling")  # fates of a canary that does not arrive
AWAY = "imap.away.example:993"
FAR = timedelta(days=2)  # by then whatever is overdue is so


@dataclass(slots=True)
class Transit:
    """A canary that the third party has accepted and not handed on."""

    canary: Canary
    next_at: datetime  # true time
    wait: timedelta = FIRST_WAIT


class Canaries:
    """What outlives a machine's processes: its book on the disk; what is under way; what lies in the mailboxes and in the primary's queue."""

    def __init__(self, machine: Machine) -> None:
        self._machine, self._world = machine, machine.world
        self._scenario = machine.world.scenario
        self.book = CanaryBook()
        self.queued: list[Canary] = []
        self.taken: list[datetime] = []  # by the primary, as its log tells
        self.swallowed: set[str] = set()  # numbers of those that the primary took and lost, and has not found again
        self._transit: list[Transit] = []
        self._found: list[Arrival] = []  # by nobody yet
        self._misfiled: list[Canary] = []
        self._sent = 0

    # -- looking ---------------------------------------------------------------------------------------------------------

    def see(self, looker: str, at: datetime) -> ProbeClass:
        """What a look then (true time, not later than now) sees."""
        return self._see_canary(at) if looker == CANARY else self._see_inside(at, self.book)

    def _see_canary(self, at: datetime) -> ProbeClass:
        """The steps of looks/canary.py."""
        self.advance(at)
        now, every, away = at + self._machine.offset, self._scenario.canary_every, self._away
        before = self.book
        for place in ("", AWAY):
            if self._reads(place) and (place == "" or (self._scenario.followed and (away or self.book.sent))):
                self._collect(place)
            elif bool(place) is away and (place == "" or self._scenario.followed):
                return ProbeClass.UNKNOWN
        book = replace(self.book.settle(now, every), away=away)
        if (away and not self._scenario.followed) or not self._leads:
            book = replace(book, sent=())
        self.book = self._send(book, at) if book.is_due(now, every) and self._leads else book
        if not self._leads:
            return ProbeClass.UNKNOWN
        found = self.book.arrived_since(before)
        if away and found is not None and not found.place:
            return ProbeClass.UP
        return ProbeClass.UNKNOWN if away else judge_canary(self.book, now, every)[0]

    def _collect(self, place: str) -> None:
        for each in [one for one in self._found if one.place == place]:
            self._found.remove(each)
            self.book = self.book.note_found(each)

    def _send(self, book: CanaryBook, at: datetime) -> CanaryBook:
        self._sent += 1
        canary = Canary(SERVER, f"{self._sent:016x}", (at + self._machine.offset).replace(microsecond=0))
        if self._refuses:
            return book.note_sent(canary, "the third party does not take it")
        self._transit.append(Transit(canary, at + ON_THE_WAY))
        return book.note_sent(canary)

    def _see_inside(self, at: datetime, book: CanaryBook) -> ProbeClass:
        """looks/inside.py: the queue, by the real judge."""
        if not self._logs_in or self._world.on("inside"):
            return ProbeClass.UNKNOWN
        for machine in self._world.machines.values():
            machine.canaries.advance(at)
        now = at + self._machine.offset
        awaited = sum(len(machine.canaries.queued) for machine in self._world.machines.values())
        queue, lost_at = Queue({}, own=self._world.put_off, awaited=awaited), lost_from(book, now, self._scenario.canary_every)
        after = None if lost_at is None else lost_at - self._machine.offset + self._scenario.every(INSIDE) * 0.5
        until = looked_for_until(at, self._scenario.canary_every)
        taken = after is not None and any(
            after < taken_at <= until for machine in self._world.machines.values() for taken_at in machine.canaries.taken
        )
        return judge_queue(queue, now, lost=lost_at is not None, taken=taken)[0]

    # -- what is so now --------------------------------------------------------------------------------------------------

    @property
    def _away(self) -> bool:
        record = self._world.store.records.get(DOMAIN)
        return record is not None and record.serving is Side.SECONDARY

    @property
    def _leads(self) -> bool:
        process = self._machine.process
        return process is not None and process.domains.lease is not None

    @property
    def _logs_in(self) -> bool:
        world = self._world
        return not world.offline(self._machine.name) and not world.on("route", HERE) and world.primary not in UNREACHED

    @property
    def _refuses(self) -> bool:
        return self._world.how("third-party") == "refused" or self._world.offline(self._machine.name)

    def _reads(self, place: str) -> bool:
        if place:
            return not self._world.offline(self._machine.name) and not self._world.on("secondary")
        return self._logs_in and not self._world.store_suspect

    # -- the way of a canary ---------------------------------------------------------------------------------------------

    def advance(self, until: datetime) -> None:
        """All that happens to canaries up to then, in a world that is as it is now since the last call."""
        if not self._transit and not self.queued and not self._misfiled:
            return
        for one in self._transit[:]:
            while one.next_at <= until and one in self._transit:
                self._try(one)
        world = self._world
        if self.queued and world.primary not in (*UNREACHED, *LOSING, "queueing"):
            self._found += [Arrival(each, world.primary_since) for each in self.queued]
            self.queued = []
        if self._misfiled and world.primary not in (*UNREACHED, "misfiling"):
            self._found += [Arrival(each, world.primary_since) for each in self._misfiled]
            self._misfiled = []

    def _try(self, one: Transit) -> None:
        fate = self._fate(int(one.canary.number, 16), one.next_at)
        if fate == "later":
            one.next_at += one.wait
            one.wait = min(one.wait * 2, LONGEST_WAIT)
            return
        self._transit.remove(one)
        if fate not in ("secondary", "gone"):
            self.taken = [*self.taken[-REMEMBERED:], one.next_at]
        if fate == "queued":
            self.queued.append(one.canary)
        elif fate == "misfiling":
            self._misfiled.append(one.canary)
            self.swallowed.add(one.canary.number)
        elif fate == "losing":
            self.swallowed.add(one.canary.number)
        elif fate in ("primary", "secondary"):
            self._found.append(Arrival(one.canary, one.next_at, "" if fate == "primary" else AWAY))

    def _fate(self, number: int, at: datetime) -> str:
        """What becomes of one that is handed on then: "primary", "secondary", "queued", "losing", "misfiling", "gone" or "later"."""
        world, third_party = self._world, self._world.how("third-party")
        if third_party in ("held", "swallows"):
            return "later" if third_party == "held" else "gone"
        found = world.zone.ask(number)
        for record in found.records[:HOSTS_TRIED] if found is not None else ():
            said = world.answer(record.exchange, at, greylists=False)  # the third party is known there for long
            if said == "delivered: primary":
                return "queued" if world.primary == "queueing" else "primary"
            if said == "delivered: secondary":
                return "secondary"
            if said != "later":
                return world.primary if said.startswith("swallowed") else "gone"
        return "later"

    # -- idle ticks ------------------------------------------------------------------------------------------------------

    def constant(self, at: datetime) -> dict[str, ProbeClass] | None:
        """What each look sees for as long as the world stays as it is; None where that changes by itself."""
        self.advance(at)
        canary = self._constant_canary(at)
        if canary is None:
            return None
        found = {CANARY: canary}
        if INSIDE in self._scenario.lookers:
            book = replace(self.book, sent=()) if canary is ProbeClass.UP else self.book
            found[INSIDE] = self._see_inside(at, self.book)
            if found[INSIDE] is not self._see_inside(at + FAR, book):
                return None
            if canary is ProbeClass.DOWN and found[INSIDE] is not canary and self._fate(0, at) in LOSING:
                return None  # those still to be sent will be taken, and whoever looks from inside will say so
        return found

    def _constantly_lost(self, at: datetime) -> ProbeClass | None:
        """Where none arrives, and one is overdue already."""
        comes = any(not one.place for one in self._found)
        overdue = self.book.overdue(at + self._machine.offset, self._scenario.canary_every)
        is_down = overdue and self.book.newest is not None and not self.book.refused and not comes
        return ProbeClass.DOWN if is_down else None

    def _constant_canary(self, at: datetime) -> ProbeClass | None:
        away, world, book = self._away, self._world, self.book
        if not self._leads:
            return ProbeClass.UNKNOWN
        if (away and self._scenario.followed and not self._reads(AWAY)) or (not away and not self._reads("")):
            return ProbeClass.UNKNOWN
        if not world.zone.settled:
            return None
        fate = self._fate(0, at)
        if not away and fate in NEVER and not self._refuses:
            return self._constantly_lost(at)
        if away:
            return None if fate == "primary" or any(not one.place for one in self._found) else ProbeClass.UNKNOWN
        if self._refuses:
            return ProbeClass.UNKNOWN if book.refused else None
        if fate != "primary" or book.newest is None or book.newest.place or book.refused:
            return None
        soon = (one for one in self._transit if one.next_at <= at + ON_THE_WAY)
        coming = {one.canary.number for one in (*soon, *(each for each in self._found if not each.place))}
        missing = (one for one in book.sent if one.number not in coming and one.sent_at > book.newest.canary.sent_at)
        return None if any(missing) else ProbeClass.UP
