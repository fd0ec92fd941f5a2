"""A pull that takes long: what comes first, what is stored meanwhile, what an interruption costs, and a disk that is too small."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from pathlib import Path

import pytest

from failsafe.adapters.local import LocalHost
from failsafe.backup import fetch
from failsafe.backup.archive import staging
from failsafe.backup.archive.staging import Staging
from failsafe.backup.job import ServerJob, run_backup
from failsafe.backup.parts import Checkpoints
from failsafe.backup.pull import PullOptions, PullReport, pull
from failsafe.backup.report import BackupReport
from failsafe.backup.serving import Served
from failsafe.backup.snapshot import Target, read_tags
from failsafe.backup.stretch import Care, Room
from failsafe.clock import SystemClock
from failsafe.errors import ArchiveError, ServerSideError
from failsafe.events import Event
from failsafe.mail.manifest import Generation
from failsafe.model import Result
from failsafe.ports import Channel, Progress
from tests.contract.mailstore import LONG_AGO, Silent, Store
from tests.fakes.repository import FakeRepository

ANNA, BOB = "anna@example.org", "bob@example.org"
YESTERDAY = int(time.time()) - 86_400
ALWAYS = timedelta(0)  # a checkpoint after each batch


class Tapped:
    """A host whose answers can be counted, and cut after so many bytes."""

    name = "vps"

    def __init__(self, cut_after: int = 1 << 60) -> None:
        self.opened = self.received = 0
        self.cut_after = cut_after
        self.requests: list[bytes] = []

    def open(self, command: Sequence[str]) -> Channel:
        self.opened += 1
        return TappedChannel(self, LocalHost("vps").open(command))


class TappedChannel:
    def __init__(self, host: Tapped, inner: Channel) -> None:
        self.host, self.inner = host, inner

    def send(self, data: bytes) -> None:
        self.host.requests.append(data)
        self.inner.send(data)

    def receive(self, maximum: int) -> bytes:
        if self.host.received > self.host.cut_after:
            raise ServerSideError("the line was cut")
        data = self.inner.receive(min(maximum, 16_384))
        self.host.received += len(data)
        return data

    def close(self) -> None:
        self.inner.close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "BATCH", 5)


def pulled(store: Store, care: Care, host: Tapped | None = None, **options: object) -> PullReport:
    store.calm()
    wanted = PullOptions("vps", str(store.root), care=care, **options)  # type: ignore[arg-type]
    with store.open_staging() as opened, store.open_inventory() as inventory:
        return pull(host or store.host, opened, inventory, wanted, SystemClock(), Silent())


def generation(store: Store, number: int | None = None) -> Generation:
    with store.open_staging() as opened:
        return store.newest(opened) if number is None else opened.generation(number)


def names(store: Store, number: int) -> set[str]:
    with store.open_staging() as opened:
        made = opened.generation(number)
        manifests = [opened.archive.mailbox(made, mailbox) for mailbox in made.mailboxes]
        return {entry.name for manifest in manifests for folder in manifest.folders for entry in opened.archive.entries(folder)}


@pytest.mark.usefixtures("small_batches")
def test_files_come_first_then_the_newest_of_every_mailbox_then_the_rest(store: Store, tmp_path: Path) -> None:
    (tmp_path / "accounts").write_text("anna:secret\n")
    (store.folder(ANNA) / "subscriptions").write_text("V\t2\n\n")
    for mailbox in (ANNA, BOB):
        for age, date in (("old", LONG_AGO), ("new", YESTERDAY)):
            for number in range(5):
                store.put(mailbox, "", f"{age}{number}.{mailbox}:2,", date=date)
    stored: list[Generation] = []
    report = pulled(store, Care(every=ALWAYS, long=1, stored=stored.append), extra_paths=(str(tmp_path / "accounts"),))
    assert [made.messages for made in stored] == [0, 5, 10, 15]
    assert names(store, 2) == {f"new{number}.{ANNA}" for number in range(5)}
    assert all(name.startswith("new") for name in names(store, 3))
    first = stored[0]
    with store.open_staging() as opened:
        assert [file.path.rsplit("/", 1)[-1] for file in opened.archive.files(first)] == ["accounts"]
        assert [file.path for file in opened.archive.mailbox(first, ANNA).files] == ["subscriptions"]
    assert report.result is Result.OK
    assert store.archived() == store.on_server()


@pytest.mark.usefixtures("small_batches")
def test_a_part_is_incomplete_and_counts_what_has_not_come(store: Store) -> None:
    store.fill(ANNA, "", 12)
    store.fill(BOB, "", 3)
    stored: list[Generation] = []
    pulled(store, Care(every=ALWAYS, stored=stored.append))
    assert [made.result for made in stored] == [Result.INCOMPLETE] * 4
    assert {(one.mailbox, one.why.split(" ")[0]) for one in stored[1].missing} == {(ANNA, "7"), (BOB, "3")}
    outstanding = stored[1].notes["outstanding"]
    assert isinstance(outstanding, dict)
    assert outstanding["messages"] == 10
    assert outstanding["bytes"] > 10 * 300
    assert generation(store).result is Result.OK


@pytest.mark.usefixtures("small_batches")
def test_every_part_can_be_restored_by_itself_and_has_its_uids(store: Store) -> None:
    store.fill(ANNA, "", 12)
    lines = "".join(f"{number + 1} :m{number}.host\n" for number in range(12))
    (store.folder(ANNA) / "dovecot-uidlist").write_text(f"3 V1700000000 N13 Ge3b0c44298fc1c149afbf4c8996fb924\n{lines}")
    pulled(store, Care(every=ALWAYS, long=1))
    with store.open_staging() as opened:
        made = opened.generation(2)
        assert made.messages == 5
        assert opened.archive.verify(made, read_messages=True) == []
        (folder,) = opened.archive.mailbox(made, ANNA).folders
        assert all(entry.uid == int(entry.name[1:].split(".")[0]) + 1 for entry in opened.archive.entries(folder))


def test_a_pull_within_its_hour_makes_one_generation_and_one_segment_a_mailbox(store: Store) -> None:
    store.fill(ANNA, "", 30)
    store.fill(BOB, "", 30)
    stored: list[Generation] = []
    pulled(store, Care(stored=stored.append))
    with store.open_staging() as opened:
        assert (opened.numbers(), len(opened.segments()), stored) == ((1,), 2, [])


@pytest.mark.usefixtures("small_batches")
def test_of_much_parts_come_on_the_way_with_their_uids_and_the_whole_is_ok(store: Store) -> None:
    store.fill(ANNA, "", 40)
    lines = "".join(f"{number + 1} :m{number}.host\n" for number in range(40))
    (store.folder(ANNA) / "dovecot-uidlist").write_text(f"3 V1700000000 N41 Ge3b0c44298fc1c149afbf4c8996fb924\n{lines}")
    stored: list[Generation] = []
    report = pulled(store, Care(early=1_000, stored=stored.append))
    assert [(made.result, made.messages) for made in stored] == [(Result.INCOMPLETE, some) for some in (5, 20, 30)]
    assert report.result is Result.OK
    with store.open_staging() as opened:
        (folder,) = opened.archive.mailbox(opened.generation(1), ANNA).folders
        assert all(entry.uid == int(entry.name[1:].split(".")[0]) + 1 for entry in opened.archive.entries(folder))
    assert store.archived() == store.on_server()


# ---------------------------------------------------------------- interruptions


def test_a_cut_costs_nothing_that_had_arrived(store: Store) -> None:
    store.fill(ANNA, "", 60, size=10_000)
    whole = sum(path.stat().st_size for path in store.root.rglob("m*"))
    host = Tapped(cut_after=whole // 2)
    with pytest.raises(ServerSideError):
        pulled(store, Care(), host)
    first = host.received
    host.cut_after = 1 << 60
    assert pulled(store, Care(), host).result is Result.OK
    assert host.received < whole + 30_000, f"{first} bytes had come before the cut"
    assert set(store.stored_ids().values()) == {1}


@pytest.mark.parametrize("number", [9, 15], ids=["kill -9", "SIGTERM"])
def test_a_kill_costs_at_most_the_segment_that_was_open(store: Store, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """And the small messages that were about to be added. Segments of 100 kB and 10 kB of them here, 16 MB and 256 KiB in life."""
    limit, held = 100_000, 10_000
    monkeypatch.setattr(fetch, "TOGETHER_BYTES", held)
    monkeypatch.setattr(staging, "SEGMENT_LIMIT", limit)
    monkeypatch.setattr(staging.Staging.segment_writer, "__kwdefaults__", {"known": None, "on_sealed": None, "limit": limit})
    store.fill(ANNA, "", 60, size=10_000)
    whole = sum(path.stat().st_size for path in store.root.rglob("m*"))
    child = os.fork()
    if not child:
        try:
            host = Tapped(cut_after=whole // 2)

            class Deadly(TappedChannel):
                def receive(self, maximum: int) -> bytes:
                    if host.received > host.cut_after:
                        os.kill(os.getpid(), number)
                        time.sleep(60)
                    return super().receive(maximum)

            host.open = lambda command: Deadly(host, LocalHost().open(command))  # type: ignore[method-assign]
            pulled(store, Care(), host)
        finally:
            os._exit(77)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    host = Tapped()
    assert pulled(store, Care(), host).result is Result.OK
    again = host.received - (whole - whole // 2)
    assert again < limit + 2 * held + 40_000, "program, listing and what the pipe held beside them"
    assert store.archived() == store.on_server()


# ---------------------------------------------------------------- room


@dataclass
class Disk:
    """A disk that gets fuller with every look."""

    free: int
    step: int = 0
    total: int = 1000 << 20

    def __call__(self) -> Room:
        self.free -= self.step
        return Room(self.free, self.total)


def test_a_disk_without_room_is_told_before_the_first_message_and_the_files_are_kept(store: Store, tmp_path: Path) -> None:
    (tmp_path / "accounts").write_text("anna:secret\n")
    store.fill(ANNA, "", 20, size=100_000)
    host = Tapped()
    with pytest.raises(ArchiveError, match="are still to come"):
        pulled(store, Care(room=Disk(1_000_000)), host, extra_paths=(str(tmp_path / "accounts"),))
    assert host.received < 100_000
    made = generation(store)
    assert (made.result, made.messages, made.files is not None) == (Result.INCOMPLETE, 0, True)
    assert "20 message(s)" in made.missing[0].why


@pytest.mark.usefixtures("small_batches")
def test_a_disk_that_fills_stops_the_pull_and_keeps_what_came(store: Store) -> None:
    store.fill(ANNA, "", 40, size=1000)
    disk = Disk(free=(20 << 20) + 1_000_000, step=400_000)
    with pytest.raises(ArchiveError, match="the pull stopped"):
        pulled(store, Care(room=disk))
    made = generation(store)
    assert made.result is Result.INCOMPLETE
    assert 0 < made.messages < 40
    with store.open_staging() as opened:
        assert opened.archive.verify(made, read_messages=True) == []
    host = Tapped()
    assert pulled(store, Care(), host).result is Result.OK
    assert host.received < (40 - made.messages) * 1100 + 60_000


# ---------------------------------------------------------------- parts in repositories


@dataclass
class Bench:
    store: Store
    targets: list[Target]
    parts: list[tuple[int, Served]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    meanwhile: Callable[[Generation], None] = lambda _: None

    def run(self, *, by_hand: bool = False) -> BackupReport:
        checkpoints = Checkpoints()

        def stored(made: Generation) -> None:
            checkpoints(made)
            self.meanwhile(made)

        def pull_all(opened: Staging, progress: Progress) -> PullReport:
            self.store.calm()
            with self.store.open_inventory() as inventory:
                options = PullOptions("vps", str(self.store.root), care=Care(every=ALWAYS, stored=stored))
                return pull(self.store.host, opened, inventory, options, SystemClock(), progress)

        job = ServerJob(
            "vps",
            self.store.base / "staging",
            pull_all,
            tuple(self.targets),
            self.store.base / "proofs.json",
            UTC,
            by_hand,
            checkpoints=checkpoints,
            part_stored=lambda made, served: self.parts.append((made.number, served)),
        )
        return run_backup(job, lock=nullcontext(), clock=SystemClock(), progress=Silent(), record=self.events.append)


def results(repository: FakeRepository) -> list[tuple[int | None, str]]:
    held = [read_tags(info.tags) for info in repository.snapshots("failsafe-vps")]
    return [(tags.generation, tags.result) for tags in held]


def wait_for(predicate: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not predicate():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.usefixtures("small_batches")
def test_parts_are_snapshotted_as_incomplete_and_the_whole_as_ok(store: Store) -> None:
    near = FakeRepository("near")
    near.ensure()
    bench = Bench(store, [Target(near)])
    bench.meanwhile = lambda made: wait_for(lambda: len(near.snapshots()) == made.number)
    store.fill(ANNA, "", 12)
    report = bench.run()
    assert report.result is Result.OK
    assert results(near) == [(1, "incomplete"), (2, "incomplete"), (3, "incomplete"), (4, "ok")]
    assert [(number, len(served.snapshots)) for number, served in bench.parts] == [(1, 1), (2, 1), (3, 1)]
    told = [event.name for event in bench.events]
    assert (told.count("backup.part"), told[-1]) == (3, "backup.done")


class Slow(FakeRepository):
    """Its first snapshot takes until it is told to go on."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.may_end = False

    def backup(self, request: object, progress: Progress) -> object:  # type: ignore[override]
        wait_for(lambda: self.may_end)
        return super().backup(request, progress)  # type: ignore[arg-type]


@pytest.mark.usefixtures("small_batches")
def test_a_slow_repository_holds_up_neither_the_pull_nor_another_repository(store: Store) -> None:
    near, slow = FakeRepository("near"), Slow("slow")
    near.ensure(), slow.ensure()
    bench = Bench(store, [Target(near), Target(slow)])

    def meanwhile(made: Generation) -> None:
        wait_for(lambda: len(near.snapshots()) == made.number)
        slow.may_end = made.number == 3  # the last part: the pull ends while the first is still on its way

    bench.meanwhile = meanwhile
    store.fill(ANNA, "", 12)
    report = bench.run()
    assert [one.result for one in report.snapshots] == ["ok", "ok"]
    assert results(near) == [(1, "incomplete"), (2, "incomplete"), (3, "incomplete"), (4, "ok")]
    assert results(slow)[-1] == (4, "ok")
    assert results(slow)[0] == (1, "incomplete")


@pytest.mark.usefixtures("small_batches")
def test_a_repository_whose_turn_it_is_not_gets_no_parts(store: Store) -> None:
    far = FakeRepository("far")
    far.ensure()
    bench = Bench(store, [Target(far, every=timedelta(hours=6))])
    bench.meanwhile = lambda made: wait_for(lambda: len(bench.parts) == made.number)
    store.fill(ANNA, "", 12)
    bench.run()
    assert results(far) == [(1, "incomplete")]
    assert [len(served.snapshots) for _, served in bench.parts] == [1, 0, 0]


@pytest.mark.usefixtures("small_batches")
def test_a_part_that_a_repository_refuses_is_told_and_the_whole_is_tried_again(store: Store) -> None:
    from failsafe.errors import ResticError

    near = FakeRepository("near")
    near.ensure()
    near.fail_with = ResticError("no route", kind="unreachable")
    bench = Bench(store, [Target(near)])

    def meanwhile(made: Generation) -> None:
        wait_for(lambda: len(bench.parts) == made.number)
        near.fail_with = None if made.number == 3 else near.fail_with

    bench.meanwhile = meanwhile
    store.fill(ANNA, "", 12)
    report = bench.run()
    assert report.result is Result.OK
    assert results(near) == [(4, "ok")]
    assert "no route" in next(event.text for event in bench.events if event.name == "backup.part")


# ---------------------------------------------------------------- in peace


def test_an_unchanged_pull_is_one_connection_one_command_and_two_questions(store: Store) -> None:
    store.fill(ANNA, "", 30)
    store.fill(BOB, ".Sent", 30)
    pulled(store, Care())
    host = Tapped()
    with store.open_staging() as opened, store.open_inventory() as inventory:
        report = pull(host, opened, inventory, PullOptions("vps", str(store.root)), SystemClock(), Silent())
    assert report.unchanged
    assert host.opened == 1
    assert len(host.requests) == 4, "our program, its settings, the survey, the clock"
    assert host.received < 2000
