"""Forget and prune on real repositories when something goes wrong: killed, locked out, not allowed to delete."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from failsafe.adapters.restic import ResticRepository
from failsafe.errors import ResticError
from failsafe.ports import SnapshotRequest
from tests.contract.restics import PASSWORD, empty_repository, make_repository, password_file, programs, restic, version_of
from tests.fakes.progress import Heard
from tests.support import wait_until

pytestmark = pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")
ALL = bool(os.environ.get("FAILSAFE_ALL"))
KILLS = 12 if ALL else 3


@pytest.fixture(params=programs(), ids=version_of)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(program: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(empty_repository(PASSWORD, program), tmp_path / "place"))


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    folder.mkdir()
    return folder


def fill(repository: ResticRepository, staging: Path, count: int, size: int = 300_000) -> list[str]:
    """Snapshots that share nothing, so that forgetting one leaves its data for prune."""
    made = []
    for number in range(count):
        (staging / "mail").write_bytes(os.urandom(size))
        made.append(repository.backup(SnapshotRequest(staging, "failsafe-vps", (f"generation:{number}",)), Heard()).id)
    return made


def failure(repository: ResticRepository, snapshot_ids: list[str]) -> ResticError:
    with pytest.raises(ResticError) as caught:
        repository.forget(snapshot_ids)
    return caught.value


@pytest.mark.parametrize("code", [0, 3])
def test_a_snapshot_that_could_not_be_deleted_is_told_whatever_restic_answers(
    program: str, place: Path, staging: Path, tmp_path: Path, code: int
) -> None:
    """Where the credential may only add, 0.14 to 0.18 answer 0 and 0.19 answers 3. The list decides."""
    ids = fill(make_repository(program, place), staging, 3, size=1000)
    helpless = tmp_path / "helpless-restic"
    refusal = f'{{ echo "unable to remove <snapshot/{ids[0][:10]}>: 403 Forbidden" >&2; exit {code}; }}'
    helpless.write_text(f'#!/bin/sh\n[ "$1" = forget ] && {refusal}\nexec {program} "$@"\n')
    helpless.chmod(0o755)

    error = failure(make_repository(str(helpless), place), ids[:2])

    assert "2 of 2 snapshots are still there" in str(error)
    assert "403 Forbidden" in str(error)


def test_data_that_prune_could_not_delete_is_told_though_restic_answers_0(
    program: str, place: Path, staging: Path, tmp_path: Path
) -> None:
    repository = make_repository(program, place)
    ids = fill(repository, staging, 2)
    repository.forget(ids[:1])
    helpless = tmp_path / "helpless-restic"
    refusal = 'echo "unable to remove <data/abcdef> from the repository" >&2'
    helpless.write_text(f'#!/bin/sh\n[ "$1" = prune ] && {refusal}\nexec {program} "$@"\n')
    helpless.chmod(0o755)

    with pytest.raises(ResticError, match="could not be deleted"):
        make_repository(str(helpless), place).prune()


def test_the_lock_of_a_killed_restic_stands_in_nobody_s_way(program: str, place: Path, staging: Path) -> None:
    """It made forget and prune fail for 52 days somewhere, while backups went on."""
    said: list[str] = []
    repository = make_repository(program, place, said=said)
    ids = fill(repository, staging, 2)
    kill_while_locked(program, place)

    repository.forget(ids[:1])
    kill_while_locked(program, place)
    report = repository.prune()

    assert [info.id for info in repository.snapshots()] == ids[1:]
    assert report.bytes_freed is not None
    assert report.bytes_freed > 250_000
    assert any("lock" in line for line in said), "a person is told"


def test_a_wrong_password_forgets_nothing(program: str, place: Path, staging: Path) -> None:
    repository = make_repository(program, place)
    ids = fill(repository, staging, 2, size=1000)
    password_file(place, "something else")

    assert failure(make_repository(program, place), ids[:1]).kind == "wrong-password"

    password_file(place)
    assert [info.id for info in repository.snapshots()] == ids


def test_kill_9_in_forget_or_prune_is_healed_by_the_next_run(program: str, place: Path, staging: Path) -> None:
    repository = make_repository(program, place)
    ids = fill(repository, staging, 3 * KILLS + 1, size=60_000)
    last, old = ids[-1], ids[:-1]
    for attempt in range(KILLS):
        portion = old[3 * attempt : 3 * attempt + 3]
        for argv in (["forget", *portion], ["prune", "--max-unused=0"]):
            kill_after(program, place, argv, 0.02 + 0.25 * attempt / KILLS)
        repository.forget(portion)  # read back: raises unless all of them are gone
        assert not set(portion) & {info.id for info in repository.snapshots()}

    heard = Heard()
    repository.prune(heard)

    assert heard.stages[0][0] == "prune of nas"
    assert heard.amount > 0
    assert all(total and unit for _text, total, unit in heard.stages)
    assert [info.id for info in repository.snapshots()] == [last]
    assert repository.check(part=1, parts=1).ok
    assert restic(program, place, "check", "--read-data").returncode == 0
    assert sum(path.stat().st_size for path in (place / "repository" / "data").rglob("*") if path.is_file()) < 100_000


def environment_of(place: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(place),
        "RESTIC_REPOSITORY": str(place / "repository"),
        "RESTIC_PASSWORD_FILE": str(place / "repository.password"),
        "RESTIC_CACHE_DIR": str(place / "cache"),
    }


def kill_after(program: str, place: Path, argv: list[str], seconds: float) -> None:
    process = subprocess.Popen([program, *argv], env=environment_of(place), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    locks = place / "repository" / "locks"
    wait_until(lambda: process.poll() is not None or any(locks.iterdir()), 60, "it locks, or has ended")
    time.sleep(seconds)  # a moment somewhere in its work, on purpose; any outcome is fine
    process.kill()
    process.wait()


def kill_while_locked(program: str, place: Path) -> None:
    """A `restic check` holds the exclusive lock; it is slowed down so that it surely is at work."""
    argv = [program, "check", "--read-data", "--limit-download=20"]
    process = subprocess.Popen(argv, env=environment_of(place), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: whole_lock(place), 60, "the lock is there")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert whole_lock(place)


def whole_lock(place: Path) -> bool:
    """One that is still being written is no lock, and newer ones take no notice of it."""
    return any(len(path.name) == 64 and path.stat().st_size > 0 for path in (place / "repository" / "locks").iterdir())
