"""A restore into mailboxes, on a server that is not always itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from failsafe.backup.destinations import ImapDestination
from failsafe.backup.restore_plan import Wanted
from failsafe.errors import MailError
from failsafe.mail.identity import digests
from failsafe.model import Body
from failsafe.ports import StoredMessage
from tests.contract.mailstore import Silent

ANN = "ann@example.org"
DATE = datetime.fromtimestamp(1_600_000_000, UTC)
MESSAGES = [f"Message-ID: <{number}@x>\r\n\r\nbody {number}\r\n".encode() for number in range(4)]


@dataclass
class Server:
    """INBOX of one mailbox. In the first `ill` sessions it lists its messages and does not give them; `broken`: it breaks off instead."""

    held: list[bytes]
    ill: int = 0
    broken: bool = False
    sessions: int = 0
    appended: list[bytes] = field(default_factory=list)

    def connect(self, mailbox: str) -> Server:
        assert mailbox == ANN
        self.sessions += 1
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

    def append(self, folder: str, message: Body, flags: frozenset[str], internal_date: datetime) -> int | None:  # noqa: ARG002
        self.held.append(b"".join(message.pieces()))
        self.appended.append(self.held[-1])
        return len(self.held)

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
    assert server.appended == [MESSAGES[1]]
    assert any("lists messages that it does not give" in note for note in destination.notes())


def test_an_empty_message_that_is_there_is_no_illness() -> None:
    server = Server([*MESSAGES, b""])
    assert held(server) == {item.canonical for item in ITEMS}
    assert server.sessions == 1
