"""zstd, where this Python has it: 3.14 does, and before that the library `zstandard`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

PIECE = 1024  # bytes given at a time: the most that zstd makes of them is 32 MB


def unpacker() -> Callable[[bytes, int], bytes] | None:
    """`unpack(data, limit)`, or None where there is none; it raises ValueError for what is damaged, cut short or larger than the limit."""
    for name in ("compression.zstd", "zstandard"):
        try:
            library = import_module(name)
        except ImportError:
            continue
        return lambda data, limit: _unpack(library, data, limit)
    return None


def _unpack(library: Any, data: bytes, limit: int) -> bytes:
    unpacker = library.ZstdDecompressor()
    stream = unpacker.decompressobj() if hasattr(unpacker, "decompressobj") else unpacker
    plain: list[bytes] = []
    total = 0
    try:
        for start in range(0, len(data), PIECE):
            if stream.eof:
                break
            plain.append(stream.decompress(data[start : start + PIECE]))
            total += len(plain[-1])
            if total > limit:
                raise ValueError("too large")
    except library.ZstdError as damage:
        raise ValueError(str(damage)) from damage
    if not stream.eof:
        raise ValueError("cut short")
    return b"".join(plain)
