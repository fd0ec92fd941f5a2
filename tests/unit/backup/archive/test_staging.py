"""The staging folder: what a commit promises, what a change costs, what is cleared away."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from failsafe.backup.archive import Archive, Staging
from failsafe.backup.archive.layout import KINDS, index_path, path_of
from failsafe.backup.archive.segment import write_index
from failsafe.errors import ArchiveError
from failsafe.mail.manifest import Entry, FileRef, Generation, GenerationDraft, MailboxManifest, Missing
from failsafe.model import Result
from tests.unit.backup.archive.sample import ANNA, AT, BERT, WORLD, Folder, contents, folder_manifest, mails, store


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[Staging]:
    with Staging.open(tmp_path / "staging", "vps") as opened:
        yield opened


def reflagged(staging: Staging, generation: Generation, mailbox: str, uid: int) -> Generation:
    """The next generation, in which one message of the mailbox's INBOX has other flags."""
    manifest = staging.archive.mailbox(generation, mailbox)
    inbox = manifest.folders[0]
    entries = (replace(e, flags="T") if e.uid == uid else e for e in staging.archive.entries(inbox))
    changed = replace(manifest, folders=(replace(inbox, shards=staging.write_shards(entries)), *manifest.folders[1:]))
    mailboxes = {**generation.mailboxes, mailbox: staging.write_mailbox(changed)}
    files = tuple(staging.archive.files(generation))
    return staging.commit(GenerationDraft(AT, Result.OK, generation.messages, mailboxes, files))


def test_what_was_stored_is_read_back(staging: Staging) -> None:
    generation = store(staging, WORLD)

    archive = Archive(staging.folder)
    for mailbox, (layout, folders) in WORLD.items():
        manifest = archive.mailbox(archive.generation(), mailbox)
        assert manifest.layout == layout
        for folder, kept in zip(folders, manifest.folders, strict=True):
            entries = list(archive.entries(kept))
            places = archive.locate(manifest.segments, [entry.id for entry in entries])
            read = {(e.uid, e.name, e.flags, e.keywords, e.internal_date, archive.read_message(places[e.id])) for e in entries}
            assert read == {(m.uid, m.name, m.flags, m.keywords, m.internal_date, m.data) for m in folder.mails}
    assert [file.path for file in archive.files(generation)] == ["etc/postfix/main.cf"]
    assert archive.read_file(next(archive.files(generation))) == b"myhostname = mail.example.org\n"


def test_no_folder_has_more_than_256_entries_up_to_20_000_segments() -> None:
    """restic stores a folder's listing anew whenever anything in it changes."""
    names = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(20_000)]
    paths = [path for name in names for path in (index_path(name), *(path_of(kind, name) for kind in KINDS))]
    folders = Counter(path.rpartition("/")[0] for path in paths)
    assert max(folders.values()) <= 256
    assert max(Counter(folder.rpartition("/")[0] for folder in folders).values()) <= 256


def test_every_file_that_is_named_by_its_digest_lies_below_the_first_two_digits_of_it(staging: Staging) -> None:
    store(staging, WORLD)
    found = {path.relative_to(staging.folder) for kind in KINDS for path in (staging.folder / kind).rglob("*") if path.is_file()}
    assert {path.parts[0] for path in found} == set(KINDS)
    assert [path for path in found if len(path.parts) != 3 or path.parts[1] != path.name[:2]] == []


def test_an_empty_folder_has_no_newest_generation(staging: Staging) -> None:
    assert staging.newest() is None
    assert staging.numbers() == ()


def test_generations_are_numbered_in_order(staging: Staging) -> None:
    first = store(staging, WORLD)
    second = store(staging, WORLD, result=Result.INCOMPLETE, missing=(Missing(ANNA, "INBOX", "1.x", "vanished"),))

    assert (first.number, second.number, staging.numbers()) == (1, 2, (1, 2))
    assert staging.newest() == second
    assert staging.generation(1) == first


def test_everything_is_private(staging: Staging) -> None:
    store(staging, WORLD)

    assert {oct(path.stat().st_mode & 0o077) for path in (staging.folder, *staging.folder.rglob("*"))} == {"0o0"}


def test_a_changed_flag_costs_one_shard_one_manifest_and_one_generation(staging: Staging) -> None:
    world = {ANNA: ("maildir++", (Folder("INBOX", "", mails(5000)),)), BERT: WORLD[BERT]}
    generation = store(staging, world)
    before = contents(staging.folder)

    reflagged(staging, generation, ANNA, 2345)

    after = contents(staging.folder)
    new = {path: data for path, data in after.items() if path not in before}
    assert {path: data for path, data in after.items() if path in before} == before
    assert sorted(path.split("/")[0] for path in new) == ["generations", "mailboxes", "shards"]
    assert sum(map(len, new.values())) < 300_000  # of some 1.4 MB of shards: what 1,000 entries and two small files take


def test_an_equal_state_writes_a_generation_and_nothing_else(staging: Staging) -> None:
    store(staging, WORLD)
    before = set(contents(staging.folder))

    store(staging, WORLD)

    assert set(contents(staging.folder)) - before == {"generations/00000002.json"}


def test_a_message_that_is_in_no_segment_is_not_committed(staging: Staging) -> None:
    generation = store(staging, WORLD)
    manifest = staging.archive.mailbox(generation, BERT)
    lost = Entry(9, "c" * 64, "c" * 64, "", (), 0, "lost", 1)
    inbox = replace(manifest.folders[0], shards=staging.write_shards([lost]), messages=1)
    name = staging.write_mailbox(replace(manifest, folders=(inbox,)))

    with pytest.raises(ArchiveError, match="in no segment, such as c"):
        staging.commit(GenerationDraft(AT, Result.OK, 1, {BERT: name}))

    assert staging.newest() == generation


def test_a_dropped_segment_that_still_holds_a_message_is_noticed(staging: Staging) -> None:
    generation = store(staging, WORLD)
    name = staging.write_mailbox(replace(staging.archive.mailbox(generation, ANNA), segments=()))

    with pytest.raises(ArchiveError, match="in no segment"):
        staging.commit(GenerationDraft(AT, Result.OK, generation.messages, {**generation.mailboxes, ANNA: name}))


@pytest.mark.parametrize(
    ("manifest", "files", "messages", "said"),
    [
        (MailboxManifest(BERT, "fs", segments=("d" * 64,)), (), 0, "not here"),
        (MailboxManifest(BERT, "fs", files=(FileRef("acl", "d" * 64, 1),)), (), 0, "not here"),
        (MailboxManifest(BERT, "fs"), (FileRef("main.cf", "d" * 64, 1),), 0, "not here"),
        (MailboxManifest(BERT, "fs"), (), 7, "hold 0 entries"),
        (MailboxManifest(ANNA, "fs"), (), 0, "its manifest is that of"),
    ],
)
def test_a_generation_that_names_what_is_not_there_is_refused(
    staging: Staging, manifest: MailboxManifest, files: tuple[FileRef, ...], messages: int, said: str
) -> None:
    name = staging.write_mailbox(manifest)

    with pytest.raises(ArchiveError, match=said):
        staging.commit(GenerationDraft(AT, Result.OK, messages, {BERT: name}, files))

    assert staging.newest() is None


def test_leftovers_of_a_killed_run_go_at_the_next_opening(tmp_path: Path) -> None:
    with Staging.open(tmp_path, "vps") as staging:
        generation = store(staging, WORLD)
    (tmp_path / ".failsafe-unfinished/tmpabc").write_bytes(b"half a segment")
    orphan = tmp_path / "segments/ee" / ("ee" + "0" * 62 + ".idx")
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"")

    with Staging.open(tmp_path, "vps") as staging:
        assert not orphan.exists()
        assert list((tmp_path / ".failsafe-unfinished").iterdir()) == []
        assert staging.newest() == generation
        assert staging.archive.verify(generation, read_messages=True) == []


def test_an_opening_beside_a_running_pull_leaves_its_unfinished_files(tmp_path: Path) -> None:
    with Staging.open(tmp_path, "vps") as running:
        writer = running.segment_writer(ANNA)
        stored = writer.add([b"one\n"])
        Staging.open(tmp_path, "vps").close()
        writer.close()

        assert stored.id in running.archive.locate(running.segments(), [stored.id])


def test_a_lost_index_is_made_anew(tmp_path: Path) -> None:
    with Staging.open(tmp_path, "vps") as staging:
        store(staging, WORLD)
    before = contents(tmp_path / "segments")
    for path in tmp_path.rglob("*.idx"):
        path.unlink()

    Staging.open(tmp_path, "vps").close()

    assert contents(tmp_path / "segments") == before


def test_an_index_is_not_made_from_a_damaged_message(staging: Staging) -> None:
    store(staging, WORLD)
    tar = next(staging.folder.rglob("*.tar"))
    raw = bytearray(tar.read_bytes())
    raw[600] ^= 1
    tar.write_bytes(raw)

    with pytest.raises(ArchiveError, match="does not match its digest"):
        write_index(staging.folder, staging.folder / ".failsafe-unfinished", tar.stem)


def test_a_staging_folder_belongs_to_one_server(tmp_path: Path) -> None:
    with Staging.open(tmp_path, "vps") as staging:
        store(staging, WORLD)

    with pytest.raises(ArchiveError, match="of vps, not of other"):
        Staging.open(tmp_path, "other")


def test_a_damaged_newest_generation_is_told_and_not_passed_over(tmp_path: Path) -> None:
    with Staging.open(tmp_path, "vps") as staging:
        store(staging, WORLD)
        store(staging, WORLD)
    path = tmp_path / "generations/00000002.json"
    path.write_bytes(path.read_bytes().replace(b"vps", b"vpt"))

    with pytest.raises(ArchiveError, match=r"00000002\.json"):
        Staging.open(tmp_path, "vps")


def test_collecting_leaves_exactly_what_kept_generations_name(staging: Staging) -> None:
    generation = store(staging, WORLD)
    kept = contents(staging.folder)
    for uid in (3, 4, 5):
        generation = reflagged(staging, generation, ANNA, uid)
    newest = set(staging.archive.files_needed(generation))
    size = sum(map(len, contents(staging.folder).values()))

    freed = staging.collect({1})

    left = contents(staging.folder)
    assert staging.numbers() == (1, 4)
    assert set(left) == set(kept) | newest
    assert freed == size - sum(map(len, left.values()))
    for number in (1, 4):
        assert staging.archive.verify(staging.generation(number), read_messages=True) == []


def test_nothing_is_collected_while_someone_reads(staging: Staging) -> None:
    reflagged(staging, store(staging, WORLD), ANNA, 3)

    with Archive(staging.folder).held():
        assert staging.collect(()) == 0

    assert staging.collect(()) > 0
    assert staging.numbers() == (2,)


def test_whoever_was_refused_to_collect_still_holds_the_folder(staging: Staging) -> None:
    """A lock of another kind that is refused has cost the one that was held: a snapshot that is being made would lose its files."""
    first = store(staging, WORLD)
    reflagged(staging, first, ANNA, 2)
    with Staging.open(staging.folder, "vps") as other:
        assert staging.collect(()) == 0, "the other has it open"
        assert other.collect(()) == 0, "and so has this one, after it was refused"


def test_what_a_killed_pull_had_sealed_is_not_collected(tmp_path: Path) -> None:
    with Staging.open(tmp_path, "vps") as staging:
        generation = store(staging, WORLD)
        with staging.segment_writer(ANNA) as writer:
            writer.add([b"pulled, then killed\n"])
    (sealed,) = writer.sealed

    with Staging.open(tmp_path, "vps") as staging:
        staging.collect(())
        assert sealed.name in staging.segments()
        reflagged(staging, generation, ANNA, 3)
        os.utime(tmp_path / "generations/00000002.json")
        staging.collect(())
        assert sealed.name not in staging.segments()


def test_what_was_written_for_the_next_generation_is_not_collected(staging: Staging) -> None:
    generation = store(staging, WORLD)
    manifest = staging.archive.mailbox(generation, ANNA)
    inbox = replace(manifest.folders[0], uid_next=2000)
    name = staging.write_mailbox(replace(manifest, folders=(inbox, *manifest.folders[1:])))

    staging.collect(())

    files = tuple(staging.archive.files(generation))
    draft = GenerationDraft(AT, Result.OK, generation.messages, {**generation.mailboxes, ANNA: name}, files)
    assert staging.commit(draft).number == 2


def test_merging_moves_wanted_messages_and_leaves_the_erased(staging: Staging) -> None:
    generation = store(staging, WORLD)
    manifest = staging.archive.mailbox(generation, ANNA)
    ids = [line.id for segment in manifest.segments for line in staging.index(segment)]

    (merged,) = staging.rewrite_segments(ANNA, manifest.segments, lambda id_: id_ != ids[0])

    assert [line.id for line in merged.lines] == ids[1:]
    assert set(staging.archive.locate([merged.name], ids)) == set(ids[1:])


def test_the_helper_files_are_renewed_and_whole(tmp_path: Path) -> None:
    Staging.open(tmp_path, "vps").close()
    good = contents(tmp_path)
    (tmp_path / "rebuild.py").write_text("old")
    (tmp_path / "README.txt").unlink()

    Staging.open(tmp_path, "vps").close()

    assert contents(tmp_path) == good
    assert b"restic restore latest --host failsafe-vps" in good["README.txt"]


def test_a_full_disk_is_an_archive_error_and_the_newest_generation_stands(tmp_path: Path, staging: Staging) -> None:
    generation = store(staging, WORLD)
    (staging.folder / ".failsafe-unfinished").rmdir()  # as a disk that refuses every new file

    with pytest.raises(ArchiveError, match="cannot write"):
        store(staging, {ANNA: ("fs", (Folder("INBOX", "", mails(1, 99)),))})

    assert staging.newest() == generation


def test_files_to_fetch_come_in_three_steps_that_each_need_the_one_before(staging: Staging, tmp_path: Path) -> None:
    generation = store(staging, WORLD)
    target = tmp_path / "fetched"
    archive = Archive(target)

    def fetch(paths: tuple[str, ...]) -> None:
        for path in paths:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_bytes((staging.folder / path).read_bytes())

    fetch(("generations/00000001.json", "README.txt", "rebuild.py"))
    fetch(archive.manifest_files(archive.generation()))
    fetch(archive.metadata_files(generation))
    fetch(archive.data_files(generation))

    assert archive.verify(generation, read_messages=True) == []
    assert set(contents(target)) == set(archive.files_needed(generation))


def test_one_mailbox_needs_only_its_own_files(staging: Staging) -> None:
    generation = store(staging, WORLD)

    alone = set(staging.archive.files_needed(generation, [BERT]))

    assert len(alone) < len(staging.archive.files_needed(generation))
    assert not alone & {f"segments/{name[:2]}/{name}.tar" for name in staging.archive.mailbox(generation, ANNA).segments}


def test_a_generation_can_be_read_by_a_person(staging: Staging) -> None:
    store(staging, WORLD)

    told = json.loads((staging.folder / "generations/00000001.json").read_bytes())

    assert told["format"] == 1
    assert told["server"] == "vps"
    assert told["at"] == "2026-11-22T17:00:00Z"
    assert told["messages"] == sum(len(folder.mails) for _, folders in WORLD.values() for folder in folders)


def test_a_folder_manifest_keeps_its_numbers(staging: Staging) -> None:
    folder = Folder("INBOX", "", (), uid_validity=5, uid_next=6, guid="a" * 32, subscribed=True)

    assert folder_manifest(staging, folder, ()).shards == ()
