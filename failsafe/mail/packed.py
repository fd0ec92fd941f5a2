"""What Dovecot's compression makes of a message, undone. Pure, bounded: what unpacks to more than LIMIT is refused."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import bz2
    import lzma

CRYPTED = b"CRYPTED\x03\x07"  # Dovecot's mail_crypt
GZIP, BZIP2, XZ, ZSTD = b"\x1f\x8b\x08", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"
BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")  # what follows "BZh" and a digit: the first block, or the end of an empty one
LZ4, LZ4_FRAME = b"Dovecot-LZ4\x0d\x2a\x9b\xc5", b"\x04\x22\x4d\x18"
LIMIT = 1 << 30  # bytes of one message
CHUNK_LIMIT = 1 << 20  # bytes of one of lz4's chunks, as Dovecot has it
UNPACKER_LIMIT = 256 << 20  # bytes of memory for xz


class Unreadable(Exception):
    """The message cannot be read from what is stored; the text says why."""


def unpack(data: bytes, *, zstd: Callable[[bytes, int], bytes] | None = None) -> bytes:
    """A compressed message as it was. `zstd(data, limit)` is given where a library for it is at hand. Raises Unreadable."""
    import bz2  # both take long to load, and few messages are stored so
    import lzma

    try:
        if data.startswith(GZIP):
            return _gzip(data)
        if data.startswith(BZIP2):
            return _finished(bz2.BZ2Decompressor(), data)
        if data.startswith(XZ):
            return _finished(lzma.LZMADecompressor(memlimit=UNPACKER_LIMIT), data)
        if data.startswith(LZ4):
            return _lz4(data)
        if data.startswith(ZSTD) and zstd is not None:
            return zstd(data, LIMIT)
    except (OSError, ValueError, EOFError, IndexError, zlib.error, lzma.LZMAError, MemoryError) as error:
        raise Unreadable("it is stored compressed, and damaged") from error
    raise Unreadable("it is stored compressed in a form that is not known here")


def _gzip(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    plain = unpacker.decompress(data, LIMIT)
    if not unpacker.eof:
        raise EOFError("cut short, or too large")
    return plain


def _finished(unpacker: bz2.BZ2Decompressor | lzma.LZMADecompressor, data: bytes) -> bytes:
    plain = unpacker.decompress(data, LIMIT)
    if not unpacker.eof:
        raise EOFError("cut short, or too large")
    return plain


def _lz4(data: bytes) -> bytes:
    """Dovecot's own frame: its magic, the size of a chunk when unpacked, then chunks of lz4, each after its length (32 bits, big-endian)."""
    place = len(LZ4)
    most = int.from_bytes(data[place : place + 4], "big")
    place += 4
    if not 0 < most <= CHUNK_LIMIT:
        raise ValueError("a chunk that is too large")
    chunks: list[bytes] = []
    total = 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        packed = data[place + 4 : place + 4 + size]
        if not 0 < size <= CHUNK_LIMIT or len(packed) != size:
            raise EOFError("cut short")
        chunks.append(_lz4_block(packed, most))
        place += 4 + size
        total += len(chunks[-1])
        if total > LIMIT:
            raise ValueError("too large")
    return b"".join(chunks)


def _lz4_block(packed: bytes, most: int) -> bytes:
    """One block of lz4: literals, then a match in what was written before, in turn; the last one has literals alone."""
    out = bytearray()
    place = 0
    while True:
        token = packed[place]
        count, place = _lz4_length(packed, place + 1, token >> 4)
        if place + count > len(packed) or len(out) + count > most:
            raise ValueError("literals beyond the end")
        out += packed[place : place + count]
        place += count
        if place == len(packed):
            return bytes(out)
        offset = packed[place] | packed[place + 1] << 8
        count, place = _lz4_length(packed, place + 2, token & 15)
        count += 4
        start = len(out) - offset
        if not 0 < offset <= len(out) or len(out) + count > most:
            raise ValueError("a match outside")
        piece = out[start : start + count]
        if len(piece) < count:  # it runs into itself: a pattern that repeats
            piece *= count // len(piece) + 1
        out += piece[:count]


def _lz4_length(packed: bytes, place: int, nibble: int) -> tuple[int, int]:
    count = nibble
    if nibble == 15:
        while True:
            more = packed[place]
            place += 1
            count += more
            if more != 255:
                break
    return count, place
