"""Which messages lie in which pack of a restic repository: reckoned from restic's own index and trees, without failsafe's restore."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from failsafe.backup.archive import Archive

OVERHEAD = 32  # bytes of a blob's nonce and MAC (restic's design document)
Ask = Callable[..., Any]  # restic's words -> its JSON


@dataclass(frozen=True)
class Blob:
    pack: str
    offset: int  # in the pack
    length: int  # there
    size: int  # of what it holds


@dataclass(frozen=True)
class Packs:
    blobs: dict[str, Blob]
    files: dict[str, list[str]]  # path in the newest snapshot -> its blobs, in order

    @classmethod
    def of(cls, ask: Ask, indexes: list[str], tree: str) -> Packs:
        """`ask("cat", "index", ID)` and so on; `tree`: of the snapshot."""
        blobs = {}
        for name in indexes:
            for pack in ask("cat", "index", name)["packs"]:
                for blob in pack["blobs"]:
                    size = blob.get("uncompressed_length") or blob["length"] - OVERHEAD
                    blobs[blob["id"]] = Blob(pack["id"], blob["offset"], blob["length"], size)
        files: dict[str, list[str]] = {}
        open_trees = [(PurePosixPath(), tree)]
        while open_trees:
            place, id_ = open_trees.pop()
            for node in ask("cat", "blob", id_)["nodes"]:
                if node["type"] == "dir":
                    open_trees.append((place / node["name"], node["subtree"]))
                else:
                    files[str(place / node["name"])] = node.get("content") or []
        return cls(blobs, files)

    def of_segments(self) -> dict[str, int]:
        """Packs that hold pieces of segments, and how many bytes of them. restic puts small files between them as they come."""
        held: dict[str, int] = {}
        for path, content in self.files.items():
            for blob in content if path.endswith(".tar") else ():
                held[self.blobs[blob].pack] = held.get(self.blobs[blob].pack, 0) + self.blobs[blob].size
        return held

    def lost_with(self, archive: Archive, broken: Callable[[Blob], bool]) -> set[str]:
        """The messages of which a byte lies in a broken blob."""
        lost = set()
        for path, content in self.files.items():
            if not path.endswith(".tar"):
                continue
            start, holes = 0, []
            for blob in (self.blobs[id_] for id_ in content):
                if broken(blob):
                    holes.append((start, start + blob.size))
                start += blob.size
            for line in archive.index(PurePosixPath(path).stem):
                if any(begin < line.offset + line.size and line.offset < end for begin, end in holes):
                    lost.add(line.id)
        return lost


def pack_file(repository: Path, pack: str) -> Path:
    return repository / "data" / pack[:2] / pack


def answers(text: str) -> Any:
    """restic's JSON; "Ignoring …" may stand before it."""
    return json.loads(text[text.index("{") :])
