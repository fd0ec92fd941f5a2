"""Where things lie in an archive folder. Pure: names to relative paths and back."""

from __future__ import annotations

import re
from typing import NamedTuple

SEGMENT_LIMIT = 16_000_000  # bytes of a segment; one larger message has a segment of its own
UIDS_PER_SHARD = 500  # a flag change writes one shard anew: about 0.05 MB packed, and a million messages are 2,000 files
TEMPORARY = ".failsafe-unfinished"  # long names: restic compares exclude patterns with every part of a path
LOCK = ".failsafe-lock"
ERASING = ".failsafe-erasing"  # a mark: mail was erased and is not cleared away yet
README = "README.txt"
REBUILD = "rebuild.py"
GENERATIONS = "generations"
_GENERATION = re.compile(r"(\d{8})\.json\Z")
_ENDINGS = {"mailboxes": ".json", "shards": ".jsonl", "segments": ".tar", "lists": ".jsonl", "files": ""}
KINDS = tuple(_ENDINGS)


class Location(NamedTuple):
    """Where a message's bytes are: `offset` and `size` in bytes inside the segment's tar file."""

    id: str
    segment: str
    offset: int
    size: int


def path_of(kind: str, name: str) -> str:
    """`path_of("shards", "ab12…")` is "shards/ab/ab12….jsonl"; at most 256 folders by the first two digits."""
    return f"{kind}/{name[:2]}/{name}{_ENDINGS[kind]}"


def index_path(segment: str) -> str:
    """The small file beside a segment that says which message lies where."""
    return f"segments/{segment[:2]}/{segment}.idx"


def generation_path(number: int) -> str:
    return f"{GENERATIONS}/{number:08d}.json"


def generation_number(file_name: str) -> int | None:
    """The number in a generation's file name, None for any other file."""
    found = _GENERATION.match(file_name)
    return int(found.group(1)) if found else None
