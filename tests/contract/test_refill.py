"""Staging that was lost or damaged comes back from a snapshot of a real restic repository, and no message crosses the wire again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC
from pathlib import Path

import pytest

from failsafe.backup.archive.staging import Staging
from failsafe.backup.archive.verify import verify_generation
from failsafe.backup.job import ServerJob, run_backup
from failsafe.backup.pull import PullOptions, PullReport, pull
from failsafe.backup.report import BackupReport
from failsafe.backup.snapshot import Target
from failsafe.clock import SystemClock
from failsafe.errors import Interrupted
from failsafe.model import Result
from failsafe.ports import Progress, Repository
from tests.contract.mailstore import Silent, Store
from tests.contract.restics import PASSWORD, empty_repository, make_repository
from tests.fakes.repository import FakeRepository

ANNA, BOB = "anna@example.org", "bob@example.org"
BODY = 20_000  # bytes of a message: 40 of them are far more than what a pull says besides


class House:
    """A store, its backup, and what the backup said."""

    def __init__(self, base: Path, repositories: Sequence[Repository]) -> None:
        self.store, self.repositories, self.said = Store(base), repositories, list[str]()

    @property
    def staging(self) -> Path:
        return self.store.base / "staging"

    def pull(self, staging: Staging, progress: Progress) -> PullReport:
        self.store.calm()
        with self.store.open_inventory() as inventory:
            options = PullOptions("vps", str(self.store.root), same_clock=True)
            return pull(self.store.host, staging, inventory, options, SystemClock(), progress)

    def run(self) -> BackupReport:
        job = ServerJob(
            "vps",
            self.staging,
            self.pull,
            tuple(Target(repository) for repository in self.repositories),
            self.store.base / "proofs.json",
            UTC,
            by_hand=True,
            narrate=self.said.append,
        )
        return run_backup(job, lock=nullcontext(), clock=SystemClock(), progress=Silent(), record=lambda _event: None)

    def lose_inventory(self) -> None:
        for path in self.store.base.glob("inventory*"):
            path.unlink() if path.is_file() else shutil.rmtree(path)

    def assert_whole(self) -> None:
        assert self.store.archived() == self.store.on_server()
        assert set(self.store.stored_ids().values()) == {1}, "a message is stored twice"
        with self.store.open_staging() as staging:
            assert verify_generation(staging.archive, self.store.newest(staging), read_messages=True) == []


@pytest.fixture
def house(tmp_path: Path) -> House:
    shutil.copytree(empty_repository(PASSWORD), tmp_path / "near")
    made = House(tmp_path / "house", [make_repository("restic", tmp_path / "near", name="near")])
    made.store.fill(ANNA, "", 30, size=BODY)
    made.store.folder(BOB)
    made.store.fill(BOB, ".Archive", 10, size=BODY, prefix="b")
    assert made.run().result is Result.OK
    return made


@pytest.mark.parametrize("inventory", ["kept", "lost"])
def test_lost_staging_comes_back_from_the_repository_and_only_what_is_new_is_pulled(house: House, inventory: str) -> None:
    shutil.rmtree(house.staging)
    if inventory == "lost":
        house.lose_inventory()
    house.store.fill(ANNA, "", 2, size=BODY, prefix="new")

    report = house.run()

    assert (report.result, report.generation, report.messages.total) == (Result.OK, 2, 42)
    assert report.bytes_pulled < 10 * BODY, "the messages came over the wire again"
    assert "came back" in house.said[-1]
    house.assert_whole()


def one_of(house: House, pattern: str) -> Path:
    return min(house.staging.glob(pattern))


@pytest.mark.parametrize("pattern", ["segments/*/*.tar", "segments/*/*.idx", "shards/*/*", "mailboxes/*/*"])
def test_a_single_missing_file_comes_back_by_its_name(house: House, pattern: str) -> None:
    gone = one_of(house, pattern)
    gone.unlink()

    report = house.run()

    assert (report.result, gone.is_file()) == (Result.OK, True)
    assert report.bytes_pulled < 10 * BODY
    house.assert_whole()


def test_a_damaged_manifest_is_replaced(house: House) -> None:
    damaged = one_of(house, "mailboxes/*/*")
    damaged.write_bytes(damaged.read_bytes().replace(b"anna", b"enna").replace(b"bob", b"rob"))

    assert house.run().result is Result.OK

    house.assert_whole()


def test_a_damaged_generation_is_put_aside_and_the_snapshot_takes_its_place(house: House) -> None:
    one_of(house, "generations/*").write_bytes(b"{")

    report = house.run()

    assert (report.result, report.bytes_pulled < 10 * BODY) == (Result.OK, True)
    assert [path.name for path in house.staging.with_name("staging.damaged").iterdir()] == ["00000001.json"]
    house.assert_whole()


def test_without_a_repository_that_answers_mail_is_pulled_anew_and_that_is_said(house: House) -> None:
    shutil.rmtree(house.staging)
    house.lose_inventory()
    house.repositories = [make_repository("restic", house.store.base / "nowhere", name="nowhere")]

    report = house.run()

    assert report.messages.new == 40
    assert report.bytes_pulled > 40 * BODY
    assert house.store.archived() == house.store.on_server()


class Breaking(FakeRepository):
    """Is interrupted in the middle of what it brings back, or brings back other bytes than it was given."""

    breaks_after: int | None = None
    lies = False

    def fetch(self, snapshot_id: str, paths: Sequence[str], target: Path, progress: Progress | None = None) -> None:
        for path in paths:
            if self.breaks_after is not None:
                if self.breaks_after == 0:
                    raise Interrupted("killed")
                self.breaks_after -= 1
            super().fetch(snapshot_id, [path], target, progress)
            if self.lies and path.endswith(".tar"):
                (target / path).write_bytes(os.urandom(600))


@pytest.fixture
def broken(tmp_path: Path) -> tuple[House, Breaking]:
    repository = Breaking("far")
    made = House(tmp_path, [repository])
    made.store.fill(ANNA, "", 20, size=BODY)
    made.run()
    shutil.rmtree(made.staging)
    made.lose_inventory()
    return made, repository


@pytest.mark.parametrize("files", [0, 1, 2, 4])
def test_an_interrupted_refill_never_looks_whole_and_is_finished_by_the_next(broken: tuple[House, Breaking], files: int) -> None:
    house, repository = broken
    repository.breaks_after = files
    with pytest.raises(Interrupted):
        house.run()
    with house.store.open_staging() as staging:
        assert staging.numbers() == ()
    repository.breaks_after = None

    report = house.run()

    assert (report.result, report.generation, report.bytes_pulled < 10 * BODY) == (Result.OK, 1, True)
    house.assert_whole()


def test_a_snapshot_that_gives_other_bytes_is_not_believed(broken: tuple[House, Breaking]) -> None:
    house, repository = broken
    repository.lies = True

    report = house.run()

    assert any("does not match its digest" in line for line in house.said)
    assert (report.messages.new, report.generation) == (20, 2)
    house.assert_whole()
