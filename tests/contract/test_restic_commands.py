"""How often restic is asked: each of its commands derives its key anew, for 0.6 s of a processor."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from failsafe.adapters.restic import ResticRepository
from failsafe.backup.snapshot import Target
from failsafe.model import Result
from tests.contract.mailstore import Store
from tests.contract.restics import PASSWORD, make_repository, programs, put_empty_repository, version_of
from tests.contract.test_backup_job import Bench

PROGRAMS = programs()


class Counted:
    """A repository of this restic, the second time it is met: its id is known. `asked` gives the commands since it was asked last."""

    def __init__(self, program: str, folder: Path) -> None:
        self.folder, self.log, self.program = folder, folder / "log", str(folder / "restic")
        folder.mkdir()
        Path(self.program).write_text(f'#!/bin/sh\necho "$1" >> {self.log}\nexec {shutil.which(program)} "$@"\n')
        Path(self.program).chmod(0o755)
        put_empty_repository(folder / "repository", PASSWORD)
        self.id = make_repository(self.program, folder).open()
        self.asked()

    def met_again(self) -> ResticRepository:
        return make_repository(self.program, self.folder, expected_id=self.id)

    def asked(self) -> list[str]:
        words = self.log.read_text().split() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return [word for word in words if word != "version"]


@pytest.fixture(params=PROGRAMS, ids=version_of)
def counted(request: pytest.FixtureRequest, tmp_path: Path) -> Counted:
    return Counted(request.param, tmp_path / "counted")


@pytest.fixture
def bench(tmp_path: Path, counted: Counted) -> Bench:
    bench = Bench(Store(tmp_path), [Target(counted.met_again())])
    bench.deliver(3)
    assert bench.run().result is Result.OK
    counted.asked()
    return bench


def test_a_new_message_costs_one_backup_and_one_command_that_reads_it_back(bench: Bench, counted: Counted) -> None:
    bench.deliver()

    assert bench.run().result is Result.OK
    assert counted.asked() == ["backup", "ls"]


def test_nothing_new_asks_restic_nothing_even_by_hand(bench: Bench, counted: Counted) -> None:
    assert bench.run(by_hand=True).unchanged
    assert counted.asked() == []


def test_a_snapshot_whose_file_is_gone_is_asked_for_and_made_again(bench: Bench, counted: Counted) -> None:
    (file,) = (counted.folder / "repository" / "snapshots").iterdir()
    file.unlink()

    report = bench.run(by_hand=True)

    assert report.snapshots[0].snapshot_id
    assert counted.asked() == ["cat", "snapshots", "backup", "ls"]


def test_another_repository_in_the_place_of_ours_is_not_recognised(bench: Bench, counted: Counted, tmp_path: Path) -> None:
    make_repository(counted.program, tmp_path / "other").ensure()
    place = counted.folder / "repository"
    shutil.move(place, tmp_path / "away")
    shutil.move(tmp_path / "other" / "repository", place)
    counted.asked()
    bench.deliver()

    report = bench.run()

    assert report.snapshots[0].trouble is not None
    assert report.snapshots[0].trouble.kind == "unexpected-repository"
    assert "backup" not in counted.asked()


def test_without_what_was_remembered_restic_is_asked(bench: Bench, counted: Counted) -> None:
    (remembered,) = counted.folder.rglob("known/*.json")
    proven = next((counted.folder / "repository" / "snapshots").iterdir()).name
    assert counted.met_again().recognises(proven)
    remembered.write_text("{}")

    assert not counted.met_again().recognises(proven)


def test_a_snapshot_that_vanished_before_it_is_read_back_is_no_success(counted: Counted, tmp_path: Path) -> None:
    """Also while its copy is still in restic's cache."""
    bench = Bench(Store(tmp_path / "s"), [Target(counted.met_again())])
    bench.deliver(3)
    script = Path(counted.program)
    vanish = f'[ "$1" = ls ] && rm -f {counted.folder}/repository/snapshots/*\n'
    script.write_text(script.read_text().replace("exec", f"{vanish}exec"))

    (snapshot,) = bench.run().snapshots

    assert (snapshot.result, snapshot.snapshot_id) == (Result.FAILED, "")
