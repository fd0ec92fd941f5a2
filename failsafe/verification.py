"""Checks one repository: restic's own check with a rotating share of the data, and its newest snapshots against their manifests."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from failsafe.app import App
from failsafe.backup.archive.layout import GENERATIONS
from failsafe.backup.archive.reader import Archive
from failsafe.backup.bucket import CONTENTS
from failsafe.backup.coverage import Coverage
from failsafe.backup.report import Trouble
from failsafe.backup.rot import watch_of
from failsafe.backup.verify import ArchiveVerdict, RepositoryVerdict, newest_snapshot, verify_repository, verify_staging
from failsafe.buckets import look_at_bucket
from failsafe.errors import ArchiveError, ExternalError, NothingFound
from failsafe.maintenance import alone
from failsafe.model import Severity, SnapshotInfo
from failsafe.ports import Progress, Repository
from failsafe.store.duties import RepositoryState


def check_repository(
    app: App, name: str, progress: Progress, *, whole: bool = False
) -> tuple[RepositoryVerdict, tuple[ArchiveVerdict, ...]]:
    """Reads the next share of the data (or all of it), and compares the newest snapshot of every server with its manifests.

    Damage is in the verdicts.
    """
    repository = app.repository(name)  # raises UsageError for a name that is not configured
    parts = app.config.repository[name].check.share
    state = app.duties.repositories().get(name)
    part = _next_part(state, parts)
    app.duties.started(f"check:{name}", app.clock.now())
    with alone(app, name, f"check of {name}"):
        progress.stage(f"checking {name}, reading " + ("everything" if whole else f"part {part} of {parts}"))
        asked = (1, 1) if whole else (part, parts)
        verdict = verify_repository(repository, part=asked[0], parts=asked[1], clock=app.clock, record=app.record)
        verdict = _with_bucket(app, verdict)
        archives = tuple(_newest(app, repository, server, progress) for server in app.archived_servers())
    next_part = part if whole else part % parts + 1
    _keep(app, name, verdict, archives, next_part=next_part)
    _keep_coverage(app, name, verdict, archives, None if whole else part, next_part)
    return verdict, archives


def check_staging(app: App, server: str, progress: Progress) -> ArchiveVerdict | None:
    """Every byte of this machine's own archive of a server; None where there is none yet. What is damaged is mended by the next backup."""
    folder = app.staging_folder(server)
    if not (folder / GENERATIONS).is_dir():
        return None
    progress.stage(f"reading the staging folder of {server}")
    verdict = verify_staging(server, folder, read_messages=True)
    if verdict.files:
        watch_of(app.proofs_file(server), app.clock).suspect(verdict.files)
    return verdict


def _next_part(state: RepositoryState | None, parts: int) -> int:
    """A share that was changed begins a new round: the old parts were cut in another way."""
    if state is None or (state.details.get("check") or {}).get("parts", parts) != parts:
        return 1
    return min(state.next_check_part, parts)


def _with_bucket(app: App, verdict: RepositoryVerdict) -> RepositoryVerdict:
    """What is not there any more is damage, whatever restic says."""
    lost = [
        each.text for each in look_at_bucket(app, verdict.repository) if each.code == CONTENTS and each.severity is Severity.FAIL
    ]
    return replace(verdict, ok=False, damaged=(*verdict.damaged, *lost)) if lost else verdict


def _keep_coverage(
    app: App, name: str, verdict: RepositoryVerdict, archives: Sequence[ArchiveVerdict], part: int | None, next_part: int
) -> None:
    """What was read, and when; a part that could not be read does not count, one with damage stops forget and prune until it reads well."""
    if verdict.trouble is not None:
        return
    details = app.duties.repositories()[name].details
    coverage = Coverage.of(details, app.config.repository[name].check.share)
    ok = verdict.ok and not any(archive.problems for archive in archives)
    added = int((details.get("added") or {}).get("bytes", 0))
    noted = coverage.note(part, app.clock.now(), added, ok=ok, packs=verdict.packs)
    app.duties.change_details(name, check={**noted.to_details(), "next": next_part})


def _newest(app: App, repository: Repository, server: str, progress: Progress) -> ArchiveVerdict:
    progress.stage(f"reading the manifests of {server} in {repository.name}")
    try:
        newest = newest_snapshot(repository, server)
        with tempfile.TemporaryDirectory(prefix="verify-", dir=app.state_dir) as folder:
            return _compare(repository, server, newest, Path(folder))
    except NothingFound:
        return ArchiveVerdict(server, repository.name, ok=True)  # nothing is stored, so nothing is damaged; `status` says that
    except ArchiveError as error:
        return ArchiveVerdict(server, repository.name, ok=False, problems=(str(error),))
    except ExternalError as error:
        return ArchiveVerdict(server, repository.name, ok=False, trouble=Trouble(str(error), error.mend))


def _compare(repository: Repository, server: str, newest: SnapshotInfo, folder: Path) -> ArchiveVerdict:
    """Fetches the manifests only; that every file they name is in the snapshot is read from its list. The data itself is `restic check`'s part."""
    there = repository.list_files(newest.id, "")
    repository.fetch(newest.id, [path for path in there if path.startswith("generations/")], folder)
    archive = Archive(folder)
    generation = archive.generation()
    for step in (archive.manifest_files, archive.metadata_files):
        repository.fetch(newest.id, step(generation), folder)
    lacking = sorted(set(archive.files_needed(generation)) - set(there))
    problems = tuple(f"snapshot {newest.id[:8]} lacks {path}" for path in lacking)
    return ArchiveVerdict(server, repository.name, not problems, generation.number, problems)


def _keep(app: App, name: str, verdict: RepositoryVerdict, archives: Sequence[ArchiveVerdict], *, next_part: int) -> None:
    now = app.clock.now()
    asked = verdict.trouble is None
    ok = verdict.ok and all(archive.ok for archive in archives)
    result = "ok" if ok else "damaged" if asked else "failed"
    app.duties.ended(f"check:{name}", now, ok=ok, result=result, details={"read_percent": verdict.read_percent})
    if asked:
        app.duties.change_repository(name, last_check_at=now, next_check_part=next_part)
