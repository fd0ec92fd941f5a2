"""Snapshots of any date, by the hundred: written straight into a repository, since `restic backup` makes one at a time."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from tests.contract.restics import restic
from tests.tools.cheap_key import seal

Given = tuple[datetime, str, tuple[str, ...]]  # when, of which host, with which tags


def put_snapshots(program: str, place: Path, tree: str, given: Iterable[Given]) -> list[str]:
    """All of one tree, which may be missing where nobody reads it; gives their ids."""
    told = json.loads(restic(program, place, "cat", "masterkey", "--no-lock").stdout)
    encrypt, mac_k, mac_r = (base64.b64decode(part) for part in (told["encrypt"], told["mac"]["k"], told["mac"]["r"]))
    made = []
    for at, host, tags in given:
        value = {"time": at.isoformat(), "tree": tree, "paths": ["/staging"], "hostname": host, "tags": list(tags)}
        data = seal(json.dumps(value).encode(), encrypt, mac_k, mac_r)
        made.append(hashlib.sha256(data).hexdigest())
        (place / "repository" / "snapshots" / made[-1]).write_bytes(data)
    return made
