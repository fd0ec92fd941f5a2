"""Frames are whole, wherever the chunks that bring them end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.backup.frames import HEAD, Frames
from failsafe.errors import ServerSideError


class Chunks:
    """A channel whose other side says just this, in such chunks."""

    def __init__(self, said: bytes, sizes: list[int]) -> None:
        self._said, self._sizes = said, sizes

    def receive(self, maximum: int) -> bytes:
        size = min(maximum, self._sizes.pop(0) if self._sizes else len(self._said))
        piece, self._said = self._said[:size], self._said[size:]
        return piece

    def send(self, data: bytes) -> None:
        raise AssertionError(data)

    def close(self) -> None:
        pass


@given(st.lists(st.binary(max_size=300), max_size=20), st.lists(st.integers(1, 400), max_size=40))
def test_they_are_what_was_sent_however_it_was_cut(payloads: list[bytes], sizes: list[int]) -> None:
    said = b"".join(HEAD.pack(b"D", len(payload)) + payload for payload in payloads)
    frames = Frames(Chunks(said, sizes), "vps")

    assert [frames.next() for _ in payloads] == [(b"D", payload) for payload in payloads]
    assert frames.received == len(said)


def test_an_end_in_the_middle_of_one_is_said() -> None:
    frames = Frames(Chunks(HEAD.pack(b"D", 10) + b"half", [3, 4]), "vps")
    with pytest.raises(ServerSideError, match="ended in the middle"):
        frames.next()


def test_a_frame_that_is_none_of_ours_is_not_waited_for() -> None:
    frames = Frames(Chunks(b"Welcome to this server!", []), "vps")
    with pytest.raises(ServerSideError, match="no answer of ours"):
        frames.next()
