"""kill -9 at random moments, of restic and of the whole job: the next run finishes, repositories are sound, nothing is lost or doubled."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from failsafe.backup.snapshot import host_of, read_tags
from failsafe.backup.verify import verify_snapshot, verify_staging
from tests.contract.mailstore import Store
from tests.contract.restics import PASSWORD, empty_repository, make_repository, programs, restic, version_of
from tests.support import wait_until

pytestmark = pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")
ANNA = "anna@example.org"
KILLS = 10 if os.environ.get("FAILSAFE_ALL") else 4
DRIVER = """
import sys
from datetime import UTC
from pathlib import Path
from failsafe.adapters.local import LocalHost
from failsafe.adapters.lock import FileLock
from failsafe.backup.inventory import Inventory
from failsafe.backup.job import ServerJob, run_backup
from failsafe.backup.pull import PullOptions, pull
from failsafe.backup.snapshot import Target
from failsafe.clock import SystemClock
from tests.contract.mailstore import Silent
from tests.contract.restics import make_repository

base, program, clock = Path(sys.argv[1]), sys.argv[2], SystemClock()

def pull_all(staging, progress):
    with Inventory.open(base / "inventory.sqlite") as inventory:
        return pull(LocalHost(), staging, inventory, PullOptions("vps", str(base / "mail")), clock, progress)

targets = tuple(Target(make_repository(program, base / name, name=name)) for name in ("near", "far"))
job = ServerJob("vps", base / "staging", pull_all, targets, base / "proofs.json", UTC, by_hand=True)
lock = FileLock(base / "lock", "backup of vps").hold(wait_seconds=20)
report = run_backup(job, lock=lock, clock=clock, progress=Silent(), record=lambda event: None)
for trouble in [*report.troubles, *(one.trouble for one in report.snapshots if one.trouble)]:
    print(trouble.text, file=sys.stderr)
sys.exit(report.exit_code)
"""


@pytest.fixture(params=programs(), ids=version_of)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(tmp_path: Path, program: str) -> Store:
    made = Store(tmp_path)
    made.fill(ANNA, "", 50)
    for name in ("near", "far"):
        shutil.copytree(empty_repository(PASSWORD, program), tmp_path / name)
    return made


def start(store: Store, program: str) -> subprocess.Popen[str]:
    store.calm()
    command = [sys.executable, "-c", DRIVER, str(store.base), program]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


def finish(store: Store, program: str) -> None:
    """A run that is left alone must end well, whatever was killed before."""
    job = start(store, program)
    _, said = job.communicate(timeout=200)
    assert job.returncode == 0, said


def how_long(store: Store, program: str) -> float:
    began = time.monotonic()
    finish(store, program)
    return time.monotonic() - began


def is_restic_of(store: Store, pid: int) -> bool:
    """Our own restic at work on this store's repositories, by its working folder or its cache argument."""
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(part.startswith(b"--cache-dir=" + str(store.base).encode()) for part in argv)


def restics_of(store: Store) -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and is_restic_of(store, int(entry.name))]


def is_unlocked(program: str, place: Path) -> bool:
    """To restic a killed process is alive until it has been reaped."""
    assert restic(program, place, "unlock").returncode == 0
    return restic(program, place, "list", "locks", "--no-lock").stdout.strip() == ""


def assert_all_is_well(store: Store, program: str) -> None:
    """Every message is in both repositories' newest snapshots, once; no generation was snapshotted twice; restic finds no fault."""
    assert store.archived() == store.on_server()
    assert set(store.stored_ids().values()) == {1}, "a message lies in staging more than once"
    assert verify_staging("vps", store.base / "staging", read_messages=True).ok
    for name in ("near", "far"):
        repository = make_repository(program, store.base / name, name=name)
        wait_until(lambda place=store.base / name: is_unlocked(program, place), 20, "the killed restic is no process any more")
        checked = restic(program, store.base / name, "check", "--read-data")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        held = Counter(read_tags(info.tags).generation for info in repository.snapshots(host_of("vps")))
        assert max(held.values()) == 1, held
        fetched = store.base / f"fetched-{name}"
        verdict = verify_snapshot(repository, "vps", fetched)
        assert verdict.ok, verdict
        with store.open_staging() as staging:
            assert verdict.generation == store.newest(staging).number
        shutil.rmtree(fetched)


@pytest.mark.timeout(600)
def test_a_job_killed_at_random_moments_is_finished_by_the_next(store: Store, program: str) -> None:
    chance = random.Random(20261122)
    whole = how_long(store, program)
    for number in range(KILLS):
        store.fill(ANNA, ".Sent", 5, prefix=f"k{number}-", size=40_000)
        job = start(store, program)
        try:
            job.wait(chance.uniform(0.1, whole))
        except subprocess.TimeoutExpired:
            job.kill()
        job.communicate()
        wait_until(lambda: not restics_of(store), 20, "restic died with its job")

    finish(store, program)

    assert_all_is_well(store, program)


@pytest.mark.timeout(600)
def test_a_restic_killed_at_random_moments_fails_alone_and_is_caught_up(store: Store, program: str) -> None:
    chance = random.Random(20261123)
    finish(store, program)
    killed = 0
    for number in range(KILLS):
        store.fill(ANNA, ".Sent", 5, prefix=f"k{number}-", size=40_000)
        job = start(store, program)
        wait_until(lambda job=job: restics_of(store) or job.poll() is not None, 60, "restic runs")
        time.sleep(chance.uniform(0.0, 0.5))  # the random moment itself
        for pid in restics_of(store):
            with contextlib.suppress(ProcessLookupError):  # it may have ended meanwhile
                os.kill(pid, signal.SIGKILL)
                killed += 1
        _, said = job.communicate(timeout=200)
        assert job.returncode in (0, 4), said

    finish(store, program)

    assert killed > 0
    assert_all_is_well(store, program)


def test_nothing_is_pulled_into_a_full_staging_disk_and_nothing_is_lost(store: Store, program: str) -> None:
    small = store.base / "staging"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(small)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"this machine does not let us mount a small disk: {mounted.stderr.strip()}")
    try:
        finish(store, program)
        big = store.put(ANNA, "", "big.host:2,S", os.urandom(4_000_000))
        job = start(store, program)
        _, said = job.communicate(timeout=200)
        assert job.returncode == 4, said
        assert "No space left on device" in said
        subprocess.run(["mount", "-o", "remount,size=20m", str(small)], check=True)

        finish(store, program)

        assert big.exists()
        assert_all_is_well(store, program)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
