"""Listens to restic while it works: progress for a person, and what counts in the end."""

from __future__ import annotations

from failsafe.adapters.restic.parse import (
    Summary,
    as_json,
    parse_counted,
    parse_status,
    parse_summary,
    parse_taken,
    unread_items,
)
from failsafe.ports import Progress

COMPLAINTS = 1000  # files that could not be read, of which the names are kept


class BackupLines:
    """Listens to a backup: progress for a person, the summary, and what could not be read."""

    def __init__(self, progress: Progress, stage: str) -> None:
        self._progress, self._stage, self._shown = progress, stage, -1
        self.summary: Summary | None = None
        self.taken: list[str] = []
        self.unread: list[str] = []

    def __call__(self, line: str) -> None:
        value = as_json(line)
        if value is None:
            return
        if (summary := parse_summary(value)) is not None:
            self.summary = summary
        elif (taken := parse_taken(value)) is not None:
            self.taken.append(taken)
        elif (status := parse_status(value)) is not None:
            if self._shown < 0:
                self._progress.stage(self._stage, status.bytes_total or None, "B")
                self._shown = 0
            if status.bytes_done > self._shown:
                self._progress.advance(status.bytes_done - self._shown)
                self._shown = status.bytes_done

    def complaint(self, line: str) -> None:
        if len(self.unread) < COMPLAINTS:
            self.unread.extend(unread_items([line]))


class PruneLines:
    """Listens to a prune: each of its steps counts anew."""

    def __init__(self, progress: Progress, stage: str) -> None:
        self._progress, self._stage = progress, stage
        self._step, self._shown = ("", 0), 0

    def __call__(self, line: str) -> None:
        counted = parse_counted(line)
        if counted is None:
            return
        done, total, what = counted
        if self._step != (what, total):
            self._step, self._shown = (what, total), 0
            self._progress.stage(self._stage, total, what)
        self._progress.advance(max(done - self._shown, 0))
        self._shown = max(done, self._shown)
