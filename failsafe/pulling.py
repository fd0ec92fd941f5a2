"""What a pull tells while it goes on, and what it is told: how far it is, room on the disk, parts that are in a repository."""

from __future__ import annotations

import shutil
from collections import deque
from datetime import timedelta
from pathlib import Path

from failsafe.app import App
from failsafe.backup.parts import Checkpoints
from failsafe.backup.serving import Served
from failsafe.backup.space import SPACE, note_free, read_samples
from failsafe.backup.stretch import LONG, Care, Room
from failsafe.mail.manifest import Generation
from failsafe.repositories import keep_holds, keep_snapshots

NOTE_EVERY = timedelta(seconds=30).total_seconds()  # written to the database while bytes come; nothing in peace
RATE_OVER = timedelta(minutes=15).total_seconds()  # the rate that is shown is that of the last quarter of an hour


class Course:
    """How far a pull is: a note beside its duty, for `status`. A pull that ends within half a minute writes none."""

    def __init__(self, app: App, server: str) -> None:
        self._app, self._duty = app, f"backup:{server}"
        self._seen: deque[tuple[float, int]] = deque()
        self._noted_at = app.clock.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = self._app.clock.monotonic()
        begins_long = not self._seen and total - done >= LONG
        if begins_long or not self._seen or now - self._seen[-1][0] >= 1.0:
            self._seen.append((now, done))
        while len(self._seen) > 1 and now - self._seen[1][0] > RATE_OVER:
            self._seen.popleft()
        if begins_long or now - self._noted_at >= NOTE_EVERY:
            self._noted_at = now
            self._app.duties.moved(
                self._duty, self._app.clock.now(), done=done, total=total, unit="B", rate=self._rate(now, done)
            )

    def _rate(self, now: float, done: int) -> float | None:
        since, before = self._seen[0]
        return round((done - before) / (now - since), 1) if now - since >= 1.0 and done > before else None


def room_of(folder: Path) -> Room | None:
    """None where the disk does not say: a look at it must never end a pull."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return Room(usage.free, usage.total)


def care_for(app: App, server: str, checkpoints: Checkpoints) -> Care:
    folder = app.staging_folder(server)
    return Care(stored=checkpoints, moved=Course(app, server), room=lambda: room_of(folder))


def keep_part(app: App, server: str, generation: Generation, served: Served, ids: dict[str, str]) -> None:
    """What a part left in repositories, at once: the pull may be killed before it ends."""
    keep_snapshots(app, served.snapshots, ids)
    keep_holds(app, server, generation.number, None, [one.repository for one in served.snapshots])


def keep_space(app: App) -> None:
    """How much is free where staging lies, a few times a day: `status` tells from it when the disk will be full."""
    row, room = app.duties.all().get(SPACE), room_of(app.state_dir)
    before = () if row is None else tuple(read_samples(row.details))
    samples = None if room is None else note_free(before, app.clock.now(), room.free)
    if samples is not None:
        shown = [[at.isoformat(), free] for at, free in samples]
        app.duties.ended(SPACE, app.clock.now(), ok=True, details={"samples": shown})
