"""A catalog made anew from a repository finds what the one found that grew with each backup, as far as snapshots kept it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.backup.archive.layout import generation_path
from failsafe.backup.catalog import Catalog
from failsafe.backup.catalog_rebuild import Rebuild, Rebuilt, plan_states
from failsafe.backup.catalog_search import Found, Query, search
from failsafe.backup.erased import Erased, Tombstone
from failsafe.backup.snapshot import host_of, state_of, tags_of
from failsafe.errors import ResticError
from failsafe.model import SnapshotInfo
from failsafe.ports import SnapshotRequest
from tests.fakes.progress import Heard
from tests.fakes.repository import FakeRepository
from tests.unit.backup.mailboxes import Mail, World, mail, moment

ANN, BOB = "ann@example.org", "bob@example.org"
HOUR = timedelta(hours=1)


class Counting(FakeRepository):
    """Counts what is fetched, and how much of it is there at the same time."""

    def __init__(self) -> None:
        super().__init__("nas")
        self.fetched: list[str] = []
        self.most = 0

    def fetch(self, snapshot_id: str, paths: Sequence[str], target: Path) -> None:
        super().fetch(snapshot_id, paths, target)
        self.fetched += paths
        self.most = max(self.most, len(list(target.rglob("*.tar"))))


class House:
    """A staging folder whose every generation goes into a repository, and a catalog that grows with it."""

    def __init__(self, base: Path) -> None:
        self.base, self.world, self.repository = base, World(base / "staging"), Counting()
        self.repository.ensure()
        self.grown = Catalog.open(base / "grown.sqlite")
        self.said: list[str] = []

    def commit(self, at: datetime, mailboxes: dict[str, dict[str, list[Mail]]], *, kept: bool = True) -> None:
        generation = self.world.commit(at, mailboxes)
        staging = self.world.staging
        self.grown.catch_up(staging.archive, "vps")
        if kept:
            tags = tags_of(generation, state_of(staging, generation.number))
            excludes = staging.restic_excludes(generation.number)
            self.repository.backup(SnapshotRequest(staging.folder, host_of("vps"), tags, excludes, at), Heard())

    def rebuild(self, name: str = "anew", erased: Erased | None = None) -> tuple[Catalog, Rebuilt]:
        catalog = Catalog.open(self.base / f"{name}.sqlite")
        work = self.base / f"{name}.work"
        rebuild = Rebuild(catalog, self.repository, "vps", work, erased or Erased(), Heard(), self.said.append)
        return catalog, rebuild.run()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def found(catalog: Catalog, **query: object) -> list[Found]:
    return sorted(search(catalog, Query(**query)), key=repr)  # type: ignore[arg-type]


def storm(house: House, seed: int, *, states: int) -> list[datetime]:
    """Messages come, go, come back, move, are copied and flagged, in two mailboxes of which one vanishes for a while."""
    chance = random.Random(seed)
    pool = [mail(number, subject=f"subject {number}", uid=number) for number in range(1, 40)]
    times = []
    for step in range(states):
        boxes: dict[str, dict[str, list[Mail]]] = {}
        for box in (ANN, BOB) if step % 4 != 3 else (ANN,):
            boxes[box] = {folder: _some(pool, chance) for folder in ("INBOX", "Archive/2026")}
        times.append(moment(1) + step * HOUR)
        house.commit(times[-1], boxes)
    return times


def _some(pool: list[Mail], chance: random.Random) -> list[Mail]:
    picked = chance.sample(pool, chance.randrange(len(pool)))
    return [Mail(each.data, each.name, chance.choice(("", "S", "FS")), (), each.internal_date, each.uid) for each in picked]


@pytest.mark.parametrize("seed", range(4))
def test_it_finds_the_same_now_at_any_time_and_of_what_is_gone(house: House, seed: int) -> None:
    times = storm(house, seed, states=8)

    anew, report = house.rebuild()

    assert (report.snapshots, report.unread, report.skipped) == (8, 0, [])
    for query in (
        {},
        {"gone": True},
        {"mailbox": BOB},
        {"words": ("subject 1",)},
        *({"at": at} for at in times),
        *({"gone_since": at} for at in times),
    ):
        assert found(anew, **query) == found(house.grown, **query), query  # type: ignore[arg-type]


def test_a_state_that_no_snapshot_kept_is_what_is_lost(house: House) -> None:
    house.commit(moment(8), {ANN: {"INBOX": [mail(1)]}})
    house.commit(moment(9), {ANN: {"INBOX": [mail(1), mail(2)]}}, kept=False)
    house.commit(moment(10), {ANN: {"INBOX": [mail(3)]}})

    anew, _ = house.rebuild()

    subjects = {row.subject: row for row in found(anew)}
    assert set(subjects) == {"message 1", "message 3"}
    assert subjects["message 1"].gone_at == moment(10)
    assert subjects["message 1"].last_seen_at == moment(8)


def test_each_segment_is_fetched_once_and_few_are_there_at_a_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failsafe.backup.catalog_rebuild.SEGMENTS_AT_ONCE", 2)
    for number in range(1, 9):
        boxes = {"INBOX": [mail(each) for each in range(1, number + 1)]}
        house.commit(moment(number), {ANN: boxes, BOB: boxes})

    _, report = house.rebuild()

    segments = [path for path in house.repository.fetched if path.endswith(".tar")]
    assert (len(segments), len(set(segments)), report.segments) == (8, 8, 8)
    assert house.repository.most <= 2
    others = [path for path in house.repository.fetched if not path.endswith(".tar")]
    assert len(others) == len(set(others)), "metadata once, too"


def test_the_newest_snapshots_messages_are_read_first(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failsafe.backup.catalog_rebuild.SEGMENTS_AT_ONCE", 1)
    house.commit(moment(8), {ANN: {"INBOX": [mail(1)]}})
    house.commit(moment(9), {ANN: {"INBOX": [mail(2)]}})

    house.rebuild()

    segments = [path for path in house.repository.fetched if path.endswith(".tar")]
    assert segments[0].split("/")[2].removesuffix(".tar") == house.world.places[mail(2).id]


def test_a_segment_that_cannot_be_had_costs_headers_alone(house: House) -> None:
    house.commit(moment(8), {ANN: {"INBOX": [mail(1)]}})
    house.commit(moment(9), {ANN: {"INBOX": [mail(1), mail(2)]}})
    lost = house.world.places[mail(1).id]
    for _, files in house.repository._snapshots.values():
        files.pop(f"segments/{lost[:2]}/{lost}.tar", None)

    anew, report = house.rebuild()

    assert (report.unread, sorted(row.subject for row in found(anew, folder="INBOX"))) == (1, ["", "message 2"])


def test_a_snapshot_that_lacks_metadata_is_passed_over_and_told(house: House) -> None:
    house.commit(moment(8), {ANN: {"INBOX": [mail(1)]}})
    house.commit(moment(9), {ANN: {"INBOX": [mail(2)]}})
    first = house.repository.snapshots()[0]
    house.repository._snapshots[first.id][1].pop(generation_path(1))

    anew, report = house.rebuild()

    assert (report.snapshots, len(report.skipped), len(house.said)) == (1, 1, 1)
    assert [row.subject for row in found(anew)] == ["message 2"]


def test_what_was_erased_stays_out_although_snapshots_have_it(house: House) -> None:
    house.commit(moment(8), {ANN: {"INBOX": [mail(1), mail(2)]}, BOB: {"INBOX": [mail(2)]}})

    anew, report = house.rebuild(erased=Erased.of([Tombstone(ANN, datetime(2026, 11, 20, tzinfo=UTC))]))

    assert ([(row.mailbox, row.subject) for row in found(anew)], report.messages) == ([(BOB, "message 2")], 1)
    assert anew.connection.execute("SELECT COUNT(*) FROM message").fetchone() == (1,)


def test_a_repository_that_fails_is_an_error_and_not_an_empty_catalog(house: House) -> None:
    house.commit(moment(8), {ANN: {"INBOX": [mail(1)]}})
    house.repository.fail_with = ResticError("no route", kind="unreachable")

    with pytest.raises(ResticError):
        house.rebuild()


def info(number: int, at: datetime, result: str = "ok", state: str = "a") -> SnapshotInfo:
    return SnapshotInfo(
        f"{number}{result}{at:%H}", "failsafe-vps", at, (f"generation:{number}", f"state:{state}", f"result:{result}")
    )


def test_of_two_snapshots_of_one_state_the_whole_one_is_read_and_states_go_by_time() -> None:
    whole, wanting = info(2, moment(8)), info(2, moment(9), "incomplete")
    begun_anew = info(1, moment(10), state="b")
    strange = SnapshotInfo("strange", "failsafe-vps", moment(7))

    assert plan_states([begun_anew, wanting, strange, whole, info(1, moment(6))]) == (info(1, moment(6)), whole, begun_anew)
