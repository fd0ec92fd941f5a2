"""Our retention against restic's own: the same snapshots, the same rules, the same answer; and where ours means to differ, how."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from failsafe.adapters.restic.capabilities import parse_version
from failsafe.backup.retention import Keep, plan_retention
from failsafe.model import SnapshotInfo
from tests.contract.restic_snapshots import put_snapshots
from tests.contract.restics import PASSWORD, empty_repository, make_repository, programs, restic, version_of

pytestmark = pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")
WARSAW = ZoneInfo("Europe/Warsaw")
HOST = "failsafe-vps"
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)  # what our side calls now; restic asks the clock, so everything lies in the past
RULES = (
    Keep(within="7d"),
    Keep(within="36h", hourly=30),
    Keep(within="1y"),
    Keep(last=5),
    Keep(within="7d", daily=30, weekly=12, monthly=24),
    Keep(hourly=5000, daily=400),
    Keep(weekly=500, monthly=500, yearly=500),
    Keep(last=1, yearly=2),
)


def many(seed: int) -> list[datetime]:
    """Some in one minute, some a month apart, some in the hours that clocks have twice or not at all; the last one a leap day's."""
    dice = random.Random(seed)
    at, made = datetime(2022, 12, 24, 10, 0, tzinfo=UTC), []
    while at < datetime(2026, 11, 19, tzinfo=UTC):
        made.append(at)
        at += timedelta(seconds=dice.choice([40, 900, 3600, 5000, 40_000, 90_000, 700_000, 3_000_000]) + dice.randrange(60))
    for year, month, day in ((2025, 10, 26), (2026, 3, 29)):
        made += [datetime(year, month, day, tzinfo=UTC) + timedelta(minutes=25 * step) for step in range(8)]
    return sorted(set(made))


@pytest.fixture(params=programs(), ids=version_of)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def place(tmp_path: Path, program: str) -> Path:
    return Path(shutil.copytree(empty_repository(PASSWORD, program), tmp_path / "place"))


def put(
    program: str,
    place: Path,
    times: list[datetime],
    zone: ZoneInfo,
    result: Callable[[int], str] = lambda _number: "ok",
    host: str = HOST,
) -> None:
    tags = [(f"generation:{number}", f"state:{number:016x}", f"result:{result(number)}") for number in range(len(times))]
    given = [(at.astimezone(zone), host, each) for at, each in zip(times, tags, strict=True)]
    put_snapshots(program, place, "0" * 64, given)


def kept_by_restic(program: str, place: Path, keep: Keep, zone: ZoneInfo, host: str = HOST) -> set[str]:
    rules = [f"--keep-{each.name}={getattr(keep, each.name)}" for each in fields(keep) if getattr(keep, each.name)]
    done = restic(program, place, "forget", "--dry-run", "--json", f"--host={host}", "--group-by=host", *rules, TZ=str(zone))
    assert done.returncode == 0, done.stderr
    (group,) = json.loads(done.stdout)
    return {each["id"] for each in group["keep"]}


def kept_by_us(snapshots: tuple[SnapshotInfo, ...], keep: Keep, zone: ZoneInfo) -> dict[str, tuple[str, ...]]:
    return {each.snapshot.id: each.reasons for each in plan_retention(snapshots, keep, NOW, zone) if each.kept}


@pytest.mark.parametrize("zone", [WARSAW, ZoneInfo("UTC")], ids=str)
def test_complete_snapshots_are_kept_exactly_as_restic_would_keep_them(program: str, place: Path, zone: ZoneInfo) -> None:
    put(program, place, many(1), zone)
    snapshots = make_repository(program, place).snapshots(HOST)
    version = parse_version(f"restic {version_of(program)}")
    assert version is not None
    for keep in RULES:
        ours, theirs = kept_by_us(snapshots, keep, zone), kept_by_restic(program, place, keep, zone)

        extra = {id_: reasons for id_, reasons in ours.items() if id_ not in theirs}

        assert theirs <= set(ours), keep
        if version.version >= (0, 16, 0):
            assert not extra, keep
        else:  # before 0.16, restic did not keep the oldest one while a rule has room for more
            assert all(any(reason.startswith("oldest, ") for reason in reasons) for reasons in extra.values()), extra


def test_incomplete_snapshots_push_out_nothing_that_restic_would_keep_of_the_complete_ones_alone(
    program: str, place: Path
) -> None:
    """Meant to differ: restic counts them all alike, so that a month of failing backups leaves 30 days of failing backups."""
    times = many(2)
    put(program, place, times, WARSAW, lambda number: "incomplete" if number % 3 else "ok")
    put(program, place, times[::3], WARSAW, host="failsafe-complete")
    repository = make_repository(program, place)
    alone = {info.id: info.at for info in repository.snapshots("failsafe-complete")}
    for keep in (Keep(daily=30), Keep(last=5), Keep(hourly=40, monthly=7)):
        ours = kept_by_us(repository.snapshots(HOST), keep, WARSAW)
        kept_at = {info.at for info in repository.snapshots(HOST) if info.id in ours}

        wanted = {alone[id_] for id_ in kept_by_restic(program, place, keep, WARSAW, host="failsafe-complete")}

        assert wanted <= kept_at
        assert len(ours) < len(times), "the rules still let go"
