"""A restore into mailboxes, on a server that is not always itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from failsafe.backup.destinations import ImapDestination
from failsafe.backup.destinations.imap import TOGETHER_BYTES
from failsafe.backup.restore_plan import Wanted
from failsafe.errors import MailError
from failsafe.mail.identity import digests
from failsafe.model import Body
from failsafe.ports import NewMessage, StoredMessage
from tests.contract.mailstore import Silent

ANN = "ann@example.org"
DATE = datetime.fromtimestamp(1_600_000_000, UTC)
MESSAGES = [f"Message-ID: <{number}@x>\r\n\r\nbody {number}\r\n".encode() for number in range(4)]


@dataclass
class Server:
    """INBOX of one mailbox. In the first `ill` sessions it lists its messages and does not give them; `broken`: it breaks off instead.

    It refuses messages that contain one of `refuses`. `lost`: so many commands that add messages end without an answer, `done` or not.
    """

    held: list[bytes]
    ill: int = 0
    broken: bool = False
    sessions: int = 0
    takes_many: bool = False
    refuses: tuple[bytes, ...] = ()
    lost: int = 0
    done: bool = False
    closed: dict[int, bool] = field(default_factory=dict)  # sessions that are refused -> whether for the moment
    appended: list[bytes] = field(default_factory=list)
    commands: list[int] = field(default_factory=list)  # messages in each command that was taken

    def connect(self, mailbox: str) -> Server:
        assert mailbox == ANN
        self.sessions += 1
        if self.sessions in self.closed:
            raise MailError("the server lets nobody in", transient=self.closed[self.sessions])
        return self

    def folders(self) -> tuple[str, ...]:
        return ("INBOX",)

    def create_folder(self, folder: str) -> None: ...

    def messages(self, folder: str) -> tuple[StoredMessage, ...]:
        assert folder == "INBOX"
        if self.is_ill and self.broken:
            raise MailError("the line broke", transient=True)
        return tuple(
            StoredMessage(uid, 0 if self.is_ill else len(data), DATE, frozenset(), "" if self.is_ill else f"{uid - 1}@x")
            for uid, data in enumerate(self.held, start=1)
        )

    def read(self, folder: str, uids: Iterable[int]) -> Iterator[tuple[int, Iterable[bytes]]]:
        assert folder == "INBOX"
        for uid in uids if not self.is_ill else ():
            yield uid, (self.held[uid - 1],)

    def append(self, folder: str, message: Body, flags: frozenset[str], internal_date: datetime) -> int | None:
        return self.append_all(folder, [NewMessage(message, flags, internal_date)])[0]

    def append_all(self, folder: str, messages: Sequence[NewMessage]) -> tuple[int | None, ...]:
        assert folder == "INBOX"
        given = [b"".join(message.body.pieces()) for message in messages]
        if any(word in data for word in self.refuses for data in given):
            raise MailError("the server says: no", transient=False)
        is_lost, self.lost = self.lost > 0, self.lost - 1
        if is_lost and not self.done:
            raise MailError("the line broke", transient=True)
        first = len(self.held) + 1
        self.held += given
        self.appended += given
        self.commands.append(len(given))
        if is_lost:
            raise MailError("the line broke", transient=True)
        return tuple(range(first, len(self.held) + 1))

    def close(self) -> None: ...

    @property
    def is_ill(self) -> bool:
        return self.sessions <= self.ill


def wanted(data: bytes, number: int) -> Wanted:
    id_, canonical = digests(data)
    return Wanted(
        server="vps", mailbox=ANN, id=id_, canonical=canonical, size=len(data), flags="S", keywords=(), internal_date=1_600_000_000,
        first_generation=1, last_generation=1, target_mailbox=ANN, target_folder="INBOX", directory="", message_id=f"{number}@x",
    )  # fmt: skip


ITEMS = [wanted(data, number) for number, data in enumerate(MESSAGES)]


def held(server: Server, said: list[str] | None = None) -> frozenset[str]:
    destination = ImapDestination(server.connect, (said if said is not None else []).append)
    return destination.there(ITEMS, Silent()).get(ANN, {}).get("INBOX", frozenset())


@pytest.mark.parametrize("broken", [False, True], ids=["gives nothing", "breaks off"])
def test_messages_that_a_server_gives_only_in_a_later_session_are_not_taken_for_absent(broken: bool) -> None:
    server = Server(list(MESSAGES), ill=3, broken=broken)
    assert held(server) == {item.canonical for item in ITEMS}
    assert server.sessions == 4


def test_where_a_server_never_gives_what_it_lists_nothing_is_added_and_the_mend_is_told() -> None:
    server = Server(list(MESSAGES), ill=1000)
    with pytest.raises(MailError, match="nobody can tell what is there; nothing was added") as refused:
        held(server)
    assert "force-resync" in refused.value.mend
    assert server.sessions < 10


def test_one_message_that_nobody_can_read_stops_no_restore() -> None:
    server = Server([MESSAGES[0], b"", *MESSAGES[2:]])
    server.read = lambda _folder, uids: ((uid, (server.held[uid - 1],)) for uid in uids if uid != 2)  # type: ignore[method-assign]
    destination = ImapDestination(server.connect, [].append)
    there = destination.there(ITEMS, Silent())[ANN]["INBOX"]
    assert there == {ITEMS[number].canonical for number in (0, 2, 3)}
    destination.add(ITEMS[1], Body.of(MESSAGES[1]))
    assert destination.finish() == {}
    assert server.appended == [MESSAGES[1]]
    assert any("lists messages that it does not give" in note for note in destination.notes())


def test_an_empty_message_that_is_there_is_no_illness() -> None:
    server = Server([*MESSAGES, b""])
    assert held(server) == {item.canonical for item in ITEMS}
    assert server.sessions == 1


def restored(server: Server) -> tuple[dict[Wanted, str], dict[Wanted, str], ImapDestination]:
    """All four messages: (refused at the end, wrong when read back, the destination)."""
    destination = ImapDestination(server.connect, [].append)
    destination.there(ITEMS, Silent())
    for item, data in zip(ITEMS, MESSAGES, strict=True):
        destination.add(item, Body.of(data))
    refused = destination.finish()
    return refused, destination.verify([item for item in ITEMS if item not in refused], Silent()), destination


def test_messages_of_a_folder_go_together_where_the_server_takes_that() -> None:
    server = Server([], takes_many=True)
    assert restored(server)[:2] == ({}, {})
    assert (server.held, server.commands) == (MESSAGES, [4])


def test_else_they_go_one_by_one() -> None:
    server = Server([])
    assert restored(server)[:2] == ({}, {})
    assert (server.held, server.commands) == (MESSAGES, [1, 1, 1, 1])


def test_of_messages_refused_together_only_the_one_that_is_meant_is_not_restored() -> None:
    server = Server([], takes_many=True, refuses=(b"body 2",))
    refused, wrong, _ = restored(server)
    assert (refused, wrong) == ({ITEMS[2]: "the server says: no"}, {})
    assert server.held == [MESSAGES[0], MESSAGES[1], MESSAGES[3]]


@pytest.mark.parametrize("done", [False, True], ids=["nothing arrived", "all arrived"])
def test_after_a_lost_answer_the_server_is_asked_what_arrived_and_nothing_is_doubled(done: bool) -> None:
    server = Server([], takes_many=True, lost=1, done=done)
    assert restored(server)[:2] == ({}, {})
    assert (server.held, server.sessions) == (MESSAGES, 2)


def test_after_a_lost_answer_and_a_refused_login_nothing_is_doubled() -> None:
    server = Server([], takes_many=True, lost=1, done=True, closed={2: False})
    refused, wrong, _ = restored(server)
    assert (refused, wrong) == ({}, {})
    assert server.held == MESSAGES


def test_where_nobody_can_say_what_arrived_nothing_is_sent_again() -> None:
    server = Server([], takes_many=True, lost=1, done=True, closed=dict.fromkeys(range(2, 100), False))
    destination = ImapDestination(server.connect, [].append)
    destination.there(ITEMS, Silent())
    for item, data in zip(ITEMS, MESSAGES, strict=True):
        destination.add(item, Body.of(data))
    assert set(destination.finish()) == set(ITEMS)
    assert server.held == MESSAGES


def test_a_connection_that_fails_once_costs_nothing() -> None:
    server = Server([], takes_many=True, closed={1: True})
    destination = ImapDestination(server.connect, [].append)
    for item, data in zip(ITEMS, MESSAGES, strict=True):
        destination.add(item, Body.of(data))
    assert destination.finish() == {}
    assert server.held == MESSAGES


def test_a_large_message_goes_alone_and_waits_in_no_memory() -> None:
    large = b"Message-ID: <0@x>\r\n\r\n" + b"x" * (TOGETHER_BYTES + 1)
    server = Server([], takes_many=True)
    destination = ImapDestination(server.connect, [].append)
    destination.there(ITEMS, Silent())
    destination.add(ITEMS[1], Body.of(MESSAGES[1]))
    destination.add(wanted(large, 0), Body.of(large))
    assert server.held == [large]
    assert destination.finish() == {}
    assert server.held == [large, MESSAGES[1]]
