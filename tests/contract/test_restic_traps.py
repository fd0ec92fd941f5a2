"""Traps of restic's command line, each on every restic at hand. What stands elsewhere:

| trap | test |
|---|---|
| exit codes 10, 11, 12 or only 1 | here; each failure's word: test_restic_faults, test_restic_words |
| a file that vanished is no error from 0.18 on; code 0 without a snapshot | test_restic_faults (scripted), test_backup_job (a snapshot that lacks a file) |
| short ids, text where JSON was asked for, JSON among other words | test_repository, test_restic_words |
| `restore --include` without a match answers 0; wildcards in names | test_repository |
| an unknown snapshot answers 0 on `ls` of 0.14 | test_repository |
| locks: a killed restic's, a living one's, reading without one | test_restic_faults |
| an interrupted backup leaves no lock | here |
| passwords and credentials as arguments, stray variables | test_restic_faults; a REST server's on 0.14: test_restic_places |
| relative sources, paths in the tree | test_repository; staging that moved: here |
| `latest` picks any client's snapshot | here |
| restore lays itself over what is there | here |
| `check` without reading misses rot; a backup never notices damage; shares rotate | test_restic_faults, test_restic_places |
| `check` leaves caches behind | here |
| a lost password, lost keys, a lost config | test_restic_places |
| append-only servers, credentials that cannot delete | test_restic_places, test_bucket |
| a stuck backend that still ticks | test_restic_faults, test_restic_places (S3 that never answers) |
| `dump` streams a truncated tar; `unlock --remove-all` | never used: here |
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from failsafe.adapters.process import interrupt_all
from failsafe.adapters.restic import ResticRepository
from failsafe.errors import Interrupted
from failsafe.ports import SnapshotRequest
from tests.contract.restics import PASSWORD, make_repository, programs, put_empty_repository, restic, version_of
from tests.contract.test_restic_faults import recording
from tests.fakes.progress import Heard
from tests.support import wait_until

pytestmark = pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")


@pytest.fixture(params=programs(), ids=version_of)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "mail").write_bytes(os.urandom(300_000))
    return folder


@pytest.fixture
def repository(program: str, tmp_path: Path) -> ResticRepository:
    put_empty_repository(tmp_path / "repository", PASSWORD)
    return make_repository(program, tmp_path)


def request_of(folder: Path, host: str = "failsafe-vps") -> SnapshotRequest:
    return SnapshotRequest(folder, host, ("generation:1",))


def test_exit_codes_are_those_of_the_capability_table(program: str, tmp_path: Path) -> None:
    put_empty_repository(tmp_path / "repository", PASSWORD)
    has_codes = make_repository(program, tmp_path).capabilities.has_exit_codes
    (tmp_path / "wrong").write_text("wrong\n")

    absent = (
        restic(program, tmp_path, "cat", "config", RESTIC_REPOSITORY=str(tmp_path / "nothing")).returncode if has_codes else 1
    )
    wrong = restic(program, tmp_path, "cat", "config", RESTIC_PASSWORD_FILE=str(tmp_path / "wrong")).returncode

    assert (absent, wrong) == ((10, 12) if has_codes else (1, 1))


def test_staging_that_moved_adds_no_data_and_keeps_its_paths(repository: ResticRepository, staging: Path, tmp_path: Path) -> None:
    """restic looks for a parent by host and path; without one it reads everything again, and stores nothing twice."""
    first = repository.backup(request_of(staging), Heard())
    staging.rename(tmp_path / "elsewhere")

    second = repository.backup(request_of(tmp_path / "elsewhere"), Heard())

    assert first.bytes_added > 300_000
    assert second.bytes_added < 20_000
    assert repository.list_files(second.id) == repository.list_files(first.id) == ("sub/mail",)


def test_every_snapshot_is_named_by_its_own_id_and_dangerous_verbs_are_never_used(
    program: str, repository: ResticRepository, staging: Path, tmp_path: Path
) -> None:
    restic(program, tmp_path, "backup", "--host=stranger", str(staging))
    ours = make_repository(recording(program, tmp_path), tmp_path)

    taken = ours.backup(request_of(staging), Heard())
    ours.list_files(taken.id)
    ours.fetch(taken.id, ["sub/mail"], tmp_path / "out")
    ours.check(part=1, parts=2)
    ours.unlock()

    argv = (tmp_path / "argv").read_text().splitlines()
    assert "backup" in argv
    assert not {"latest", "dump", "--remove-all", "--cleanup-cache", "--force"} & set(argv)
    assert taken.id in argv
    read = {word for verb in ("ls", "restore") for word in _argument_of(argv, verb)}
    assert read
    assert all(taken.id.startswith(word) for word in read), "0.14 tells eight digits of a new snapshot, and they are its own"
    assert {info.host for info in ours.snapshots("failsafe-vps")} == {"failsafe-vps"}


def _argument_of(argv: list[str], verb: str) -> list[str]:
    """The snapshot that a recorded command names, before its next option or after it."""
    found = []
    for place, word in enumerate(argv):
        if word == verb:
            found += [each for each in argv[place + 1 : place + 4] if not each.startswith("-") and "/" not in each][:1]
    return found


def test_a_fetch_over_an_older_file_of_the_same_size_brings_the_right_bytes(
    repository: ResticRepository, staging: Path, tmp_path: Path
) -> None:
    taken = repository.backup(request_of(staging), Heard())
    old = tmp_path / "out" / "sub" / "mail"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"x" * 300_000)

    repository.fetch(taken.id, ["sub/mail"], tmp_path / "out")

    assert old.read_bytes() == (staging / "sub" / "mail").read_bytes()


def test_an_interrupted_backup_leaves_no_lock_and_the_next_one_goes_on(
    program: str, repository: ResticRepository, staging: Path, tmp_path: Path
) -> None:
    """SIGTERM leaves a lock behind on 0.14: so SIGINT comes first."""
    slow = make_repository(program, tmp_path, limit_upload=10_240)
    raised: list[BaseException] = []

    def work() -> None:
        try:
            slow.backup(request_of(staging), Heard())
        except Interrupted as error:
            raised.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    wait_until(lambda: list((tmp_path / "repository" / "data").rglob("*-tmp-*")), 60, "a pack is on its way")

    interrupt_all()
    worker.join(60)

    assert len(raised) == 1
    assert list((tmp_path / "repository" / "locks").iterdir()) == []
    assert repository.backup(request_of(staging), Heard()).id
    assert restic(program, tmp_path, "check").returncode == 0


def test_a_cache_that_a_killed_check_left_behind_is_cleared_and_a_living_one_is_not(
    repository: ResticRepository, staging: Path, tmp_path: Path
) -> None:
    repository.backup(request_of(staging), Heard())
    old, fresh = (tmp_path / "cache" / f"restic-check-cache-{name}" for name in ("1", "2"))
    for folder in (old, fresh):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 7 * 86_400,) * 2)

    assert repository.check(part=1, parts=1).ok

    assert (old.exists(), fresh.exists()) == (False, True)
