"""A login that is begun before it is needed: taken once, by whoever wants just that, and never left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from failsafe.adapters import login_ahead
from failsafe.adapters.local import LocalChannel, LocalHost
from failsafe.adapters.login_ahead import LoginAhead
from failsafe.errors import ProcessError
from tests.support import wait_until

ECHO = ("cat",)


class Host:
    """This machine, which remembers what was started; `gate` holds a start back."""

    name = "here"

    def __init__(self) -> None:
        self.opened: list[LocalChannel] = []
        self.gate = threading.Event()
        self.gate.set()

    def open(self, command: Sequence[str]) -> LocalChannel:
        self.gate.wait(10)
        self.opened.append(LocalHost().open(command))
        return self.opened[-1]


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    for channel in made.opened:
        channel.close()


def is_closed(channel: LocalChannel) -> bool:
    return channel._child.poll() is not None


def test_the_first_to_open_takes_the_login_that_was_begun_and_the_second_gets_one_of_its_own(host: Host) -> None:
    login = LoginAhead(host, ECHO)
    first = login.open(list(ECHO))
    first.send(b"hello")
    assert first.receive(5) == b"hello"
    assert host.opened == [first]
    assert login.open(ECHO) is host.opened[1]
    login.drop()
    assert not is_closed(host.opened[0])


def test_what_kept_the_login_from_succeeding_is_told_to_whoever_opens(host: Host) -> None:
    login = LoginAhead(host, ("no-such-program",))
    with pytest.raises(ProcessError, match="no-such-program"):
        login.open(("no-such-program",))


def test_another_command_goes_to_the_host_and_the_login_is_closed(host: Host) -> None:
    login = LoginAhead(host, ECHO)
    wait_until(lambda: host.opened, 10, "the login is there")
    other = login.open(("cat", "-u"))
    assert other is host.opened[1]
    wait_until(lambda: is_closed(host.opened[0]), 10, "the login is closed")


def test_a_login_that_was_begun_long_ago_is_not_trusted(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_ahead, "FRESH", -1.0)
    login = LoginAhead(host, ECHO)
    wait_until(lambda: host.opened, 10, "the login is there")
    assert login.open(ECHO) is host.opened[1]
    wait_until(lambda: is_closed(host.opened[0]), 10, "the old one is closed")


def test_one_that_nobody_took_is_closed_also_where_it_succeeds_only_later(host: Host) -> None:
    host.gate.clear()
    login = LoginAhead(host, ECHO)
    login.drop()
    host.gate.set()
    wait_until(lambda: host.opened and is_closed(host.opened[0]), 10, "it is closed")


def test_the_first_words_are_sent_with_the_login_and_never_twice(host: Host) -> None:
    login = LoginAhead(host, ECHO, b"hello")
    wait_until(lambda: bool(host.opened), 10, "the login is begun")
    assert host.opened[0].receive(5) == b"hello"  # although nobody has opened it
    taken = login.open(list(ECHO))
    taken.send(b"hello")
    taken.send(b"world")
    assert taken.receive(5) == b"world"
    taken.send(b"hello")  # what is said later goes, whatever it is
    assert taken.receive(5) == b"hello"
    taken.close()
    assert is_closed(host.opened[0])


def test_a_login_that_breaks_at_its_first_words_says_so_to_whoever_opens_it(host: Host) -> None:
    class Broken(LocalChannel):
        def send(self, data: bytes) -> None:  # noqa: ARG002 - the signature of a channel
            raise ProcessError("the line was cut")

    class Cut(Host):
        def open(self, command: Sequence[str]) -> LocalChannel:
            channel = super().open(command)
            channel.__class__ = Broken
            return channel

    cut = Cut()
    login = LoginAhead(cut, ECHO, b"hello")
    with pytest.raises(ProcessError, match="the line was cut"):
        login.open(list(ECHO))
    assert is_closed(cut.opened[0])
