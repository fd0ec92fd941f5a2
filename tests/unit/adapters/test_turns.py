"""One connection at a time, and broken handshakes that are not repeated."""

from __future__ import annotations

import socket
import threading

from failsafe.adapters.smtp_wire import TlsFault
from failsafe.adapters.sockets import Address, Deadline
from failsafe.adapters.tls_faults import TlsFaults
from failsafe.adapters.turns import turn

HERE = Address(socket.AddressFamily.AF_INET, "192.0.2.1", 25)
FAULT = TlsFault("certificate has expired", certificate=True)


def test_who_comes_second_waits_for_the_first() -> None:
    order: list[str] = []
    began = threading.Event()

    def second() -> None:
        began.set()
        with turn("a place", Deadline(30)) as mine:
            order.append(f"second: {mine}")

    thread = threading.Thread(target=second)
    with turn("a place", Deadline(30)) as mine:
        thread.start()
        began.wait(30)
        order.append(f"first: {mine}")
    thread.join(30)

    assert order == ["first: True", "second: True"]


def test_who_waits_too_long_does_not_connect_and_leaves_the_place_to_its_holder() -> None:
    with turn("a place", Deadline(30)):
        with turn("a place", Deadline(0)) as mine:
            assert not mine
        with turn("a place", Deadline(0)) as mine:
            assert not mine
        with turn("another place", Deadline(0)) as mine:
            assert mine
    with turn("a place", Deadline(0)) as mine:
        assert mine


def test_a_fault_is_remembered_until_another_certificate_is_shown() -> None:
    faults = TlsFaults()
    faults.keep(HERE, FAULT)
    faults.note_leaf(HERE, "one")
    faults.note_leaf(HERE, "one")
    assert faults.recall(HERE) is FAULT

    faults.note_leaf(HERE, "two")
    assert faults.recall(HERE) is None


def test_a_fault_is_looked_at_again_ever_more_rarely() -> None:
    faults = TlsFaults()
    waits = []
    for _ in range(5):
        faults.keep(HERE, FAULT)
        waits.append(round(faults.waits(HERE) / 3600))

    assert waits == [1, 6, 36, 84, 84]
