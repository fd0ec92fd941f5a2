"""Recognises a repository in a folder of this machine without asking restic, which derives its key for 0.6 s each time.

restic never rewrites a repository's file `config`, and names a snapshot's file by the SHA-256 of its content. What was remembered is
only a cache: without it, or where a byte differs, restic is asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

LARGEST = 16 << 20  # bytes: a config file has some 200, a snapshot's file some 300


class Memory:
    """One small file for each repository: the digest of its `config` when restic had told its id."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def remember(self, folder: Path, restic_id: str) -> None:
        digest = digest_of(folder / "config")
        if not digest or self._recall() == {"config": digest, "id": restic_id}:
            return
        fresh = self._file.with_name(f"{self._file.name}.{os.getpid()}.new")
        with contextlib.suppress(OSError):  # a full disk: then restic is asked each time
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh.write_text(json.dumps({"config": digest, "id": restic_id}))
            fresh.replace(self._file)

    def recognises(self, folder: Path, restic_id: str, snapshot_id: str) -> bool:
        """Whether the repository with this id lies there as it did, with the whole file of this snapshot."""
        digest = digest_of(folder / "config")
        if not digest or self._recall() != {"config": digest, "id": restic_id}:
            return False
        return digest_of(folder / "snapshots" / snapshot_id) == snapshot_id

    def _recall(self) -> object:
        try:
            with self._file.open("rb") as file:
                return json.loads(file.read(LARGEST))
        except (OSError, ValueError):
            return None


def find_whole(folder: Path, snapshot_id: str) -> str | None:
    """The whole id of the snapshot whose file lies there undamaged; `snapshot_id` may be its first digits, as 0.14 tells them."""
    with contextlib.suppress(OSError):
        named = [path for path in (folder / "snapshots").iterdir() if path.name.startswith(snapshot_id)]
        if len(named) == 1 and digest_of(named[0]) == named[0].name:
            return named[0].name
    return None


def digest_of(path: Path) -> str:
    """SHA-256 of a small file, "" where there is none that can be read."""
    try:
        with path.open("rb") as file:
            return hashlib.sha256(file.read(LARGEST)).hexdigest()
    except OSError:
        return ""
