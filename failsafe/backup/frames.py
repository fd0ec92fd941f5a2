"""Frames from the server's side: one byte of kind, four bytes of length, payload; a lower-case kind is compressed. Everything bounded."""

from __future__ import annotations

import struct
import zlib

from failsafe.errors import ServerSideError
from failsafe.ports import Channel

HEAD = struct.Struct(">cI")
FRAME_LIMIT = 8 << 20  # bytes; the server sends 256 KiB at most, but for a survey of one mailbox
UNPACKED_LIMIT = 128 << 20  # bytes a compressed frame may grow to
RECEIVE = 4 << 20  # bytes asked for at a time: all that a channel holds, since Paramiko's moves what stays in it each time
CHATTER = "log in there by hand: the shell's start files must print nothing when no terminal is attached"


class Frames:
    """Requests out, frames in, over one channel."""

    def __init__(self, channel: Channel, name: str) -> None:
        self._channel, self._name = channel, name
        self._chunk, self._at = b"", 0  # what came and was not taken yet, from `_at`
        self.received = 0  # bytes that came

    def request(self, *fields: str) -> None:
        raw = [field.encode("utf-8", "surrogateescape") for field in fields]
        assert not any(b"\0" in part for part in raw), "a NUL in a request"
        self._channel.send(b"".join(part + b"\0" for part in (str(len(raw)).encode(), *raw)))

    def next(self) -> tuple[bytes, bytes]:
        """(kind, payload) of the next frame."""
        kind, length = HEAD.unpack(self._take(HEAD.size))
        if length > FRAME_LIMIT:
            raise ServerSideError(f"{self._name}: a frame of {length} bytes; that is no answer of ours", mend=CHATTER)
        data = self._take(length)
        return (kind.upper(), self._unpacked(data)) if kind.islower() else (kind, data)

    def _unpacked(self, data: bytes) -> bytes:
        unpacker = zlib.decompressobj()
        try:
            data = unpacker.decompress(data, UNPACKED_LIMIT)
        except zlib.error as error:
            raise ServerSideError(f"{self._name}: a damaged frame: {error}") from error
        if unpacker.unconsumed_tail or not unpacker.eof:
            raise ServerSideError(f"{self._name}: a frame larger than {UNPACKED_LIMIT >> 20} MiB")
        return data

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end <= len(self._chunk):
            taken, self._at = self._chunk[self._at : end], end
            return taken
        gathered = bytearray(self._chunk[self._at :])  # only of a frame that lies across two chunks
        while lacking := count - len(gathered):
            self._chunk = self._channel.receive(max(RECEIVE, lacking))
            if not self._chunk:
                raise ServerSideError(f"{self._name}: the program there ended in the middle of an answer")
            self.received += len(self._chunk)
            self._at = min(lacking, len(self._chunk))
            gathered += self._chunk[: self._at]
        return bytes(gathered)
