"""Brings what was found to the primary's mailboxes: looked for there first, given once, read back, written into the ledger before and after.

Theory. APPEND has no name for a message, so nothing but looking can tell whether one whose answer was lost has arrived. Each batch is `intended`
in the ledger before the first byte goes, and has its outcome there after it was read back; a run that was cut off in between leaves intents, and
the next run looks for those messages, as it does for all, before it gives any.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from failsafe.backup.destinations.base import AlreadyThere, Rejected
from failsafe.backup.destinations.imap import ImapDestination, is_about_room
from failsafe.backup.restore_plan import Wanted
from failsafe.errors import ArchiveError
from failsafe.homecoming.filtering import FilterScript, filed, head_of, is_filtered, with_places
from failsafe.homecoming.folders import folder_at
from failsafe.homecoming.found import Found
from failsafe.homecoming.ledger import AT_HOME, Entry, Key, Ledger, State
from failsafe.homecoming.look import look_at_primary
from failsafe.homecoming.plan import Arrival, Plan, Waits, plan_homecoming
from failsafe.model import Body
from failsafe.ports import MailboxServer, Narrator, Progress

SMALL = 1 << 20  # bytes of a message that is held in memory
TOGETHER, TOGETHER_BYTES = 500, 32 << 20  # messages, and bytes of them, between two looks at what came of them


@dataclass(slots=True)
class Delivery:
    """One run for one domain. `connect(mailbox)` opens one at the primary; `bodies` gives a found message as it is delivered."""

    domain: str
    ledger: Ledger
    connect: Callable[[str], MailboxServer]
    bodies: Callable[[Found], Iterable[bytes]]
    now: Callable[[], datetime]
    progress: Progress
    narrate: Narrator
    script: Callable[[str], FilterScript] = lambda _mailbox: FilterScript()  # a mailbox's filter rules
    home: int = 0
    already_there: int = 0
    waiting: list[Waits] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    _done: set[Key] = field(default_factory=set)  # what has its outcome

    def plan(self, mailbox: str, arrivals: Sequence[Arrival]) -> Plan:
        """What would be done; nothing is changed. Raises MailError."""
        with self._session() as destination:
            return self._plan(destination, mailbox, arrivals)

    def bring(self, mailbox: str, arrivals: Sequence[Arrival], *, was_full: bool = False) -> None:
        """`was_full`: the last time there was no room; then one message is tried before the others.

        Raises MailError where the primary is out of order; what was brought is in the ledger, and what may have arrived is `intended` there.
        """
        with self._session() as destination:
            plan = self._plan(destination, mailbox, arrivals)
            self._keep([known.arrival.entry(self.domain, known.state, self.now()) for known in plan.there])
            self.already_there += len(plan.there)
            self.progress.advance(len(plan.there))
            outcomes: dict[Arrival, Entry] = {}
            full = ""
            for batch in _batches(plan.to_bring, first=1 if was_full else TOGETHER):
                settled = {arrival: self._waits(arrival, full) for arrival in batch} if full else self._give(destination, batch)
                outcomes |= settled
                full = full or next((entry.why for entry in settled.values() if is_about_room(entry.why)), "")
                self.progress.advance(len(batch))
            self._keep([self._as_its_twin(one, outcomes[twin]) for one, twin in plan.doubles])

    def give_up(self, arrivals: Iterable[Arrival], why: str, *, keep: bool = True) -> None:
        """Those that came to nothing wait; what may have arrived stays `intended`. With `keep=False` nothing is written."""
        entries = []
        for arrival in arrivals:
            entry = arrival.entry(self.domain, State.WAITING, self.now(), why)
            if entry.key not in self._done:
                self._tell(arrival, why)
                entries.append(entry)
        if keep:
            self._keep(self._without_intents(entries))

    def _plan(self, destination: ImapDestination, mailbox: str, arrivals: Sequence[Arrival]) -> Plan:
        view = look_at_primary(lambda: destination.server(mailbox), destination.close, mailbox, arrivals, self.narrate)
        for folder, newest in view.newest.items():
            destination.expect_above(mailbox, folder, newest)
        placed = [replace(arrival, to_folder=folder_at(arrival.to_folder, view.listing)) for arrival in arrivals]
        contents = list({arrival.fingerprint.content for arrival in arrivals})
        plan = plan_homecoming(placed, self.ledger.alike(self.domain, mailbox, contents), view.present)
        return self._filter(mailbox, plan, view.listing)

    def _filter(self, mailbox: str, plan: Plan, listing: Mapping[str, Collection[str]]) -> Plan:
        """Only what is to be brought: where the rest lies is settled. Rules that cannot be read keep no mail waiting."""
        wanted = [arrival for arrival in plan.to_bring if is_filtered(arrival)]
        rules = self.script(mailbox) if wanted else FilterScript()
        if rules.why:
            self.notes[f"{mailbox}: its filter rules are not followed, its mail lies in the inbox: {rules.why}"] = None
        if not rules.commands:
            return plan
        places = {}
        for arrival in wanted:
            try:
                head = head_of(self.bodies(arrival.found))
            except ArchiveError:
                continue  # it is told where it is read to be delivered
            places[arrival], told = filed(arrival, head, rules.commands, listing)
            self.notes |= dict.fromkeys(f"{mailbox}: {text}" for text in told)
        return with_places(plan, places)

    def _give(self, destination: ImapDestination, batch: Sequence[Arrival]) -> dict[Arrival, Entry]:
        """Intent, delivery, reading back, outcome."""
        begun = self.now()
        intents = self.ledger.write(
            [replace(arrival.entry(self.domain, State.INTENDED, begun), intended_at=begun) for arrival in batch]
        )
        outcomes: dict[Arrival, Entry] = {}
        given: dict[Wanted, tuple[Arrival, Entry]] = {}
        for arrival, intent in zip(batch, intents, strict=True):
            item = self._wanted(arrival)
            try:
                destination.add(item, self._body(arrival))
            except AlreadyThere:
                outcomes[arrival] = intent.now(State.ALREADY_THERE, self.now())
            except (Rejected, ArchiveError) as error:
                outcomes[arrival] = intent.now(State.WAITING, self.now(), str(error))
            else:
                given[item] = arrival, intent
        refused = destination.finish()
        added = [item for item in given if item not in refused]
        wrong = destination.verify(added, _Silent()) if added else {}
        for item, (arrival, intent) in given.items():
            why = refused.get(item) or wrong.get(item)
            if why is None:
                validity, uid = destination.place_of(item)
                outcomes[arrival] = replace(intent.now(State.HOME, self.now()), uid_validity=validity, uid=uid)
            else:
                outcomes[arrival] = intent.now(State.WAITING, self.now(), why)
        self._keep(outcomes.values())
        self._count(outcomes)
        return outcomes

    def _count(self, outcomes: Mapping[Arrival, Entry]) -> None:
        for arrival, entry in outcomes.items():
            self.home += entry.state is State.HOME
            self.already_there += entry.state is State.ALREADY_THERE
            if entry.state is State.WAITING:
                self._tell(arrival, entry.why)

    def _waits(self, arrival: Arrival, why: str) -> Entry:
        self._tell(arrival, why)
        entry = arrival.entry(self.domain, State.WAITING, self.now(), why)
        self._keep([entry])
        return entry

    def _as_its_twin(self, arrival: Arrival, twin: Entry) -> Entry:
        """The secondary has a message twice, and the primary gets it once."""
        if twin.state in AT_HOME:
            self.already_there += 1
            return arrival.entry(self.domain, State.ALREADY_THERE, self.now())
        self._tell(arrival, twin.why)
        return arrival.entry(self.domain, State.WAITING, self.now(), twin.why)

    def _tell(self, arrival: Arrival, why: str) -> None:
        self.waiting.append(Waits(arrival.to_mailbox, arrival.to_folder, arrival.header_id or "", why))

    def _keep(self, entries: Iterable[Entry]) -> None:
        if kept := list(entries):
            self.ledger.write(kept)
            self._done.update(entry.key for entry in kept)

    def _without_intents(self, entries: Sequence[Entry]) -> list[Entry]:
        by_mailbox: dict[str, list[Entry]] = {}
        for entry in entries:
            by_mailbox.setdefault(entry.mailbox, []).append(entry)
        intended = {
            known.key
            for mailbox, mine in by_mailbox.items()
            for known in self.ledger.known(self.domain, mailbox, [entry.message for entry in mine])
            if known.state is State.INTENDED
        }
        return [entry for entry in entries if entry.key not in intended]

    def _body(self, arrival: Arrival) -> Body:
        """A small one is read once, since it is looked through several times before it goes. Raises ArchiveError."""
        if arrival.size <= SMALL:
            return Body.of(b"".join(self.bodies(arrival.found)))
        return Body(arrival.size, lambda: iter(self.bodies(arrival.found)))

    def _wanted(self, arrival: Arrival) -> Wanted:
        found = arrival.found
        return Wanted(
            server=f"{self.domain}:secondary", mailbox=found.mailbox, id=found.id, canonical=arrival.canonical, size=arrival.size,
            flags=arrival.flags, keywords=arrival.keywords, internal_date=int(found.internal_date.timestamp()),
            first_generation=0, last_generation=0, target_mailbox=arrival.to_mailbox, target_folder=arrival.to_folder, directory="",
            message_id=arrival.header_id, label=arrival.header_id or found.id[:12],
        )  # fmt: skip

    @contextmanager
    def _session(self) -> Iterator[ImapDestination]:
        """The look and the delivery share one connection."""
        destination = ImapDestination(self.connect, self.narrate)
        try:
            yield destination
        finally:
            destination.close()
            self.notes |= dict.fromkeys(destination.notes())


class _Silent:
    """ports.Progress: that of the whole run goes on by itself."""

    def stage(self, text: str, total: int | None = None, unit: str = "") -> None: ...
    def advance(self, amount: int) -> None: ...


def _batches(arrivals: Sequence[Arrival], *, first: int) -> Iterator[list[Arrival]]:
    batch: list[Arrival] = []
    weight, most = 0, first
    for arrival in arrivals:
        if batch and (len(batch) >= most or weight + arrival.size > TOGETHER_BYTES):
            yield batch
            batch, weight, most = [], 0, TOGETHER
        batch.append(arrival)
        weight += arrival.size
    if batch:
        yield batch
