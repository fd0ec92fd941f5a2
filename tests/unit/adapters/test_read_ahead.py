"""A socket that is asked for much at once gives what a socket gives."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from failsafe.adapters import read_ahead
from failsafe.adapters.read_ahead import ReadAhead


@pytest.fixture
def line() -> Iterator[tuple[socket.socket, socket.socket]]:
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def test_pieces_of_any_size_are_what_was_sent(line: tuple[socket.socket, socket.socket]) -> None:
    near, far = line
    sent = bytes(range(256)) * 300
    far.sendall(sent)
    far.close()
    reader, got = ReadAhead(near), []
    while piece := reader.recv(1 + len(got) % 7_000):
        got.append(piece)

    assert b"".join(got) == sent


def test_no_piece_is_longer_than_asked_for(line: tuple[socket.socket, socket.socket]) -> None:
    near, far = line
    far.sendall(b"abcdef")
    reader = ReadAhead(near)

    assert [reader.recv(4), reader.recv(4)] == [b"abcd", b"ef"]


def test_more_than_it_has_room_for_waits_in_the_socket(
    line: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_ahead, "ROOM", 100)
    near, far = line
    sent = bytes(range(250))
    far.sendall(sent)
    reader = ReadAhead(near)

    assert [reader.recv(1_000) for _ in range(3)] == [sent[:100], sent[100:200], sent[200:]]


def test_a_read_that_times_out_loses_nothing(line: tuple[socket.socket, socket.socket]) -> None:
    near, far = line
    near.settimeout(0.01)
    reader = ReadAhead(near)
    far.sendall(b"ab")
    assert reader.recv(2) == b"ab"
    with pytest.raises(TimeoutError):
        reader.recv(1)
    far.sendall(b"c")

    assert reader.recv(1) == b"c"


def test_all_else_is_the_sockets_own(line: tuple[socket.socket, socket.socket]) -> None:
    near, far = line
    reader = ReadAhead(near)
    reader.send(b"up")
    assert far.recv(2) == b"up"
    reader.close()

    assert reader._closed  # Paramiko asks for it
