"""A folder's entries in shards: small files of JSON lines, cut so that a change rewrites one of them and equal entries make equal files."""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import heapq
import itertools
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from failsafe.backup.archive.layout import UIDS_PER_SHARD
from failsafe.mail.manifest import Entry, encode_entry

RUN = 20_000  # entries sorted in memory at a time: some 10 MB; more are merged from temporary files


Line = tuple[str, bytes]  # what an entry is sorted by, and its line


def line_of(entry: Entry) -> Line:
    """Raises ArchiveError for an entry no reader would take."""
    return sort_key(entry.uid, entry.name.encode("utf-8", "surrogateescape"), entry.id), encode_entry(entry)


def shards_of(lines: Iterable[Line], temporary: Path) -> Iterator[bytes]:
    """The content of each shard in order, for lines of entries in any order.

    Entries with a UID go by uid // UIDS_PER_SHARD. Those without go last, by the SHA-256 of their names: one shard up to as many, else 16,
    256, … so that a folder whose server never numbered anything is cut as small.
    """
    with contextlib.ExitStack() as spilled:
        unnumbered, ordered = _sorted_lines(lines, lambda: spilled.enter_context(tempfile.TemporaryFile(dir=temporary)))
        digits = next(digits for digits in itertools.count() if unnumbered <= UIDS_PER_SHARD * 16**digits)

        def bucket(line: Line) -> str:
            key = line[0]
            return str(int(key[1:11]) // UIDS_PER_SHARD) if key[0] == "0" else "-" + key[1 : 1 + digits]

        if isinstance(ordered, list) and ordered and bucket(ordered[0]) == bucket(ordered[-1]):  # as it is where one is rewritten
            yield b"".join([encoded for _, encoded in ordered])
            return
        for _, shard in itertools.groupby(ordered, bucket):
            yield b"".join(encoded for _, encoded in shard)


def sort_key(uid: int | None, name: bytes, id_: str) -> str:
    """Text that sorts as we want and holds no tab: numbered ones first (two of one number by their lines), then by the digest of the name."""
    return f"0{uid:010d}" if uid is not None else f"1{hashlib.sha256(name).hexdigest()}{id_}"


def _sorted_lines(lines: Iterable[Line], spilling: Callable[[], IO[bytes]]) -> tuple[int, Iterable[Line]]:
    """How many entries have no UID, and all (sort key, encoded line) in order: a list, or an external merge sort."""
    lines = iter(lines)
    run = sorted(itertools.islice(lines, RUN))
    unnumbered = _unnumbered(run)
    if len(run) < RUN:
        return unnumbered, run
    spill = spilling()
    starts: list[int] = []
    while run:
        starts.append(spill.tell())
        spill.writelines(key.encode("ascii") + b"\t" + encoded for key, encoded in run)
        run = sorted(itertools.islice(lines, RUN))
        unnumbered += _unnumbered(run)
    spill.flush()
    ends = [*starts[1:], spill.tell()]
    return unnumbered, heapq.merge(*[_read_run(spill.fileno(), start, end) for start, end in zip(starts, ends, strict=True)])


def _unnumbered(run: list[Line]) -> int:
    """How many of these, which are in order, have no UID."""
    return len(run) - bisect.bisect_left(run, ("1",))


def _read_run(handle: int, start: int, end: int) -> Iterator[Line]:
    """Reads a sorted run through a descriptor that other runs share, so by position."""
    rest = b""
    while start < end or rest:
        piece = os.pread(handle, min(1 << 16, end - start), start)
        start += len(piece)
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            key, _, encoded = line.partition(b"\t")
            yield key.decode("ascii"), encoded + b"\n"
        if not piece:
            return
