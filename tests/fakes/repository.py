"""A repository in memory. It passes the same conformance suite as restic does."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from failsafe.errors import ResticError
from failsafe.model import SnapshotInfo, SnapshotTaken
from failsafe.ports import CheckReport, Progress, PruneReport, SnapshotRequest


class FakeRepository:
    """`fail_with` makes the next calls raise; `damaged` makes checks find something."""

    def __init__(self, name: str = "fake") -> None:
        self._name = name
        self._id = ""
        self._snapshots: dict[str, tuple[SnapshotInfo, dict[str, bytes]]] = {}
        self.fail_with: ResticError | None = None
        self.damaged: tuple[str, ...] = ()
        self.forgets: list[tuple[str, ...]] = []
        self._contents: set[bytes] = set()
        self._made = 0

    @property
    def name(self) -> str:
        return self._name

    def ensure(self) -> str:
        self._id = self._id or hashlib.sha256(self._name.encode()).hexdigest()
        return self.open()

    def open(self) -> str:
        if self.fail_with is not None:
            raise self.fail_with
        if not self._id:
            raise ResticError(f"repository {self._name}: there is none", kind="no-repository")
        return self._id

    def backup(self, request: SnapshotRequest, progress: Progress) -> SnapshotTaken:
        self.open()
        files = {
            path.relative_to(request.folder).as_posix(): path.read_bytes()
            for path in sorted(request.folder.rglob("*"))
            if path.is_file() and not excluded(path.relative_to(request.folder), request.excludes)
        }
        added = sum(len(content) for content in set(files.values()) - self._contents)
        self._contents |= set(files.values())
        progress.stage(f"snapshot into {self._name}", sum(map(len, files.values())), "B")
        progress.advance(sum(map(len, files.values())))
        number, self._made = self._made, self._made + 1
        snapshot_id = hashlib.sha256(f"{self._name}/{number}".encode()).hexdigest()
        at = request.at or datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
        self._snapshots[snapshot_id] = (SnapshotInfo(snapshot_id, request.host, at, request.tags), files)
        return SnapshotTaken(snapshot_id, added, timedelta(seconds=1))

    def retag(self, snapshot_id: str, tags: Sequence[str]) -> str:
        files = self._files(snapshot_id)
        info, _ = self._snapshots.pop(snapshot_id)
        fresh = hashlib.sha256(f"{snapshot_id} {','.join(tags)}".encode()).hexdigest()
        self._snapshots[fresh] = (replace(info, id=fresh, tags=tuple(tags), original=info.original or info.id), files)
        return fresh

    def recognises(self, snapshot_id: str) -> bool:  # noqa: ARG002 - the port's
        return False

    def snapshots(self, host: str | None = None) -> tuple[SnapshotInfo, ...]:
        self.open()
        listed = (info for info, _ in self._snapshots.values() if host is None or info.host == host)
        return tuple(sorted(listed, key=lambda info: (info.at, info.id)))

    def list_files(self, snapshot_id: str, folder: str = "") -> tuple[str, ...]:
        return tuple(sorted(path for path in self._files(snapshot_id) if not folder or path.startswith(f"{folder}/")))

    def list_sizes(self, snapshot_id: str) -> dict[str, int]:
        return {path: len(content) for path, content in self._files(snapshot_id).items()}

    def fetch(self, snapshot_id: str, paths: Sequence[str], target: Path, progress: Progress | None = None) -> None:  # noqa: ARG002
        files = self._files(snapshot_id)
        absent = [path for path in paths if path not in files]
        if absent:
            raise ResticError(f"repository {self._name}: the snapshot does not have {', '.join(absent)}")
        for path in paths:
            place = target / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(files[path])

    def fetch_some(self, snapshot_id: str, paths: Sequence[str], target: Path) -> None:
        files = self._files(snapshot_id)
        self.fetch(snapshot_id, [path for path in paths if path in files], target)

    def check(self, *, part: int = 0, parts: int = 0) -> CheckReport:
        self.open()
        assert parts == 0 or 1 <= part <= parts <= 256
        return CheckReport(ok=not self.damaged, read_percent=100.0 / parts if parts else 0.0, damaged=self.damaged)

    def forget(self, snapshot_ids: Sequence[str]) -> None:
        self.open()
        self.forgets.append(tuple(snapshot_ids))
        for each in snapshot_ids:
            self._snapshots.pop(each, None)

    def prune(self, progress: Progress | None = None, *, whole: bool = False) -> PruneReport:  # noqa: ARG002 - the port's
        self.open()
        if progress is not None:
            progress.stage(f"prune of {self.name}", 2, "packs repacked")
            progress.advance(1)
        named = {content for _, held in self._snapshots.values() for content in held.values()}
        freed = sum(map(len, self._contents - named))
        self._contents = named
        return PruneReport(freed, sum(map(len, named)))

    def unlock(self) -> None:
        self.open()

    def _files(self, snapshot_id: str) -> dict[str, bytes]:
        self.open()
        if snapshot_id not in self._snapshots:
            raise ResticError(f"repository {self._name}: there is no snapshot {snapshot_id}")
        return self._snapshots[snapshot_id][1]


def excluded(path: Path, patterns: Sequence[str]) -> bool:
    """As restic reads exclude patterns: the last one that matches decides, "!" takes back, and a pattern may match any parent."""
    out = False
    for pattern in patterns:
        bare = pattern.removeprefix("!")
        width = bare.count("/") + 1
        runs = ("/".join(path.parts[i : i + width]) for i in range(len(path.parts) - width + 1))
        if any(fnmatch.fnmatchcase(run, bare) for run in runs):
            out = not pattern.startswith("!")
    return out
