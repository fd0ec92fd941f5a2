"""A folder's entries in shards: small files of JSON lines, cut so that a change rewrites one of them and equal entries make equal files."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from failsafe.backup.archive.layout import UIDS_PER_SHARD
from failsafe.mail.manifest import Entry, encode_entry

RUN = 20_000  # entries sorted in memory at a time: some 10 MB; more are merged from temporary files


def shards_of(entries: Iterable[Entry], temporary: Path) -> Iterator[bytes]:
    """The content of each shard in order, for entries in any order. Raises ArchiveError for an entry no reader would take.

    Entries with a UID go by uid // UIDS_PER_SHARD. Those without go last, by the SHA-256 of their names: one shard up to as many, else 16,
    256, … so that a folder whose server never numbered anything is cut as small.
    """
    with tempfile.TemporaryFile(dir=temporary) as spill:
        unnumbered, lines = _sorted_lines(entries, spill)
        digits = next(digits for digits in itertools.count() if unnumbered <= UIDS_PER_SHARD * 16**digits)

        def bucket(line: tuple[str, bytes]) -> str:
            key = line[0]
            return str(int(key[1:11]) // UIDS_PER_SHARD) if key[0] == "0" else "-" + key[1 : 1 + digits]

        for _, shard in itertools.groupby(lines, bucket):
            yield b"".join(encoded for _, encoded in shard)


def _sort_key(entry: Entry) -> str:
    """Text that sorts as we want and holds no tab: numbered ones first (two of one number by their lines), then by the digest of the name."""
    if entry.uid is not None:
        return f"0{entry.uid:010d}"
    return "1" + hashlib.sha256(entry.name.encode("utf-8", "surrogateescape")).hexdigest() + entry.id


def _sorted_lines(entries: Iterable[Entry], spill: IO[bytes]) -> tuple[int, Iterator[tuple[str, bytes]]]:
    """How many entries have no UID, and all (sort key, encoded line) in order: an external merge sort."""
    unnumbered = 0
    starts: list[int] = []
    run: list[tuple[str, bytes]] = []
    for entry in entries:
        if len(run) == RUN:
            starts.append(spill.tell())
            spill.writelines(key.encode("ascii") + b"\t" + line for key, line in sorted(run))
            run = []
        unnumbered += entry.uid is None
        run.append((_sort_key(entry), encode_entry(entry)))
    run.sort()
    if not starts:
        return unnumbered, iter(run)
    spill.flush()
    ends = [*starts[1:], spill.tell()]
    runs = [_read_run(spill.fileno(), start, end) for start, end in zip(starts, ends, strict=True)]
    return unnumbered, heapq.merge(*runs, run)


def _read_run(handle: int, start: int, end: int) -> Iterator[tuple[str, bytes]]:
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
