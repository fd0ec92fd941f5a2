"""The conformance suite of the port Repository: the fake and every restic at hand pass the same tests."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from failsafe.errors import ResticError
from failsafe.ports import Repository, SnapshotRequest
from tests.contract.restics import PASSWORD, empty_repository, make_repository, programs, version_of
from tests.fakes.progress import Heard
from tests.fakes.repository import FakeRepository

STRANGE = "sub/f[1]*?.txt"
FILES = {"generations/00000001.json": b"one", "generations/00000002.json": b"two", STRANGE: b"strange", "sub/f1.txt": b"other"}
EXCLUDES = ("generations/*", "!generations/00000002.json", ".failsafe-unfinished")
KINDS = ["fake", *programs()]


@pytest.fixture(params=KINDS, ids=lambda kind: kind if kind == "fake" else version_of(kind))
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    if request.param == "fake":
        fake = FakeRepository()
        fake.ensure()
        return fake
    shutil.copytree(empty_repository(PASSWORD, request.param), tmp_path / "r")
    return make_repository(request.param, tmp_path / "r")


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def snapshot(repository: Repository, folder: Path, *tags: str, host: str = "failsafe-vps", excludes: tuple[str, ...] = ()) -> str:
    return repository.backup(SnapshotRequest(folder, host, tags, excludes), Heard()).id


def test_at_least_one_real_restic_is_tested() -> None:
    if not programs():
        pytest.skip("restic is not installed (Debian: restic)")
    assert len(KINDS) > 1


def test_an_opened_repository_tells_its_whole_id_and_keeps_it(repository: Repository) -> None:
    first = repository.ensure()

    assert len(first) == 64
    assert int(first, 16) >= 0
    assert repository.open() == first == repository.ensure()


def test_a_snapshot_is_listed_with_its_whole_id_its_host_and_its_tags(repository: Repository, staging: Path) -> None:
    taken = repository.backup(SnapshotRequest(staging, "failsafe-vps", ("generation:1", "result:ok")), Heard())

    (listed,) = repository.snapshots()

    assert len(listed.id) == 64
    assert (listed.id, listed.host, set(listed.tags)) == (taken.id, "failsafe-vps", {"generation:1", "result:ok"})
    assert listed.at.utcoffset() is not None


def test_snapshots_come_oldest_first_and_by_host(repository: Repository, staging: Path) -> None:
    ids = [snapshot(repository, staging, host=host) for host in ("failsafe-a", "failsafe-b", "failsafe-a")]

    assert [info.id for info in repository.snapshots()] == ids
    assert [info.id for info in repository.snapshots("failsafe-a")] == [ids[0], ids[2]]
    assert repository.snapshots("failsafe-nobody") == ()


def test_files_are_listed_relative_to_the_folder(repository: Repository, staging: Path) -> None:
    taken = snapshot(repository, staging)

    assert set(repository.list_files(taken, "")) == set(FILES)
    assert repository.list_files(taken, "generations") == ("generations/00000001.json", "generations/00000002.json")
    assert repository.list_files(taken, "nowhere") == ()


def test_a_snapshot_holds_one_generation_although_the_folder_holds_more(repository: Repository, staging: Path) -> None:
    (staging / "generations" / "00000003.json").write_bytes(b"three")

    taken = snapshot(repository, staging, excludes=EXCLUDES)

    assert repository.list_files(taken, "generations") == ("generations/00000002.json",)


def test_exactly_the_files_asked_for_arrive_even_with_wildcards_in_their_names(
    repository: Repository, staging: Path, tmp_path: Path
) -> None:
    taken = snapshot(repository, staging)

    repository.fetch(taken, [STRANGE, "generations/00000001.json"], tmp_path / "out")

    arrived = {path.relative_to(tmp_path / "out").as_posix(): path.read_bytes() for path in files(tmp_path / "out")}
    assert arrived == {name: FILES[name] for name in (STRANGE, "generations/00000001.json")}


def test_everything_can_be_fetched_at_once(repository: Repository, staging: Path, tmp_path: Path) -> None:
    taken = snapshot(repository, staging)

    repository.fetch(taken, tuple(FILES), tmp_path / "out")

    assert {path.relative_to(tmp_path / "out").as_posix(): path.read_bytes() for path in files(tmp_path / "out")} == FILES


def test_a_file_that_is_not_there_is_named_and_nothing_is_written(repository: Repository, staging: Path, tmp_path: Path) -> None:
    """restic restore --include answers 0 when nothing matches."""
    taken = snapshot(repository, staging)

    with pytest.raises(ResticError, match=r"sub/none\.txt"):
        repository.fetch(taken, ["sub/none.txt", STRANGE], tmp_path / "out")

    assert files(tmp_path / "out") == []


def test_some_files_are_those_that_the_snapshot_has(repository: Repository, staging: Path, tmp_path: Path) -> None:
    taken = snapshot(repository, staging)

    repository.fetch_some(taken, ["sub/none.txt", STRANGE], tmp_path / "out")

    assert [path.read_bytes() for path in files(tmp_path / "out")] == [FILES[STRANGE]]


def test_an_unknown_snapshot_is_an_error(repository: Repository, staging: Path, tmp_path: Path) -> None:
    snapshot(repository, staging)

    with pytest.raises(ResticError):
        repository.fetch("0" * 64, [STRANGE], tmp_path / "out")
    with pytest.raises(ResticError):
        repository.fetch_some("0" * 64, [STRANGE], tmp_path / "out")
    with pytest.raises(ResticError):
        repository.list_files("0" * 64, "")


def test_an_older_snapshot_stays_as_it_was(repository: Repository, staging: Path, tmp_path: Path) -> None:
    first = snapshot(repository, staging)
    (staging / "sub" / "f1.txt").write_bytes(b"changed")
    second = snapshot(repository, staging)

    for taken, content in ((first, b"other"), (second, b"changed")):
        repository.fetch(taken, ["sub/f1.txt"], tmp_path / taken)
        assert (tmp_path / taken / "sub" / "f1.txt").read_bytes() == content


def test_what_is_there_already_is_not_added_again(repository: Repository, staging: Path) -> None:
    (staging / "large").write_bytes(bytes(range(256)) * 4000)
    first = repository.backup(SnapshotRequest(staging, "h"), Heard())
    second = repository.backup(SnapshotRequest(staging, "h"), Heard())

    assert second.bytes_added < first.bytes_added


def test_a_check_of_a_sound_repository_is_ok_and_says_how_much_it_read(repository: Repository, staging: Path) -> None:
    snapshot(repository, staging)

    assert (repository.check().ok, repository.check().read_percent) == (True, 0.0)
    report = repository.check(part=2, parts=4)
    assert (report.ok, report.read_percent, report.damaged) == (True, 25.0, ())


def test_unlocking_where_nothing_is_locked_is_harmless(repository: Repository, staging: Path) -> None:
    taken = snapshot(repository, staging)

    repository.unlock()

    assert [info.id for info in repository.snapshots()] == [taken]


def test_exactly_the_snapshots_named_are_forgotten_and_the_others_stay_readable(
    repository: Repository, staging: Path, tmp_path: Path
) -> None:
    ids = []
    for number in range(4):
        (staging / "sub" / "f1.txt").write_bytes(b"version %d" % number)
        ids.append(snapshot(repository, staging))

    repository.forget([ids[0], ids[2]])

    assert [info.id for info in repository.snapshots()] == [ids[1], ids[3]]
    repository.fetch(ids[1], ["sub/f1.txt"], tmp_path / "out")
    assert (tmp_path / "out" / "sub" / "f1.txt").read_bytes() == b"version 1"


def test_forgetting_nothing_and_what_is_gone_already_is_harmless(repository: Repository, staging: Path) -> None:
    first, second = snapshot(repository, staging), snapshot(repository, staging)

    repository.forget([])
    repository.forget([first])
    repository.forget([first])

    assert [info.id for info in repository.snapshots()] == [second]


def test_a_snapshot_can_be_given_other_tags_and_keeps_its_host_its_time_and_its_files(
    repository: Repository, staging: Path
) -> None:
    other, taken = snapshot(repository, staging), snapshot(repository, staging)
    before = {info.id: info for info in repository.snapshots()}
    tags = ("generation:7", "state:abc", "result:incomplete")

    fresh = repository.retag(taken, tags)

    after = {info.id: info for info in repository.snapshots()}
    assert set(after) == {other, fresh}
    assert set(after[fresh].tags) == set(tags)
    assert (after[fresh].host, after[fresh].at) == (before[taken].host, before[taken].at)
    assert after[other] == before[other]
    assert set(repository.list_files(fresh, "")) == set(repository.list_files(other, ""))


def test_what_is_not_there_cannot_be_given_other_tags(repository: Repository, staging: Path) -> None:
    snapshot(repository, staging)
    with pytest.raises(ResticError):
        repository.retag("0" * 64, ("result:incomplete",))


def test_pruning_frees_what_no_snapshot_needs_and_says_how_much_is_left(repository: Repository, staging: Path) -> None:
    (staging / "large").write_bytes(os.urandom(500_000))
    with_it = snapshot(repository, staging)
    (staging / "large").unlink()
    (staging / "other").write_bytes(os.urandom(200_000))
    without = snapshot(repository, staging)
    repository.forget([with_it])

    report = repository.prune()

    assert report.bytes_freed is not None
    assert report.bytes_left is not None
    assert 400_000 < report.bytes_freed < 600_000
    assert 200_000 < report.bytes_left < 300_000
    assert set(repository.list_files(without, "")) == {*FILES, "other"}
    assert repository.check(part=1, parts=1).ok


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind if kind == "fake" else version_of(kind))
def test_opening_never_creates(kind: str, tmp_path: Path) -> None:
    repository: Repository = FakeRepository() if kind == "fake" else make_repository(kind, tmp_path / "r")

    with pytest.raises(ResticError) as caught:
        repository.open()

    assert caught.value.kind == "no-repository"
    assert not (tmp_path / "r" / "repository").exists()


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
