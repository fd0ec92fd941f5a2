"""Makes the catalog anew from a repository alone. Used by the verb `catalog rebuild`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from failsafe.adapters.restic import ResticRepository
from failsafe.app import App
from failsafe.backup.catalog import Catalog, take_place
from failsafe.backup.catalog_rebuild import Rebuild, Rebuilt
from failsafe.errors import EXIT_FINDINGS, EXIT_OK, NothingFound, ResticError, UsageError
from failsafe.ports import Narrator, Progress
from failsafe.restores import workroom
from failsafe.tombstones import known_erased


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """What a repository gave. With findings where a snapshot, or the beginning of a message, could not be read."""

    repository: str
    servers: tuple[Rebuilt, ...]

    @property
    def exit_code(self) -> int:
        return EXIT_FINDINGS if any(each.skipped or each.unread for each in self.servers) else EXIT_OK

    def to_json(self) -> dict[str, Any]:
        servers = [
            {
                "server": each.server,
                "snapshots": each.snapshots,
                "messages": each.messages,
                "segments": each.segments,
                "unread": each.unread,
                "skipped": list(each.skipped),
            }
            for each in self.servers
        ]
        return {"repository": self.repository, "servers": servers}


def rebuild_catalog(app: App, repository: str | None, progress: Progress, narrate: Narrator) -> RebuildReport:
    """From the repository that was named, else from the nearest that answers and has snapshots. The old catalog stays until the new one is whole.

    Raises UsageError, ResticError where none answers, NothingFound where none has a snapshot, LockBusy while a restore is at work.
    """
    if not app.config.mail_server:
        raise UsageError("no mail server is configured", mend="add a [mail_server.NAME] to the configuration")
    error: ResticError | None = None
    with workroom(app) as work:
        for name in _candidates(app, repository):
            credentials = app.config.repository[name].restore_environment_file if name in app.config.repository else None
            adapter = app.repository(name, environment_file=credentials, alone=True)
            try:
                adapter.open()
                fresh = work / name / "catalog.sqlite"
                servers = _rebuild(app, adapter, fresh, progress, narrate)
            except ResticError as fault:
                narrate(str(fault))
                error = error or fault
                continue
            if any(each.snapshots for each in servers):
                take_place(fresh, app.catalog_file)
                return RebuildReport(name, servers)
    if error is not None:
        raise error
    raise NothingFound("no repository has a snapshot to make a catalog from", mend="failsafe backup")


def _candidates(app: App, repository: str | None) -> Sequence[str]:
    if repository is not None:
        return [repository]
    if not app.config.repository:
        raise UsageError("no repository is configured", mend="add a [repository.NAME] to the configuration")
    return sorted(app.config.repository, key=lambda name: (not app.config.repository[name].is_path, name))


def _rebuild(app: App, adapter: ResticRepository, fresh: Path, progress: Progress, narrate: Narrator) -> tuple[Rebuilt, ...]:
    with Catalog.open(fresh) as catalog:
        return tuple(
            Rebuild(catalog, adapter, server, fresh.parent / server, known_erased(app, server), progress, narrate).run()
            for server in sorted(app.config.archived)
        )
