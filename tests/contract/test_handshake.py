"""A TLS handshake ends in time, whatever comes from the other side."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from failsafe.adapters.sockets import cut_after

SECONDS = 0.3


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def shake_hands(connection: socket.socket) -> None:
    context = ssl.create_default_context()
    with cut_after(connection, SECONDS), context.wrap_socket(connection, server_hostname="mail.example.org"):
        pass


def test_a_handshake_that_is_never_answered_is_cut_though_the_socket_itself_would_wait_for_ever(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    ends[0].settimeout(None)

    with pytest.raises(TimeoutError):
        shake_hands(ends[0])


def test_messages_without_meaning_that_never_end_keep_nobody(ends: tuple[socket.socket, socket.socket]) -> None:
    """Records of HelloRequests (four zeros each), which OpenSSL passes over without coming back."""
    records = (b"\x16\x03\x03\x3f\xfc" + bytes(0x3FFC)) * 200

    def flood() -> None:
        try:
            while True:
                ends[1].sendall(records)
        except OSError:
            return

    flooding = threading.Thread(target=flood)
    flooding.start()
    ends[0].settimeout(None)

    with pytest.raises(TimeoutError):
        shake_hands(ends[0])

    ends[0].close()
    ends[1].shutdown(socket.SHUT_RDWR)
    flooding.join(30)
    assert not flooding.is_alive()


def test_what_fails_by_itself_is_not_called_late(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[1].sendall(b"220 no TLS here\r\n" * 10)

    with pytest.raises(ssl.SSLError):
        shake_hands(ends[0])
