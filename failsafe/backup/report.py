"""How a backup ended, for people, scripts and the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from failsafe.errors import EXIT_EXTERNAL, EXIT_FINDINGS, EXIT_OK
from failsafe.mail.manifest import Missing
from failsafe.model import Guard, Result

_ORDER = (Result.OK, Result.INCOMPLETE, Result.FAILED)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that went wrong, and what to do about it."""

    text: str
    mend: str = ""
    kind: str = ""  # ResticError's word for it, where it is restic's


@dataclass(frozen=True, slots=True)
class SnapshotReport:
    """One repository's part in a backup. `snapshot_id` is empty where none was made that can be trusted."""

    repository: str
    result: Result
    snapshot_id: str = ""
    generation: int | None = None
    bytes_added: int = 0
    took: timedelta = timedelta()
    trouble: Trouble | None = None

    def to_json(self) -> dict[str, object]:
        line: dict[str, object] = {
            "repository": self.repository,
            "result": str(self.result),
            "snapshot_id": self.snapshot_id or None,
            "bytes_added": self.bytes_added,
            "seconds": round(self.took.total_seconds(), 3),
            "generation": self.generation,
        }
        return line if self.trouble is None else {**line, "error": self.trouble.text, "mend": self.trouble.mend}


@dataclass(frozen=True, slots=True)
class Skipped:
    """A repository that is at work for somebody else; its turn comes with a later run."""

    repository: str
    why: str

    def to_json(self) -> dict[str, object]:
        return {"repository": self.repository, "why": self.why}


@dataclass(frozen=True, slots=True)
class Counts:
    """Of a pull, in mailbox entries: a copy counts twice."""

    total: int = 0
    new: int = 0
    moved: int = 0
    reflagged: int = 0
    gone: int = 0


@dataclass(frozen=True, slots=True)
class BackupReport:
    """One server's backup. `result` is the worst of the pull's and of every snapshot's: nothing is shown as safe that is not."""

    server: str
    pulled: Result
    messages: Counts
    unchanged: bool  # nothing new was pulled and nothing was snapshotted
    snapshots: tuple[SnapshotReport, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    missing: tuple[Missing, ...] = ()
    guards: tuple[Guard, ...] = ()
    troubles: tuple[Trouble, ...] = ()  # of the pull and of staging; a repository's own are in its snapshot report
    notes: tuple[str, ...] = ()
    generation: int | None = None  # the newest in staging
    bytes_pulled: int = 0
    took: timedelta = timedelta()
    proved: Mapping[str, datetime | None] = field(
        default_factory=dict
    )  # mailbox -> when it was last proved complete; None: never

    @property
    def result(self) -> Result:
        return max((self.pulled, *(snapshot.result for snapshot in self.snapshots)), key=_ORDER.index)

    @property
    def exit_code(self) -> int:
        if self.result is Result.FAILED:
            return EXIT_EXTERNAL
        return EXIT_FINDINGS if self.result is Result.INCOMPLETE or self.guards else EXIT_OK

    def to_json(self) -> dict[str, object]:
        return {
            "server": self.server,
            "result": str(self.result),
            "unchanged": self.unchanged,
            "messages": {
                "total": self.messages.total,
                "new": self.messages.new,
                "moved": self.messages.moved,
                "reflagged": self.messages.reflagged,
                "gone": self.messages.gone,
            },
            "missing": [{"mailbox": one.mailbox, "folder": one.folder, "name": one.name, "why": one.why} for one in self.missing],
            "bytes_pulled": self.bytes_pulled,
            "seconds": round(self.took.total_seconds(), 3),
            "snapshots": [snapshot.to_json() for snapshot in self.snapshots],
            "skipped": [one.to_json() for one in self.skipped],
            "guards": [{"code": guard.code, "text": guard.text, "mend": guard.mend} for guard in self.guards],
            "errors": [{"text": trouble.text, "mend": trouble.mend} for trouble in self.troubles],
            "notes": list(self.notes),
        }
