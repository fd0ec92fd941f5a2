"""A homecoming against a primary in memory: each message once, whatever breaks off in between."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from failsafe.errors import MailError
from failsafe.homecoming.deliver import Delivery
from failsafe.homecoming.found import Found
from failsafe.homecoming.ledger import State
from failsafe.homecoming.run import Outcome, run_homecoming
from failsafe.homecoming.sift import Goes, Sifter, Stays, Verdict
from failsafe.homecoming.tidying import tidy
from failsafe.mail.identity import digests
from failsafe.store.engine import Store
from failsafe.store.homecomings import HomecomingStore
from tests.fakes.primary import Primary
from tests.fakes.progress import Heard

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
DOMAIN, ANN, BOB = "example.org", "ann@example.org", "bob@example.org"


def mail(number: int, *, received: str = "secondary", message_id: str | None = None, size: int = 0, text: str = "") -> bytes:
    known = f"Message-ID: <{message_id or f'{number}@sender.example'}>\r\n" if message_id != "" else ""
    return (
        f"Received: from x by {received}; Sun, 22 Nov 2026 16:00:00 +0000\r\n{known}From: x@sender.example\r\nTo: {ANN}\r\n"
        f"Date: Sun, 22 Nov 2026 15:{number % 60:02d}:00 +0000\r\nSubject: number {number}\r\n\r\n{text or f'text {number}'}\r\n{'x' * size}"
    ).encode()


@dataclass
class Secondary:
    """What was gathered, in order."""

    held: list[tuple[Found, bytes]] = field(default_factory=list)
    reads: int = 0

    def put(self, data: bytes, mailbox: str = ANN, folder: str = "INBOX", *, hours: float = 1.0, flags: str = "") -> Found:
        found = Found(
            mailbox,
            folder,
            sha256(data).hexdigest(),
            digests(data)[1],
            len(data),
            frozenset(flags),
            (),
            NOW - timedelta(hours=hours),
            False,
        )
        self.held.append((found, data))
        return found

    def found(self) -> Iterator[Found]:
        yield from sorted((found for found, _ in self.held), key=lambda each: each.mailbox)

    def read(self, found: Found) -> Iterator[bytes]:
        self.reads += 1
        yield next(data for known, data in self.held if known.id == found.id)


def by_name(found: Found, _head: bytes) -> Verdict:
    return [Goes(found.mailbox, found.folder, sent=found.folder == "Sent")]


class KilledError(BaseException):
    """kill -9: nothing more is done, nothing more is written."""


@dataclass
class World:
    ledger: HomecomingStore
    secondary: Secondary = field(default_factory=Secondary)
    primary: Primary = field(default_factory=Primary)
    route: Callable[[Found, bytes], Verdict] = by_name
    told: list[str] = field(default_factory=list)

    def run(self, *, dry: bool = False) -> Outcome:
        progress = Heard()
        sifter = Sifter(
            DOMAIN,
            self.secondary,
            self.secondary.read,
            self.ledger,
            self.route,
            since=NOW - timedelta(days=2),
            now=lambda: NOW,
            dry=dry,
        )
        delivery = Delivery(
            DOMAIN, self.ledger, self.primary.connect, self.secondary.read, lambda: NOW, progress, self.told.append
        )
        return run_homecoming(sifter, delivery, progress, dry=dry)

    def states(self) -> Sequence[str]:
        found = {found.id for found, _ in self.secondary.held}
        return sorted(str(row.state) for name in (ANN, BOB) for row in self.ledger.known(DOMAIN, name, sorted(found)))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store = Store.sqlite(tmp_path / "failsafe.sqlite")
    store.upgrade(NOW)
    yield World(HomecomingStore(store))
    store.close()


def counts(outcome: Outcome) -> tuple[int, int, int]:
    return outcome.home, outcome.already_there, len(outcome.waiting)


def test_mail_comes_home_with_its_flags_and_date_and_the_keyword(world: World) -> None:
    found = world.secondary.put(mail(1), flags="FST")

    assert counts(world.run()) == (1, 0, 0)

    (there,) = world.primary.mailboxes[ANN]["INBOX"]
    assert (there.data, there.internal_date) == (mail(1), found.internal_date)
    assert there.flags == {"\\Flagged", "\\Seen", "$Failsafe"}  # a mark for deletion is not brought along
    (row,) = world.ledger.known(DOMAIN, ANN, [found.id])
    assert (row.state, row.uid_validity, row.uid, row.to_folder) == (State.HOME, 77, there.uid, "INBOX")


def test_a_second_run_reads_nothing_and_asks_the_primary_nothing(world: World) -> None:
    for number in range(20):
        world.secondary.put(mail(number))
    world.run()
    world.secondary.reads = world.primary.commands = world.primary.listings = 0

    assert counts(world.run()) == (0, 20, 0)
    assert (world.secondary.reads, world.primary.commands, world.primary.listings) == (0, 0, 0)


def test_a_message_that_both_servers_got_is_recognised_wherever_the_primary_has_it(world: World) -> None:
    world.secondary.put(mail(1))
    world.primary.put(ANN, "Archive/2026", mail(1, received="primary"), NOW)

    assert counts(world.run()) == (0, 1, 0)
    assert world.primary.bodies(ANN, "INBOX") == []
    assert world.states() == ["already-there"]


def test_two_messages_with_one_message_id_are_both_brought(world: World) -> None:
    world.secondary.put(mail(1, message_id="same@x", text="one"))
    world.secondary.put(mail(1, message_id="same@x", text="two"))

    assert counts(world.run()) == (2, 0, 0)


def test_a_message_without_message_id_is_recognised(world: World) -> None:
    world.secondary.put(mail(1, message_id=""))
    world.primary.put(ANN, "INBOX", mail(1, message_id="", received="primary"), NOW - timedelta(hours=2))

    assert counts(world.run()) == (0, 1, 0)


def test_what_the_secondary_has_twice_is_brought_once(world: World) -> None:
    world.secondary.put(mail(1, received="one"))
    world.secondary.put(mail(1, received="two"), folder="Archive")

    assert counts(world.run()) == (1, 1, 0)
    assert counts(world.run()) == (0, 2, 0)
    assert sum(len(mails) for mails in world.primary.mailboxes[ANN].values()) == 1


def test_who_writes_to_himself_has_both_copies(world: World) -> None:
    world.secondary.put(mail(1, received="on its way"))
    world.secondary.put(mail(1, received="kept"), folder="Sent")

    assert counts(world.run()) == (2, 0, 0)
    assert [len(world.primary.bodies(ANN, name)) for name in ("INBOX", "Sent")] == [1, 1]
    assert world.primary.mailboxes[ANN]["Sent"][0].flags == {"\\Seen", "$Failsafe"}


def test_mail_goes_into_the_folder_that_the_primary_has_for_it(world: World) -> None:
    world.primary.special = {"Things we sent": "\\sent"}
    world.primary.mailboxes[ANN] = {"INBOX": [], "Sent": [], "Things we sent": [], "Spam": []}
    world.secondary.put(mail(1), folder="Sent")
    world.secondary.put(mail(2), folder="Junk")

    world.run()

    assert [len(world.primary.bodies(ANN, name)) for name in ("Things we sent", "Spam")] == [1, 1]


@pytest.mark.parametrize("seed", range(12))
def test_old_rows_are_dropped_and_each_message_still_comes_home_once(world: World, seed: int) -> None:
    """Years of coming, going, deleting and being shown anew at the secondary, with a tidying in between."""
    chance, year = random.Random(seed), timedelta(days=366)
    deleted: set[bytes] = set()
    given: dict[bytes, Found] = {}
    for round_ in range(6):
        for number in range(3):
            data = mail(round_ * 10 + number, message_id="" if chance.random() < 0.3 else None)
            given[data] = world.secondary.put(data)
        world.run()
        inbox = world.primary.mailboxes[ANN]["INBOX"]
        for lies in [lies for lies in inbox if chance.random() < 0.2]:
            inbox.remove(lies)
            deleted.add(lies.data)
        world.secondary.held = [held for held in world.secondary.held if chance.random() < 0.7]
        assert tidy(DOMAIN, world.secondary.found(), world.ledger, NOW + year * chance.choice((0, 1))) >= 0
        world.secondary.held += [(found, data) for data, found in given.items() if data not in deleted and chance.random() < 0.2]

    world.run()

    assert sorted(world.primary.bodies(ANN, "INBOX")) == sorted(set(given) - deleted)


def test_only_rows_of_what_cannot_be_found_any_more_are_dropped_after_a_year(world: World) -> None:
    still, gone, waits = (world.secondary.put(mail(number)) for number in range(3))
    world.run()
    (row,) = world.ledger.known(DOMAIN, ANN, [waits.id])
    world.ledger.write([row.now(State.WAITING, NOW, "full")])
    left = [held for held in world.secondary.found() if held == still]
    assert tidy(DOMAIN, left, world.ledger, NOW + timedelta(days=364)) == 0

    assert tidy(DOMAIN, left, world.ledger, NOW + timedelta(days=366)) == 1

    assert [bool(world.ledger.known(DOMAIN, ANN, [found.id])) for found in (still, gone, waits)] == [True, False, True]


def test_what_a_person_deleted_at_the_primary_stays_deleted_also_in_other_bytes(world: World) -> None:
    world.secondary.put(mail(1))
    world.run()
    world.primary.mailboxes[ANN]["INBOX"].clear()
    world.secondary.held.clear()
    world.secondary.put(mail(1, received="the same, built anew by its store"))

    assert counts(world.run()) == (0, 1, 0)
    assert world.primary.bodies(ANN, "INBOX") == []


def test_mail_from_before_the_homecoming_is_not_touched(world: World) -> None:
    world.secondary.put(mail(1), hours=24 * 400)

    assert counts(world.run()) == (0, 0, 0)
    assert world.secondary.reads == 0


def test_what_does_not_come_home_is_written_down_and_not_read_again(world: World) -> None:
    world.route = lambda _found, _head: Stays("it is a canary")
    world.secondary.put(mail(1))

    assert (world.run().left, world.run().left) == (1, 1)
    assert (world.secondary.reads, world.states()) == (1, ["left"])


def test_a_message_that_waited_for_its_way_goes_it_and_is_settled(world: World) -> None:
    world.route = lambda _found, _head: Stays("the bridge could not build it", waits=True)
    world.secondary.put(mail(1))
    assert counts(world.run()) == (0, 0, 1)
    world.route = by_name

    assert counts(world.run()) == (1, 0, 0)
    world.secondary.reads = 0
    outcome = world.run()
    assert (counts(outcome), outcome.left, world.secondary.reads) == ((0, 1, 0), 0, 0)


def test_a_full_mailbox_waits_and_is_finished_when_there_is_room(world: World) -> None:
    for number in range(6):
        world.secondary.put(mail(number, size=1000), hours=2 - number / 10)
    world.secondary.put(mail(9), mailbox=BOB)
    world.primary.room = 3 * len(mail(0, size=1000)) + 10

    outcome = world.run()

    assert counts(outcome) == (4, 0, 3)  # three of Ann's, and Bob's
    assert {waits.message_id for waits in outcome.waiting} == {"3@sender.example", "4@sender.example", "5@sender.example"}
    assert all("Quota exceeded" in waits.why for waits in outcome.waiting)
    world.primary.commands = 0
    assert counts(world.run()) == (0, 4, 3)
    assert world.primary.commands == 1  # one is tried, the others are not sent for nothing
    world.primary.room = None
    assert counts(world.run()) == (3, 4, 0)
    assert sorted(world.primary.bodies(ANN, "INBOX")) == sorted(mail(number, size=1000) for number in range(6))


@pytest.mark.parametrize("done", [True, False])
def test_an_answer_that_is_lost_doubles_nothing(world: World, done: bool) -> None:
    for number in range(5):
        world.secondary.put(mail(number))
    world.primary.breaks, world.primary.done = frozenset({1}), done

    assert counts(world.run()) == (5, 0, 0)
    assert len(world.primary.bodies(ANN, "INBOX")) == 5


@pytest.mark.parametrize("done", [True, False])
def test_a_primary_that_goes_down_in_the_middle_is_looked_at_before_anything_is_given_again(world: World, done: bool) -> None:
    for number in range(5):
        world.secondary.put(mail(number))
    world.secondary.put(mail(9), mailbox=BOB)
    world.primary.dies_at, world.primary.done = 1, done

    outcome = world.run()

    assert (outcome.error, counts(outcome)) == ("nobody answers", (0, 0, 6))
    assert world.states() == ["intended"] * 5 + ["waiting"]
    world.primary.is_down, world.primary.dies_at = False, None
    assert sum(counts(world.run())[:2]) == 6
    assert [len(world.primary.bodies(name, "INBOX")) for name in (ANN, BOB)] == [5, 1]


def test_an_intent_that_arrived_counts_as_home(world: World) -> None:
    found = world.secondary.put(mail(1))
    world.run()
    (row,) = world.ledger.known(DOMAIN, ANN, [found.id])
    world.ledger.write([row.now(State.INTENDED, NOW)])  # killed between the delivery and its outcome

    assert counts(world.run()) == (0, 1, 0)
    assert world.states() == ["home"]
    assert len(world.primary.bodies(ANN, "INBOX")) == 1


def test_a_ledger_that_was_lost_doubles_nothing(world: World) -> None:
    for number in range(5):
        world.secondary.put(mail(number), folder="Sent" if number % 2 else "INBOX")
    world.run()
    world.ledger.forget(DOMAIN, lambda _name: True)

    assert counts(world.run()) == (0, 5, 0)
    assert sum(len(mails) for mails in world.primary.mailboxes[ANN].values()) == 5


def test_a_mailbox_that_lets_nobody_in_keeps_no_other_waiting(world: World) -> None:
    world.secondary.put(mail(1))
    world.secondary.put(mail(2), mailbox=BOB)
    world.primary.closed = {ANN: MailError("it does not let ann in", transient=False, credential=True)}

    outcome = world.run()

    assert counts(outcome) == (1, 0, 1)
    assert (outcome.error, outcome.waiting[0].why) == ("", "it does not let ann in")


def test_one_message_for_two_people_goes_to_both_and_waits_for_one_alone(world: World) -> None:
    world.route = lambda _found, _head: [Goes(ANN, "INBOX"), Goes(BOB, "INBOX")]
    world.secondary.put(mail(1), mailbox="catch-all")
    world.primary.closed = {BOB: MailError("not now", transient=False)}

    assert counts(world.run()) == (1, 0, 1)
    world.primary.closed = {}
    assert counts(world.run()) == (1, 1, 0)
    assert [len(world.primary.bodies(name, "INBOX")) for name in (ANN, BOB)] == [1, 1]


def test_who_comes_second_of_two_gets_the_message_though_the_run_was_killed_after_the_first(world: World) -> None:
    world.secondary.put(mail(1), mailbox="all@example.org")
    world.route = lambda _found, _head: [Goes(ANN, "INBOX"), Goes(BOB, "INBOX")]
    world.primary.closed = {BOB: KilledError()}
    with pytest.raises(KilledError):
        world.run()
    world.primary.closed = {}

    assert counts(world.run()) == (1, 1, 0)
    assert [len(world.primary.bodies(name, "INBOX")) for name in (ANN, BOB)] == [1, 1]


def test_a_dry_run_counts_and_changes_nothing(world: World) -> None:
    world.secondary.put(mail(1))
    world.secondary.put(mail(2))
    world.primary.put(ANN, "INBOX", mail(2, received="primary"), NOW)

    outcome = world.run(dry=True)

    assert (outcome.to_bring, *counts(outcome)) == (1, 0, 1, 0)
    assert (len(world.primary.bodies(ANN, "INBOX")), world.states()) == (1, [])
