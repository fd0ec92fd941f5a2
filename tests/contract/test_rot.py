"""Bytes of staging that its disk lost: found within a month, brought back from a snapshot, and told."""

from __future__ import annotations

import json
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from failsafe.adapters.restic import ResticRepository
from failsafe.backup import merging
from failsafe.backup.snapshot import Target
from failsafe.backup.verify import verify_staging
from failsafe.model import Result
from tests.contract.mailstore import Store
from tests.contract.processes import run
from tests.contract.restics import PASSWORD, empty_repository, make_repository, password_file, programs, put_empty_repository
from tests.contract.test_backup_job import Bench
from tests.fakes.repository import FakeRepository

DAY = timedelta(days=1, seconds=1)


@pytest.fixture
def near() -> FakeRepository:
    return FakeRepository("near")


@pytest.fixture
def bench(tmp_path: Path, near: FakeRepository) -> Bench:
    """With a generation in staging and in the repository."""
    made = Bench(Store(tmp_path), [Target(near)])
    made.deliver(5)
    assert made.run().result is Result.OK
    return made


def flip(staging: Path, pattern: str) -> Path:
    """One bit of a file; its size and its date stay."""
    path = min(staging.glob(pattern))
    info, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    return path


def is_sound(bench: Bench) -> bool:
    return verify_staging("vps", bench.store.base / "staging", read_messages=True).ok


@pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")
def test_a_flipped_bit_in_a_segment_comes_back_from_a_real_repository(tmp_path: Path) -> None:
    repository: ResticRepository = make_repository("restic", Path(shutil.copytree(empty_repository(PASSWORD), tmp_path / "near")))
    bench = Bench(Store(tmp_path), [Target(repository)])
    bench.deliver(5)
    assert bench.run().result is Result.OK
    flip(bench.store.base / "staging", "segments/*/*.tar")
    assert not is_sound(bench)
    bench.clock.step = DAY

    report = bench.run()

    assert (report.result, report.bytes_pulled < 5000, is_sound(bench)) == (Result.OK, True, True)
    assert "staging.mended" in bench.event_names()


@pytest.mark.parametrize("pattern", ["segments/*/*.tar", "segments/*/*.idx", "shards/*/*"])
def test_a_flipped_bit_anywhere_is_found_on_the_next_day_and_not_before(bench: Bench, pattern: str) -> None:
    flip(bench.store.base / "staging", pattern)
    bench.run()
    assert not is_sound(bench)
    bench.clock.step = DAY
    assert bench.run().result is Result.OK
    assert is_sound(bench)
    assert bench.event_names().count("staging.mended") == 1


def test_what_no_snapshot_can_give_makes_each_backup_fail_until_one_can(bench: Bench, near: FakeRepository) -> None:
    damaged = flip(bench.store.base / "staging", "segments/*/*.tar")
    name = damaged.relative_to(bench.store.base / "staging").as_posix()
    (info,) = near.snapshots()
    whole = near._snapshots[info.id][1].pop(name)
    bench.clock.step = DAY

    first = bench.run()
    for info in near.snapshots():  # a repository that was out of reach
        near._snapshots[info.id][1][name] = whole
    second = bench.run()
    bench.clock.step += timedelta(hours=2)
    third = bench.run()

    assert [report.result for report in (first, second, third)] == [Result.FAILED, Result.FAILED, Result.OK]
    assert name in first.troubles[0].text
    assert bench.event_names().count("staging.damaged") == 1
    assert is_sound(bench)


def test_a_damaged_segment_that_is_moved_away_is_pulled_anew(bench: Bench, near: FakeRepository) -> None:
    """As the words of the failed backup say."""
    damaged = flip(bench.store.base / "staging", "segments/*/*.tar")
    (info,) = near.snapshots()
    near._snapshots[info.id][1].pop(damaged.relative_to(bench.store.base / "staging").as_posix())
    bench.clock.step = DAY
    report = bench.run()
    assert str(damaged) in report.troubles[0].mend
    damaged.rename(bench.store.base / "looked-at.tar")

    assert bench.run().result is Result.OK

    assert is_sound(bench)
    assert bench.store.archived() == bench.store.on_server()


def test_a_copy_that_is_damaged_too_does_not_take_the_place(bench: Bench, near: FakeRepository) -> None:
    damaged = flip(bench.store.base / "staging", "segments/*/*.tar")
    rotten = damaged.read_bytes()
    name = damaged.relative_to(bench.store.base / "staging").as_posix()
    (info,) = near.snapshots()
    near._snapshots[info.id][1][name] = rotten[:-1]
    bench.clock.step = DAY
    assert bench.run().result is Result.FAILED
    assert damaged.read_bytes() == rotten


def failsafe(folder: Path, *words: str, status: int = 0) -> dict[str, Any]:
    return dict(json.loads(run(folder / "failsafe.toml", *words, "--json", status=status)[0]))


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A controller's folder, with five messages in staging and in a repository."""
    store = Store(tmp_path)
    store.fill("anna@example.org", "", 5)
    store.calm()
    password_file(tmp_path)
    put_empty_repository(tmp_path / "repository", PASSWORD)
    (tmp_path / "failsafe.toml").write_text(
        f'[controller]\nid = "test"\nstate_dir = "{tmp_path}/state"\n[mail_server.vps]\nlayout = "maildir"\npath = "{store.root}"\n'
        f'[repository.nas]\nurl = "{tmp_path}/repository"\npassword_file = "{tmp_path}/repository.password"\n'
    )
    failsafe(tmp_path, "backup")
    return tmp_path


@pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")
def test_verify_whole_names_what_is_damaged_in_staging_and_the_next_backup_mends_it(house: Path) -> None:
    damaged = flip(house / "state/staging/vps", "segments/*/*.tar")

    found = failsafe(house, "verify", "--whole", status=1)["archives"]

    assert [one["ok"] for one in found if one["place"] == "nas"] == [True]
    (staging,) = (one for one in found if one["place"] == "staging")
    assert damaged.name in staging["problems"][0]
    assert failsafe(house, "backup")["result"] == "ok"
    assert all(one["ok"] for one in failsafe(house, "verify", "--whole")["archives"])


@pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")
@pytest.mark.parametrize(("pattern", "catalog"), [("generations/*", "kept"), ("mailboxes/*/*", "lost")])
def test_damage_in_staging_keeps_nobody_from_what_a_repository_has(house: Path, pattern: str, catalog: str) -> None:
    damaged = flip(house / "state/staging/vps", pattern)
    for file in (house / "state").glob("catalog*") if catalog == "lost" else ():
        file.unlink()

    out, told = run(
        house / "failsafe.toml",
        "restore",
        "--mailbox",
        "anna@example.org",
        "--to",
        f"eml:{house}/mail",
        "--yes",
        "--json",
        status=0,
    )

    report = json.loads(out)
    assert (report["added"], report["verified"]) == (5, True)
    assert damaged.name in told
    assert "failsafe backup vps" in told


# ---------------------------------------------------------------- what a pull comes upon, long before the look of the month


@pytest.fixture
def merging_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few messages are enough for a merge."""
    monkeypatch.setattr(merging, "SMALL", 10_000)
    monkeypatch.setattr(merging, "LARGE", 30_000)


def put(bench: Bench, number: int) -> None:
    bench.store.put("anna@example.org", "", f"large{number}.host:2,S", os.urandom(3000))


@pytest.mark.usefixtures("merging_soon")
@pytest.mark.parametrize("pattern", ["segments/*/*.tar", "segments/*/*.idx"])
def test_a_damaged_file_that_a_pull_comes_upon_is_mended_on_the_same_day_and_mail_goes_on(
    tmp_path: Path, near: FakeRepository, pattern: str
) -> None:
    bench = Bench(Store(tmp_path), [Target(near)])
    put(bench, 0)
    bench.run()
    flip(bench.store.base / "staging", pattern)

    results = []
    for number in range(1, 5):
        put(bench, number)
        results.append(bench.run().result)

    assert results == [Result.OK] * 4
    assert is_sound(bench)
    assert bench.store.archived() == bench.store.on_server()
    assert bench.event_names().count("staging.mended") == 1


@pytest.mark.usefixtures("merging_soon")
def test_a_damaged_segment_that_no_snapshot_can_give_holds_up_no_new_mail(tmp_path: Path, near: FakeRepository) -> None:
    bench = Bench(Store(tmp_path), [Target(near)])
    put(bench, 0)
    bench.run()
    damaged = flip(bench.store.base / "staging", "segments/*/*.tar")
    (info,) = near.snapshots()
    near._snapshots[info.id][1].pop(damaged.relative_to(bench.store.base / "staging").as_posix())

    for number in range(1, 6):
        put(bench, number)
        report = bench.run()

    assert (report.result, report.messages.total) == (Result.FAILED, 6), "it is told, and all mail is in the newest state"
    assert str(damaged) in report.troubles[0].mend
    assert {entry.id for entries in bench.store.entries().values() for entry in entries} == {
        id_ for _, _, id_ in bench.store.on_server()
    }
    assert len(near.snapshots()) == 6
