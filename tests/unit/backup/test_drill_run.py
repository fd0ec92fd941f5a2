"""A drill from end to end on a repository in memory: real archives, the real rebuild.py, Maildirs opened by Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from failsafe.adapters.maildir_files import FilesOpener
from failsafe.adapters.rebuilding import rebuild
from failsafe.backup.archive import Staging
from failsafe.backup.drill import Bounds
from failsafe.backup.drill_report import ServerDrill
from failsafe.backup.drill_run import DrillJob, drill_server
from failsafe.backup.snapshot import state_of, tags_of
from failsafe.clock import SystemClock
from failsafe.errors import ResticError
from failsafe.mail.manifest import Generation
from failsafe.ports import SnapshotRequest
from tests.fakes.progress import Heard
from tests.fakes.repository import FakeRepository
from tests.unit.backup.archive.sample import WORLD, store
from tests.unit.backup.mailboxes import World, mail, moment

ROOM = 1 << 40


def snapshot(staging: Staging, generation: Generation, result: str = "ok") -> FakeRepository:
    repository = FakeRepository("nas")
    repository.ensure()
    add(repository, staging, generation, result)
    return repository


def add(repository: FakeRepository, staging: Staging, generation: Generation, result: str = "ok") -> None:
    tags = tags_of(generation, state_of(staging, generation.number))
    words = tuple(f"result:{result}" if tag.startswith("result:") else tag for tag in tags)
    others = tuple(f"generations/{number:08d}.json" for number in staging.numbers() if number != generation.number)
    request = SnapshotRequest(staging.folder, "failsafe-vps", words, (".failsafe-*", *others))
    repository.backup(request, Heard())


def job(repository: FakeRepository, folder: Path, **changes: object) -> DrillJob:
    made = DrillJob(
        repository=repository,
        server="vps",
        folder=folder / "workroom",
        bounds=Bounds(1 << 30),
        drilled={},
        seed="seed",
        known=frozenset(),
        is_new=False,
        opener=FilesOpener(),
        files=FilesOpener(),
        rebuild=rebuild,
        free=lambda: ROOM,
        clock=SystemClock(),
        progress=Heard(),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def told(drill: ServerDrill) -> list[str]:
    return [*(str(fault) for fault in drill.faults), *([] if drill.trouble is None else [drill.trouble.text])]


@pytest.fixture
def large(tmp_path: Path) -> FakeRepository:
    """One mailbox of ten segments of some 40 KB, one small one that holds the newest message."""
    world = World(tmp_path / "staging")
    body = "".join(f"line {number} of a message that takes some room\n" for number in range(100))
    kept = []
    for number in range(10):
        kept += [mail(number * 10 + place, body=body, uid=number * 10 + place + 1) for place in range(10)]
        generation = world.commit(moment(8, number), {"huge@example.org": {"INBOX": kept}})
    newest = mail(500, uid=1)
    both = {"huge@example.org": {"INBOX": kept}, "small@example.org": {"INBOX": [newest], "Sent": [mail(501)]}}
    generation = world.commit(moment(9), both)
    return snapshot(world.staging, generation)


def test_an_awkward_world_comes_back_in_both_layouts(tmp_path: Path) -> None:
    with Staging.open(tmp_path / "staging", "vps") as staging:
        repository = snapshot(staging, store(staging, WORLD))

    drill = drill_server(job(repository, tmp_path))

    assert told(drill) == []
    assert {(each.mailbox, each.part) for each in drill.mailboxes} == {
        ("anna@example.org", "whole"),
        ("bert@example.org", "whole"),
    }
    assert sum(each.messages for each in drill.mailboxes) == sum(len(f.mails) for _, folders in WORLD.values() for f in folders)
    assert drill.opened_with == "Python's mailbox"
    assert drill.timing.restic > 0 < drill.timing.rebuild


def test_of_a_mailbox_beyond_the_bounds_a_sample_comes_back_and_the_canary_with_it(large: FakeRepository, tmp_path: Path) -> None:
    drill = drill_server(job(large, tmp_path, bounds=Bounds(200_000, mailboxes=1)))

    assert told(drill) == []
    parts = {each.mailbox: each for each in drill.mailboxes}
    assert parts["huge@example.org"].part == "sample"
    assert 0 < parts["huge@example.org"].messages < 100
    assert parts["small@example.org"].part == "canary"
    assert parts["small@example.org"].messages == 1
    assert drill.canary is not None
    assert drill.canary.mailbox == "small@example.org"


def test_only_what_the_drill_needs_is_fetched(large: FakeRepository, tmp_path: Path) -> None:
    drill_server(job(large, tmp_path, bounds=Bounds(200_000), drilled={"huge@example.org": moment(7)}))

    segments = list((tmp_path / "workroom" / "archive" / "segments").rglob("*.tar"))
    assert 1 <= len(segments) <= 2, "its own, and perhaps one of the sample"


def test_a_disk_without_room_is_trouble_and_no_word_on_the_mail(large: FakeRepository, tmp_path: Path) -> None:
    drill = drill_server(job(large, tmp_path, free=lambda: 1 << 20))

    assert drill.trouble is not None
    assert "1 MiB are free" in drill.trouble.text
    assert drill.fault_count == 0


def test_a_segment_that_is_lost_costs_its_messages_and_no_others(large: FakeRepository, tmp_path: Path) -> None:
    (info,) = large.snapshots()
    files = large._files(info.id)
    lost = next(path for path in sorted(files) if path.endswith(".tar") and len(files[path]) > 20_000)
    del files[lost]

    drill = drill_server(job(large, tmp_path))

    missing = [fault for fault in drill.faults if fault.text == "did not come back"]
    assert len(missing) == 10
    assert {fault.mailbox for fault in missing} == {"huge@example.org"}
    assert any(lost in fault.text for fault in drill.faults)
    assert [each.ok for each in drill.mailboxes if each.mailbox == "small@example.org"] == [True]


def test_a_damaged_shard_and_a_damaged_manifest_are_faults_with_their_mailbox(large: FakeRepository, tmp_path: Path) -> None:
    (info,) = large.snapshots()
    files = large._files(info.id)
    for kind in ("shards/", "mailboxes/"):
        path = next(path for path in sorted(files) if path.startswith(kind))
        files[path] = files[path].replace(b"e", b"f", 1)

    drill = drill_server(job(large, tmp_path))

    assert drill.trouble is None
    assert {fault.mailbox for fault in drill.faults if fault.mailbox} & {"huge@example.org", "small@example.org"}
    assert any("does not match its digest" in fault.text for fault in drill.faults)


def test_two_generations_in_one_snapshot_are_a_fault(tmp_path: Path) -> None:
    world = World(tmp_path / "staging")
    for minute in range(2):
        generation = world.commit(moment(8, minute), {"a@example.org": {"INBOX": [mail(minute, uid=1)]}})
    repository = FakeRepository("nas")
    repository.ensure()
    tags = tags_of(generation, state_of(world.staging, generation.number))
    repository.backup(SnapshotRequest(world.staging.folder, "failsafe-vps", tags, (".failsafe-*",)), Heard())

    drill = drill_server(job(repository, tmp_path))

    assert "instead of generation 2 alone" in told(drill)[0]


def test_the_newest_complete_snapshot_is_the_one(tmp_path: Path) -> None:
    world = World(tmp_path / "staging")
    first = world.commit(moment(8), {"a@example.org": {"INBOX": [mail(1, uid=1)]}})
    repository = snapshot(world.staging, first)
    second = world.commit(moment(9), {"a@example.org": {"INBOX": [mail(1, uid=1), mail(2, uid=2)]}})
    add(repository, world.staging, second, result="incomplete")

    drill = drill_server(job(repository, tmp_path))

    assert told(drill) == []
    assert (drill.generation, drill.mailboxes[0].messages) == (1, 1)


@pytest.mark.parametrize("is_new", [True, False])
def test_a_server_without_a_complete_snapshot_is_a_fault_unless_its_first_pull_still_goes_on(
    tmp_path: Path, is_new: bool
) -> None:
    repository = FakeRepository("nas")
    repository.ensure()

    drill = drill_server(job(repository, tmp_path, is_new=is_new))

    assert (drill.fault_count, len(drill.notes)) == ((0, 1) if is_new else (1, 0))


def test_an_unreachable_repository_is_trouble(large: FakeRepository, tmp_path: Path) -> None:
    large.fail_with = ResticError("connection refused", kind="unreachable", mend="look at the line")

    drill = drill_server(job(large, tmp_path))

    assert drill.trouble is not None
    assert (drill.trouble.text, drill.trouble.mend, drill.fault_count) == ("connection refused", "look at the line", 0)


def test_mail_is_found_for_the_canary_although_every_inbox_is_empty(tmp_path: Path) -> None:
    world = World(tmp_path / "staging")
    boxes = {f"empty{number}@example.org": {"INBOX": []} for number in range(12)}
    generation = world.commit(moment(8), {**boxes, "a@example.org": {"INBOX": [], "Archive": [mail(1, uid=1), mail(2, uid=2)]}})
    drilled = {"a@example.org": moment(7)}

    drill = drill_server(job(snapshot(world.staging, generation), tmp_path, drilled=drilled))

    assert told(drill) == []
    assert drill.canary is not None
    assert (drill.canary.mailbox, drill.canary.folder) == ("a@example.org", "Archive")
    assert [(each.mailbox, each.part) for each in drill.mailboxes if each.messages] == [("a@example.org", "canary")]


def test_a_snapshot_of_another_state_than_its_tags_say_is_a_fault(tmp_path: Path) -> None:
    world = World(tmp_path / "staging")
    world.commit(moment(8), {"a@example.org": {"INBOX": [mail(1, uid=1)]}})
    repository = FakeRepository("nas")
    repository.ensure()
    tags = ("generation:1", "state:0123456789abcdef", "result:ok", "messages:1")
    repository.backup(SnapshotRequest(world.staging.folder, "failsafe-vps", tags, (".failsafe-*",)), Heard())

    drill = drill_server(job(repository, tmp_path))

    assert [fault.text for fault in drill.faults] == [
        f"snapshot {drill.snapshot_id[:8]} holds another generation 1 than its tags say"
    ]
