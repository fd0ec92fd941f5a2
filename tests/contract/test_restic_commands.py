"""How often restic is asked: each of its commands derives its key anew, for 0.6 s of a processor."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from failsafe.adapters.restic import ResticRepository
from failsafe.backup.archive import Archive
from failsafe.backup.archive.staging import Staging
from failsafe.backup.past import moment_at
from failsafe.backup.pull import PullReport
from failsafe.backup.recall import RepositorySource
from failsafe.backup.retention import Pin, find_pinned
from failsafe.backup.snapshot import Snapshotter, Target, read_tags
from failsafe.model import Result
from failsafe.ports import Progress, Repository, SnapshotRequest
from tests.contract.mailstore import Silent, Store
from tests.contract.restics import PASSWORD, make_repository, programs, put_empty_repository, restic, version_of
from tests.contract.test_backup_job import Bench

PROGRAMS = programs()


class Counted:
    """A repository of this restic, the second time it is met: its id is known. `asked` gives the commands since it was asked last."""

    def __init__(self, program: str, folder: Path) -> None:
        self.folder, self.log, self.program = folder, folder / "log", str(folder / "restic")
        folder.mkdir()
        self.real = shutil.which(program)
        Path(self.program).write_text(f'#!/bin/sh\necho "$1" >> {self.log}\nexec {self.real} "$@"\n')
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


def test_a_new_message_costs_one_command(bench: Bench, counted: Counted) -> None:
    bench.deliver()

    assert bench.run().result is Result.OK
    assert counted.asked() == ["backup"]


def test_once_a_day_restic_itself_opens_and_lists_the_repository(bench: Bench, counted: Counted) -> None:
    for hours in (9, 18):
        bench.clock.step += timedelta(hours=9)
        bench.deliver()
        assert bench.run().result is Result.OK
        assert counted.asked() == ["backup"], hours
    bench.clock.step += timedelta(hours=9)
    bench.deliver()

    assert bench.run().result is Result.OK
    assert counted.asked() == ["cat", "snapshots", "backup"]


def test_what_restic_names_while_it_works_is_what_the_snapshot_holds(counted: Counted, tmp_path: Path) -> None:
    repository, folder = counted.met_again(), tmp_path / "folder"
    for name in ("one", "a/two", "a/b/three", "odd\nname", "left/out"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    request = SnapshotRequest(folder, "host", (), ("left",), None)
    first = repository.backup(request, Silent())
    (folder / "a" / "two").write_text("changed now")
    (folder / "four").touch()

    second = repository.backup(request, Silent())

    assert first.files == repository.list_files(first.id) == ("a/b/three", "a/two", "odd\nname", "one")
    assert second.files == repository.list_files(second.id) == ("a/b/three", "a/two", "four", "odd\nname", "one")


def test_nothing_new_asks_restic_nothing_even_by_hand(bench: Bench, counted: Counted) -> None:
    assert bench.run(by_hand=True).unchanged
    assert counted.asked() == []


def test_a_snapshot_whose_file_is_gone_is_asked_for_and_made_again(bench: Bench, counted: Counted) -> None:
    (file,) = (counted.folder / "repository" / "snapshots").iterdir()
    file.unlink()

    report = bench.run(by_hand=True)

    assert report.snapshots[0].snapshot_id
    assert counted.asked() == ["cat", "snapshots", "backup"]


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
    vanish = f'[ "$1" = backup ] && {{ {counted.real} "$@"; rm -f {counted.folder}/repository/snapshots/*; exit; }}\n'
    script.write_text(script.read_text().replace("exec", f"{vanish}exec"))

    (snapshot,) = bench.run().snapshots

    assert (snapshot.result, snapshot.snapshot_id) == (Result.FAILED, "")


# ---------------------------------------------------------------- a snapshot that restic could not make whole


NO_OVERRIDE = (
    "setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-dac_override,-dac_read_search "  # root minds modes then
)


@pytest.fixture
def unreadable(tmp_path: Path, counted: Counted) -> Bench:
    """A bench whose next pull brings a segment that restic cannot read."""
    bench = Bench(Store(tmp_path), [Target(counted.met_again())])
    bench.deliver(3)
    assert bench.run().result is Result.OK
    script = Path(counted.program)
    if os.geteuid() == 0:
        script.write_text(script.read_text().replace("exec ", f"exec {NO_OVERRIDE}"))
    known = set((tmp_path / "staging/segments").rglob("*.tar"))
    bench.clock.step = timedelta(minutes=1)
    bench.deliver()
    pull = bench.pull

    def pull_and_shut(staging: Staging, progress: Progress) -> PullReport:
        pulled = pull(staging, progress)
        for path in set((tmp_path / "staging/segments").rglob("*.tar")) - known:
            path.chmod(0)
        return pulled

    bench.pull = pull_and_shut  # type: ignore[method-assign]
    return bench


def open_again(bench: Bench) -> None:
    """Pulls as ever; what was shut can be read."""
    del bench.pull  # type: ignore[misc]  # the method is there again
    for path in (bench.store.base / "staging/segments").rglob("*.tar"):
        path.chmod(0o600)


@pytest.fixture
def unread(unreadable: Bench) -> Bench:
    """A bench whose newest snapshot lacks a segment: its file could not be read, and restic ended with code 3."""
    report = unreadable.run()
    assert (report.result, report.snapshots[0].trouble and report.snapshots[0].trouble.kind) == (Result.INCOMPLETE, "incomplete")
    return unreadable


def results(repository: Repository) -> list[str]:
    return [read_tags(info.tags).result for info in repository.snapshots("failsafe-vps")]


def test_a_snapshot_that_lacks_a_file_says_so_in_its_tags(unread: Bench, counted: Counted) -> None:
    assert results(counted.met_again()) == ["ok", "incomplete"]
    assert unread.event_names().count("snapshot.wanting") == 1


def test_a_snapshot_that_lacks_a_file_is_never_the_last_good_one(unread: Bench, counted: Counted) -> None:
    """Neither for retention, which pins that one, nor for a restore of the newest complete state."""
    repository = counted.met_again()
    whole, wanting = repository.snapshots("failsafe-vps")
    pin = Pin(wanting.at + timedelta(days=1), "the last good one")
    assert set(find_pinned([whole, wanting], [pin])) == {whole.id}
    source = RepositorySource(repository, unread.store.base / "recalled")
    found = moment_at([source], "vps", None, [].append)
    assert found is not None
    assert found[1].snapshot_id == whole.id


class KilledError(BaseException):
    """The process dies here."""


def kill(bench: Bench, monkeypatch: pytest.MonkeyPatch, *where: str) -> None:
    """A backup that dies at one of these steps of a snapshot."""

    def die(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        for name in where:
            patched.setattr(Snapshotter, name, die)
        with pytest.raises(KilledError):
            bench.run()


def test_a_snapshot_of_a_killed_run_that_lacks_a_file_is_found_though_the_store_went_on(
    unreadable: Bench, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill(unreadable, monkeypatch, "_disown_all")
    assert results(counted.met_again()) == ["ok", "ok"], "it says that it is whole, and nobody has looked"
    open_again(unreadable)
    unreadable.clock.step += timedelta(minutes=1)  # restic's times are whole seconds
    unreadable.deliver()

    assert unreadable.run().result is Result.OK
    assert results(counted.met_again()) == ["ok", "incomplete", "ok"]
    counted.asked()
    unreadable.deliver()
    assert unreadable.run().result is Result.OK
    assert counted.asked() == ["backup"], "it was looked at once"


def test_a_snapshot_of_a_killed_run_that_is_whole_stays_what_it_says(
    bench: Bench, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.deliver()
    kill(bench, monkeypatch, "_prove")
    bench.deliver()

    assert bench.run().result is Result.OK
    assert results(counted.met_again()) == ["ok", "ok", "ok"]


def test_once_the_file_can_be_read_the_next_backup_is_whole_and_the_latest(
    unread: Bench, counted: Counted, tmp_path: Path
) -> None:
    open_again(unread)
    assert unread.run().result is Result.OK
    assert unread.run().unchanged
    assert results(counted.met_again()) == ["ok", "incomplete", "ok"]
    restored = restic(
        counted.program, counted.folder, "restore", "latest", "--host=failsafe-vps", "--target", str(tmp_path / "out")
    )
    assert restored.returncode == 0
    archive = Archive(tmp_path / "out")
    assert archive.verify(archive.generation(), read_messages=True) == []


def test_a_snapshot_that_was_left_saying_that_it_is_whole_is_told_apart_by_the_next_backup(
    unread: Bench, counted: Counted
) -> None:
    """As by a backup that was killed before it could say so."""
    repository = counted.met_again()
    wanting = repository.snapshots("failsafe-vps")[-1]
    lying = tuple("result:ok" if tag.startswith("result:") else tag for tag in wanting.tags)
    repository.retag(wanting.id, lying)
    assert results(repository) == ["ok", "ok"]
    assert unread.run().result is Result.INCOMPLETE
    assert results(repository) == ["ok", "incomplete", "incomplete"]
