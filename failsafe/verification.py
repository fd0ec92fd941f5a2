"""Checks one repository: restic's own check with a rotating share of the data, and its newest snapshots against their manifests."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from failsafe.adapters.lock import FileLock
from failsafe.app import App
from failsafe.backup.archive.reader import Archive
from failsafe.backups import HEAVY_LOCK, WAIT_FOR_HEAVY
from failsafe.errors import ExternalError
from failsafe.events import Event
from failsafe.ports import Progress, Repository

NAMED = 20  # problems told for each repository; restic and the archive have the rest


def verify_repository(app: App, name: str, progress: Progress) -> tuple[dict[str, Any], bool]:
    """(a row of `verify --json`, whether something outside failed). Damage is in the row; what is read rotates through the whole repository."""
    share = app.config.repository[name].check.share if name in app.config.repository else 1
    repository = app.repository(name)
    now = app.clock.now()
    app.duties.started(f"check:{name}", now)
    state = app.duties.repositories().get(name)
    part = min(state.next_check_part, share) if state is not None else 1
    try:
        with FileLock(app.lock_file(HEAVY_LOCK), f"check of {name}").hold(wait_seconds=WAIT_FOR_HEAVY):
            progress.stage(f"checking {name}")
            report = repository.check(part=part, parts=share)
            damaged = [*report.damaged, *_against_manifests(app, name, repository, progress)]
    except ExternalError as error:
        app.duties.ended(f"check:{name}", app.clock.now(), ok=False, result="failed")
        return {"repository": name, "ok": False, "read_percent": 0.0, "damaged": [str(error)]}, True
    ok = report.ok and not damaged
    _keep(app, name, part, share, ok=ok, damaged=damaged, read_percent=report.read_percent)
    return {"repository": name, "ok": ok, "read_percent": report.read_percent, "damaged": damaged[:NAMED]}, False


def _against_manifests(app: App, name: str, repository: Repository, progress: Progress) -> list[str]:
    """The newest snapshot of each server: are its manifests whole, and are all the files there that they name?"""
    problems = []
    for server in sorted(app.config.mail_server):
        taken = repository.snapshots(f"failsafe-{server}")
        if not taken:
            continue
        progress.stage(f"reading the manifests of {server} in {name}")
        with tempfile.TemporaryDirectory(prefix="failsafe-verify-", dir=app.state_dir) as folder:
            problems += [f"{server}: {problem}" for problem in _compare(repository, taken[-1].id, Path(folder))]
    return problems


def _compare(repository: Repository, snapshot_id: str, folder: Path) -> list[str]:
    there = repository.list_files(snapshot_id, "")
    generations = [path for path in there if path.startswith("generations/")]
    if len(generations) != 1:
        return [f"snapshot {snapshot_id[:8]} holds {len(generations)} generations instead of one"]
    repository.fetch(snapshot_id, generations, folder)
    archive = Archive(folder)
    generation = archive.generation()
    repository.fetch(snapshot_id, archive.manifest_files(generation), folder)
    repository.fetch(snapshot_id, archive.metadata_files(generation), folder)
    lacking = sorted(set(archive.files_needed(generation)) - set(there))
    return [f"snapshot {snapshot_id[:8]} lacks {path}" for path in lacking]


def _keep(app: App, name: str, part: int, share: int, *, ok: bool, damaged: list[str], read_percent: float) -> None:
    now = app.clock.now()
    app.duties.ended(f"check:{name}", now, ok=ok, result="ok" if ok else "damaged", details={"read_percent": read_percent})
    app.duties.change_repository(name, last_check_at=now, next_check_part=part % share + 1)
    text = (
        f"part {part} of {share} was read"
        if ok
        else f"{len(damaged)} problem(s), such as {damaged[0]}"
        if damaged
        else "restic found damage"
    )
    app.record(
        Event(
            "repository.checked" if ok else "repository.damaged",
            name,
            text,
            now,
            {"part": part, "parts": share, "damaged": damaged[:NAMED]},
        )
    )
