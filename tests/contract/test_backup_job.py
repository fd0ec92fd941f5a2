"""The backup job: a real pull, real staging; repositories in memory where a fault is wanted, real ones in test_backup_killed.py."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest

from failsafe.backup.archive.staging import Staging
from failsafe.backup.due import Window
from failsafe.backup.job import ServerJob, run_backup
from failsafe.backup.pull import PullOptions, PullReport, pull
from failsafe.backup.report import BackupReport
from failsafe.backup.snapshot import Target, read_tags
from failsafe.backup.verify import exit_code, verify_repository, verify_snapshot, verify_staging
from failsafe.clock import SystemClock
from failsafe.errors import Interrupted, Refused, ResticError, SshError
from failsafe.events import Event
from failsafe.model import Result, SnapshotTaken
from failsafe.ports import Progress, SnapshotRequest
from tests.contract.mailstore import Silent, Store
from tests.fakes.repository import FakeRepository

ANNA = "anna@example.org"
HOST = "failsafe-vps"


class SettableClock(SystemClock):
    """The real clock, and a step that a test takes instead of waiting."""

    def __init__(self) -> None:
        self.step = timedelta()

    def now(self) -> datetime:
        return super().now() + self.step


class Leaky(FakeRepository):
    """Leaves one file out of each snapshot and calls it a success, as restic does with a file that vanished."""

    leaks = 1

    def backup(self, request: SnapshotRequest, progress: Progress) -> SnapshotTaken:
        taken = super().backup(request, progress)
        if self.leaks:
            self.leaks -= 1
            files = self._snapshots[taken.id][1]
            del files[next(path for path in files if path.endswith(".tar"))]
        return taken


NIGHT = Window(time(0), time(6))


@dataclass
class Bench:
    """A store, its repositories, and a backup of the one into the others."""

    store: Store
    targets: list[Target]
    clock: SettableClock = field(default_factory=SettableClock)
    events: list[Event] = field(default_factory=list)
    pull_error: Exception | None = None

    def pull(self, staging: Staging, progress: Progress) -> PullReport:
        if self.pull_error is not None:
            raise self.pull_error
        self.store.calm()
        with self.store.open_inventory() as inventory:
            return pull(self.store.host, staging, inventory, PullOptions("vps", str(self.store.root)), self.clock, progress)

    def run(self, *, by_hand: bool = False) -> BackupReport:
        folder = self.store.base / "staging"
        job = ServerJob("vps", folder, self.pull, tuple(self.targets), self.store.base / "proofs.json", UTC, by_hand)
        return run_backup(job, lock=nullcontext(), clock=self.clock, progress=Silent(), record=self.events.append)

    def deliver(self, count: int = 1) -> None:
        self.store.fill(ANNA, "", count, prefix=f"m{self.clock.monotonic()}-")

    def event_names(self) -> list[str]:
        return [event.name for event in self.events]


@pytest.fixture
def near() -> FakeRepository:
    return FakeRepository("near")


@pytest.fixture
def far() -> FakeRepository:
    return FakeRepository("far")


@pytest.fixture
def bench(tmp_path: Path, near: FakeRepository, far: FakeRepository) -> Bench:
    made = Bench(Store(tmp_path), [Target(near), Target(far)])
    made.deliver(5)
    return made


def held(repository: FakeRepository) -> list[int | None]:
    return [read_tags(info.tags).generation for info in repository.snapshots(HOST)]


def test_a_backup_reaches_every_repository_and_creates_it(bench: Bench, near: FakeRepository, far: FakeRepository) -> None:
    report = bench.run()

    assert (report.result, report.exit_code, report.unchanged) == (Result.OK, 0, False)
    assert [(one.repository, one.result) for one in report.snapshots] == [("near", "ok"), ("far", "ok")]
    assert held(near) == held(far) == [1]
    assert bench.event_names() == ["repository.created", "repository.created", "backup.done"]


def test_the_report_has_the_promised_shape(bench: Bench) -> None:
    shown = bench.run().to_json()

    assert {key: shown[key] for key in ("server", "result", "unchanged", "missing", "guards")} == {
        "server": "vps",
        "result": "ok",
        "unchanged": False,
        "missing": [],
        "guards": [],
    }
    assert shown["messages"] == {"total": 5, "new": 5, "moved": 0, "reflagged": 0, "gone": 0}
    snapshots = shown["snapshots"]
    assert isinstance(snapshots, list)
    assert {"repository", "result", "snapshot_id", "bytes_added", "seconds"} <= set(snapshots[0])
    assert len(snapshots[0]["snapshot_id"]) == 64


def test_the_snapshot_says_in_its_tags_what_it_holds(bench: Bench, near: FakeRepository) -> None:
    bench.run()

    (info,) = near.snapshots(HOST)
    tags = read_tags(info.tags)
    assert (tags.generation, tags.result, tags.messages) == (1, "ok", 5)


def test_the_time_of_a_snapshot_is_the_time_of_its_mail(bench: Bench, near: FakeRepository) -> None:
    bench.run()

    with bench.store.open_staging() as staging:
        assert near.snapshots(HOST)[0].at == bench.store.newest(staging).at


def test_nothing_new_makes_no_snapshot_and_no_event(bench: Bench, near: FakeRepository) -> None:
    bench.run()
    bench.events.clear()

    report = bench.run()

    assert (report.unchanged, report.snapshots, report.result) == (True, (), Result.OK)
    assert held(near) == [1]
    assert bench.events == []


def test_nothing_new_does_not_even_wake_the_repositories(bench: Bench, near: FakeRepository) -> None:
    bench.run()
    near.fail_with = ResticError("asleep", kind="unreachable")

    assert bench.run().result is Result.OK
    assert bench.run(by_hand=True).result is Result.FAILED, "asked by hand, it looks again"


def test_what_is_where_is_found_again_without_any_memory(bench: Bench, near: FakeRepository) -> None:
    bench.run()
    (bench.store.base / "proofs.json").unlink()

    report = bench.run()

    assert report.unchanged
    assert held(near) == [1]


def test_a_damaged_memory_is_an_empty_one(bench: Bench, near: FakeRepository) -> None:
    bench.run()
    (bench.store.base / "proofs.json").write_text('{"near": {"generation": "x"}, "far"')

    assert bench.run().unchanged
    assert held(near) == [1]


def test_one_repository_that_fails_does_not_keep_the_other_from_its_snapshot(
    bench: Bench, near: FakeRepository, far: FakeRepository
) -> None:
    near.fail_with = ResticError("no route to near", kind="unreachable", mend="plug it in")

    report = bench.run()

    assert (report.result, report.exit_code) == (Result.FAILED, 4)
    assert [one.result for one in report.snapshots] == ["failed", "ok"]
    assert report.snapshots[0].trouble is not None
    assert report.snapshots[0].trouble.mend == "plug it in"
    assert held(far) == [1]
    assert bench.event_names()[-1] == "backup.failed"


def test_a_repository_catches_up_although_nothing_new_came(bench: Bench, near: FakeRepository, far: FakeRepository) -> None:
    near.fail_with = ResticError("no route to near", kind="unreachable")
    bench.run()
    near.fail_with = None

    report = bench.run()

    assert [one.repository for one in report.snapshots] == ["near"]
    assert not report.unchanged
    assert held(near) == held(far) == [1]


def test_a_repository_catches_up_although_the_server_is_down(bench: Bench, near: FakeRepository) -> None:
    near.fail_with = ResticError("no route to near", kind="unreachable")
    bench.run()
    near.fail_with = None
    bench.pull_error = SshError("vps: connection refused", mend="start sshd")

    report = bench.run()

    assert (report.result, report.exit_code) == (Result.FAILED, 4)
    assert [trouble.text for trouble in report.troubles] == ["vps: connection refused"]
    assert [one.result for one in report.snapshots] == ["ok"]
    assert held(near) == [1]


def test_a_first_backup_of_a_server_that_is_down_fails_and_makes_nothing(bench: Bench, near: FakeRepository) -> None:
    bench.pull_error = SshError("vps: connection refused")

    report = bench.run()

    assert (report.result, report.snapshots, report.unchanged) == (Result.FAILED, (), False)
    with pytest.raises(ResticError):
        near.open()


def test_a_snapshot_that_lacks_a_file_is_not_counted_and_is_made_again(tmp_path: Path) -> None:
    leaky = Leaky("leaky")
    bench = Bench(Store(tmp_path), [Target(leaky)])
    bench.deliver(5)

    first, second, third = bench.run(), bench.run(), bench.run()

    assert (first.result, first.snapshots[0].snapshot_id) == (Result.INCOMPLETE, "")
    assert (second.result, third.unchanged) == (Result.OK, True)
    assert held(leaky) == [1, 1]


def test_a_restic_that_could_not_read_everything_is_incomplete(bench: Bench, near: FakeRepository) -> None:
    near.fail_with = ResticError("2 files could not be read", kind="incomplete")

    report = bench.run()

    assert (report.result, report.exit_code) == (Result.INCOMPLETE, 1)
    assert bench.event_names()[-1] == "backup.incomplete"


def test_a_repository_with_an_interval_waits_for_it(bench: Bench, near: FakeRepository, far: FakeRepository) -> None:
    bench.targets[1] = Target(far, every=timedelta(hours=6))
    bench.run()
    bench.deliver()
    assert [one.repository for one in bench.run().snapshots] == ["near"]

    bench.clock.step = timedelta(hours=6)
    bench.deliver()

    assert [one.repository for one in bench.run().snapshots] == ["near", "far"]
    assert held(far) == [1, 3]


def test_asked_by_hand_every_repository_is_due(bench: Bench, far: FakeRepository) -> None:
    bench.targets[1] = Target(far, every=timedelta(hours=6), window=NIGHT)
    bench.run(by_hand=True)
    bench.deliver()

    bench.run(by_hand=True)

    assert held(far) == [1, 2]


def test_a_closed_window_is_waited_for(bench: Bench, far: FakeRepository) -> None:
    bench.targets[1] = Target(far, window=NIGHT)
    now = bench.clock.now()
    bench.clock.step = now.replace(hour=12, minute=0) - now
    assert [one.repository for one in bench.run().snapshots] == ["near"]

    bench.clock.step += timedelta(hours=14)

    assert [one.repository for one in bench.run().snapshots] == ["far"]


def test_a_clock_that_went_back_does_not_make_snapshots_twice(bench: Bench, near: FakeRepository) -> None:
    bench.clock.step = timedelta(days=400)
    bench.run()
    bench.clock.step = timedelta()
    bench.deliver()

    reports = [bench.run() for _ in range(3)]

    assert held(near) == [2, 1], "listed by time"
    assert [report.unchanged for report in reports] == [False, True, True]


def test_new_staging_made_while_no_repository_answered_is_not_taken_for_what_is_stored(
    bench: Bench, near: FakeRepository, far: FakeRepository
) -> None:
    bench.run()
    for leftover in ("staging", "inventory.sqlite"):
        (bench.store.base / leftover).rename(bench.store.base / f"{leftover}.old")
    bench.deliver()
    near.fail_with = far.fail_with = ResticError("no route", kind="unreachable")
    bench.run()
    near.fail_with = far.fail_with = None

    report = bench.run()

    assert [one.generation for one in report.snapshots] == [2, 2], "a number that a silent repository may have is not given twice"
    assert held(near) == [1, 2]


def test_new_staging_counts_on_from_what_a_repository_holds(bench: Bench, near: FakeRepository) -> None:
    """Else one number would mean two states, and a restore could show the older one."""
    bench.run()
    bench.deliver()
    bench.run()
    for leftover in ("staging", "inventory.sqlite"):
        (bench.store.base / leftover).rename(bench.store.base / f"{leftover}.old")
    bench.deliver()

    bench.run()

    assert held(near) == [1, 2, 3]


def test_what_no_repository_needs_any_more_leaves_staging(bench: Bench) -> None:
    for _ in range(4):
        bench.run()
        bench.deliver()

    with bench.store.open_staging() as staging:
        assert staging.numbers() == (4,)


def test_what_a_lagging_repository_names_stays_in_staging(bench: Bench, far: FakeRepository) -> None:
    bench.run()
    far.fail_with = ResticError("no route to far", kind="unreachable")
    for _ in range(3):
        bench.deliver()
        bench.run()

    with bench.store.open_staging() as staging:
        assert staging.numbers() == (1, 4)


def test_a_message_that_could_not_be_read_makes_everything_incomplete(bench: Bench, near: FakeRepository) -> None:
    bench.store.put(ANNA, "", "locked.host:2,").unlink()
    (bench.store.folder(ANNA) / "cur" / "locked.host:2,").symlink_to("/etc/passwd")

    report = bench.run()

    assert (report.result, report.exit_code) == (Result.INCOMPLETE, 1)
    assert report.missing
    assert [one.result for one in report.snapshots] == ["incomplete", "incomplete"]
    assert read_tags(near.snapshots(HOST)[0].tags).result == "incomplete"


def test_an_interruption_is_not_swallowed(bench: Bench, near: FakeRepository) -> None:
    bench.pull_error = Interrupted("stopped")

    with pytest.raises(Interrupted):
        bench.run()


def test_a_busy_lock_keeps_everything_from_beginning(bench: Bench, near: FakeRepository) -> None:
    @contextmanager
    def busy() -> Iterator[None]:
        raise Refused("another failsafe is at work")
        yield

    job = ServerJob("vps", bench.store.base / "staging", bench.pull, tuple(bench.targets), bench.store.base / "proofs.json")

    with pytest.raises(Refused):
        run_backup(job, lock=busy(), clock=bench.clock, progress=Silent(), record=bench.events.append)

    assert not (bench.store.base / "staging").exists()


# ---------------------------------------------------------------- verify


def test_a_sound_repository_and_a_sound_archive_verify(bench: Bench, near: FakeRepository, tmp_path: Path) -> None:
    bench.run()

    checked = verify_repository(near, part=1, parts=4, clock=bench.clock, record=bench.events.append)
    staged = verify_staging("vps", bench.store.base / "staging", read_messages=True)
    stored = verify_snapshot(near, "vps", tmp_path / "fetched")

    assert checked.to_json() == {"repository": "near", "ok": True, "read_percent": 25.0, "damaged": []}
    assert (staged.ok, staged.generation, stored.ok, stored.generation) == (True, 1, True, 1)
    assert exit_code([checked], [staged, stored]) == 0
    assert bench.event_names()[-1] == "repository.checked"


def test_damage_is_told(bench: Bench, near: FakeRepository) -> None:
    bench.run()
    near.damaged = ("pack ab12 is damaged",)

    checked = verify_repository(near, part=1, parts=4, clock=bench.clock, record=bench.events.append)

    assert (checked.ok, checked.damaged, exit_code([checked], [])) == (False, ("pack ab12 is damaged",), 1)
    assert bench.event_names()[-1] == "repository.damaged"


def test_a_repository_that_cannot_be_asked_is_not_called_damaged(bench: Bench, near: FakeRepository) -> None:
    near.fail_with = ResticError("no route to near", kind="unreachable")

    checked = verify_repository(near, part=1, parts=4, clock=bench.clock, record=bench.events.append)

    assert (checked.ok, checked.damaged, exit_code([checked], [])) == (False, (), 4)
    assert bench.events == []


def test_a_changed_byte_in_staging_or_in_a_snapshot_is_found(bench: Bench, near: FakeRepository, tmp_path: Path) -> None:
    bench.run()
    segment = next((bench.store.base / "staging").rglob("*.tar"))
    content = bytearray(segment.read_bytes())
    content[600] ^= 1
    segment.write_bytes(content)
    near._snapshots[near.snapshots()[0].id][1][segment.relative_to(bench.store.base / "staging").as_posix()] = bytes(content)

    staged = verify_staging("vps", bench.store.base / "staging", read_messages=True)
    stored = verify_snapshot(near, "vps", tmp_path / "fetched")

    assert not staged.ok
    assert not stored.ok
    assert segment.name in staged.problems[0]
    assert exit_code([], [staged]) == 1


def test_a_server_without_a_snapshot_says_so(near: FakeRepository, tmp_path: Path) -> None:
    near.ensure()

    stored = verify_snapshot(near, "vps", tmp_path / "fetched")

    assert stored.trouble is not None
    assert "no snapshot of vps" in stored.trouble.text


def test_staging_that_was_lost_while_no_repository_answers_gives_no_number_a_second_meaning(
    bench: Bench, near: FakeRepository, far: FakeRepository
) -> None:
    """Snapshots are known by the number of their generation: with two of one number the older one could not be restored from."""
    bench.run()
    bench.deliver()
    bench.run()
    shutil.rmtree(bench.store.base / "staging")
    near.fail_with = far.fail_with = ResticError("no route to it", kind="unreachable")
    bench.run()
    near.fail_with = far.fail_with = None
    bench.clock.step += timedelta(days=2)
    assert bench.run().result is Result.OK
    assert held(near) == held(far) == [1, 2, 3]
