"""adapters/imap_line.py: deadlines, bounds, pace and count, with a clock that the test moves."""

from __future__ import annotations

import types

import pytest

from failsafe.adapters import imap_line, pace
from failsafe.adapters.imap_line import Meter, connect_over, faults, words_of
from failsafe.errors import MailError, ProcessError

GREETING = b"* PREAUTH [CAPABILITY IMAP4rev1] hello\r\n"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.slept = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.now += seconds


class Scripted:
    """A channel whose program answers each command with the next of `answers`; a piece takes `seconds`."""

    def __init__(self, clock: Clock, *answers: bytes, seconds: float = 0.0, piece: int = 1000) -> None:
        self.clock, self.answers, self.seconds, self.piece = clock, list(answers), seconds, piece
        self.waiting = GREETING
        self.sent: list[bytes] = []
        self.closed = False

    def send(self, data: bytes) -> None:
        self.sent.append(data)
        tag, _, verb = data.partition(b" ")
        answer = b"* CAPABILITY IMAP4rev1\r\n" if verb.startswith(b"CAPABILITY") else self.answers.pop(0)
        self.waiting += answer + tag + b" OK done\r\n"

    def receive(self, maximum: int) -> bytes:
        self.clock.now += self.seconds
        count = min(maximum, self.piece)
        data, self.waiting = self.waiting[:count], self.waiting[count:]
        if not data:
            raise ProcessError("the program there ended")
        return data

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (imap_line, pace):
        monkeypatch.setattr(module, "time", types.SimpleNamespace(monotonic=made.monotonic, sleep=made.sleep))
    return made


def literal(size: int) -> bytes:
    return b"* 1 FETCH (UID 1 BODY[] {%d}\r\n" % size + b"x" * size + b")\r\n"


def test_an_answer_that_trickles_is_given_up(clock: Clock) -> None:
    channel = Scripted(clock, literal(100_000), seconds=10, piece=100)
    meter = Meter(answer_seconds=1000)
    client = connect_over(channel, meter)
    with pytest.raises(MailError, match="trickled") as caught, faults("here", "read"):
        client._imap.noop()
    assert caught.value.transient


def test_a_large_answer_that_keeps_coming_is_read_to_its_end(clock: Clock) -> None:
    channel = Scripted(clock, literal(1_000_000), seconds=0.5, piece=1000)
    client = connect_over(channel, Meter(answer_seconds=1))
    client._imap.noop()
    assert clock.now > 400


def test_a_pace_is_held(clock: Clock) -> None:
    channel = Scripted(clock, literal(100_000), piece=65536)
    meter = Meter(10_000)
    connect_over(channel, meter)._imap.noop()
    assert meter.received > 100_000
    assert clock.slept == pytest.approx(meter.received / 10_000, rel=0.05)


def test_commands_are_counted(clock: Clock) -> None:
    channel = Scripted(clock, b"", b"")
    meter = Meter()
    client = connect_over(channel, meter)
    before = meter.commands
    client._imap.noop()
    client._imap.noop()
    assert meter.commands == before + 2


def test_a_literal_that_no_message_can_be_is_refused_before_it_is_read(clock: Clock) -> None:
    channel = Scripted(clock, b"* 1 FETCH (BODY[] {99999999999}\r\n")
    client = connect_over(channel, Meter())
    with pytest.raises(MailError, match="announced"), faults("here", "read"):
        client._imap.noop()


def test_a_line_without_end_is_refused(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap_line, "LINE_BYTES", 1_000)
    monkeypatch.setattr(imap_line, "LONG_LINE_BYTES", 10_000)
    for line, most in ((b"* SEARCH " + b"1 " * 10_000, 10_000), (b"* LIST " + b"1 " * 2_000, 1_000)):
        client = connect_over(Scripted(clock, line), Meter())
        with pytest.raises(MailError, match=f"a line of more than {most} bytes"), faults("here", "search"):
            client._imap.noop()


@pytest.mark.parametrize("answer", [b"* OK x\r\n", b"* SEARCH 1\r\n", b"* METADATA {1000}\r\n" + b"x" * 1000 + b"\r\n"])
def test_answers_that_never_end_are_refused(clock: Clock, monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    monkeypatch.setattr(imap_line, "HELD_BYTES", 100_000)
    client = connect_over(Scripted(clock, answer * 2_000), Meter(literal_bytes=10_000))
    with pytest.raises(MailError, match="answers without end"), faults("here", "read"):
        client._imap.noop()


def test_what_nobody_takes_is_counted_over_all_commands(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imap_line, "HELD_BYTES", 100_000)
    taken, untaken = b"* SEARCH 1\r\n" * 100, b"* METADATA x\r\n" * 300
    client = connect_over(Scripted(clock, *[taken] * 20, *[untaken] * 20), Meter(literal_bytes=10_000))
    client._imap.state = "SELECTED"
    for _ in range(20):
        assert len(client._imap.search(None, "ALL")[1]) == 100

    with pytest.raises(MailError, match="answers without end"), faults("here", "read"):
        for _ in range(20):
            client._imap.noop()


def test_parentheses_without_end_are_an_answer_without_sense(clock: Clock) -> None:
    client = connect_over(Scripted(clock, b"* LIST " + b"(" * 100_000 + b"\r\n"), Meter())
    with pytest.raises(MailError, match="recursion"), faults("here", "list"):
        client.list_folders()


def test_a_line_that_breaks_in_the_middle_of_a_login_is_no_refusal(clock: Clock) -> None:
    client = connect_over(Scripted(clock, b"* BYE the server goes down\r\n"), Meter())
    with pytest.raises(MailError, match="goes down") as caught, faults("here", "log in"):
        client._imap.state = "NONAUTH"
        client.login("me", "secret")
    assert caught.value.transient


def test_a_program_that_asks_for_a_login_is_not_what_was_expected(clock: Clock) -> None:
    channel = Scripted(clock)
    channel.waiting = b"* OK [CAPABILITY IMAP4rev1] hello\r\n"
    with pytest.raises(MailError, match="asks for a login"), faults("here", "start"):
        connect_over(channel, Meter())


def test_what_the_channel_says_stays_its_own_error(clock: Clock) -> None:
    channel = Scripted(clock)
    channel.waiting = b""
    with pytest.raises(ProcessError, match="ended"), faults("here", "start"):
        connect_over(channel, Meter())


def test_the_same_fault_has_the_same_words_each_time() -> None:
    first = Exception("FETCH: [SERVERBUG] Internal error. Refer to log. [2026-11-25 11:42:22] (0.001 + 0.000 secs).")
    later = Exception("FETCH: [SERVERBUG] Internal error. Refer to log. [2026-11-26 01:00:00] (0.012 + 0.000 + 0.010 secs).")
    assert words_of(first) == words_of(later) == "FETCH: [SERVERBUG] Internal error. Refer to log."
