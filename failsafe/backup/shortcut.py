"""The short way to messages of the present: this machine knows in which segments they lie, so restic is asked once instead of five times.

Only a hint. Each message is compared with its digest all the same, and what a hint does not lead to is read the long way, from the manifests.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

AT_ONCE = 500  # ids in a question: SQLite takes 999 values in its oldest versions


@dataclass(frozen=True, slots=True)
class Shortcut:
    """A snapshot that surely is in the repository, and where messages of its generation lie."""

    snapshot_id: str
    generation: int
    segments_of: Callable[[Sequence[str]], dict[str, str]]  # ids -> id -> segment, of those that are known


def segments_known_to(inventory: Path) -> Callable[[Sequence[str]], dict[str, str]]:
    """What a server's inventory says. Without the file, or with a damaged one, it knows nothing."""

    def segments_of(ids: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        if not inventory.is_file():
            return found
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(f"{inventory.as_uri()}?mode=ro", uri=True)) as db,
        ):
            for start in range(0, len(ids), AT_ONCE):
                asked = [bytes.fromhex(id_) for id_ in ids[start : start + AT_ONCE]]
                marks = ",".join("?" * len(asked))
                rows = db.execute(
                    f"SELECT c.id, s.name FROM content c JOIN segment s ON s.id = c.segment WHERE c.id IN ({marks})",  # noqa: S608 - marks
                    asked,
                )
                found.update((id_.hex(), segment) for id_, segment in rows)
        return found

    return segments_of
