"""Damage is found, and named: by Archive.verify and by rebuild.py."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from failsafe.backup.archive import Archive, Staging
from failsafe.errors import ArchiveError
from tests.unit.backup.archive.sample import ANNA, BERT, WORLD, contents, store
from tests.unit.backup.archive.test_rebuild import rebuild


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive as a snapshot holds it: one generation, nothing of the controller's own."""
    staging_folder = tmp_path_factory.mktemp("whole") / "staging"
    with Staging.open(staging_folder, "vps") as staging:
        store(staging, WORLD)
    (staging_folder / ".failsafe-lock").unlink()
    (staging_folder / ".failsafe-unfinished").rmdir()
    return staging_folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def problems(folder: Path, *, read_messages: bool = True) -> list[str]:
    archive = Archive(folder)
    try:
        generation = archive.generation()
    except ArchiveError as error:
        return [str(error)]
    return [str(problem) for problem in archive.verify(generation, read_messages=read_messages)]


def flip(path: Path, place: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[place] ^= 0x20
    path.write_bytes(raw)


def test_a_whole_archive_has_no_problems(copy: Path) -> None:
    assert problems(copy) == []


def test_a_changed_byte_in_any_file_is_found_by_both(whole: Path, tmp_path: Path) -> None:
    choose = random.Random(20261122)
    for number, (name, data) in enumerate(contents(whole).items()):
        if not data:
            continue
        copied = tmp_path / f"c{number}"
        shutil.copytree(whole, copied)
        flip(copied / name, choose.randrange(len(data)))
        assert problems(copied), name
        if name != "README.txt":  # rebuild.py does not read it
            assert rebuild(copied, tmp_path / f"out{number}").returncode in (1, 2), name
        shutil.rmtree(copied)


@pytest.mark.parametrize("kind", ["segments", "shards", "mailboxes", "files", "lists", "generations", "README.txt", "rebuild.py"])
def test_a_missing_file_of_any_kind_is_found(copy: Path, kind: str) -> None:
    name = next(name for name in contents(copy) if name.startswith(kind))
    (copy / name).unlink()

    assert problems(copy, read_messages=False) != []


def test_a_damaged_message_is_named_down_to_its_folder(copy: Path) -> None:
    archive = Archive(copy)
    manifest = archive.mailbox(archive.generation(), ANNA)
    drafts = manifest.folders[1]
    (entry,) = archive.entries(drafts)
    place = archive.locate(manifest.segments, [entry.id])[entry.id]
    segment = f"segments/{place.segment[:2]}/{place.segment}.tar"
    flip(copy / segment, place.offset)

    found = archive.verify(archive.generation(), read_messages=True)

    assert [(p.file, p.mailbox, p.folder, p.message) for p in found if p.message] == [(segment, ANNA, "Entwürfe", "1.draft")]
    with pytest.raises(ArchiveError, match=entry.id):
        archive.read_message(place)


def test_damage_in_one_mailbox_does_not_hide_another(copy: Path) -> None:
    archive = Archive(copy)
    name = archive.generation().mailboxes[ANNA]
    (copy / f"mailboxes/{name[:2]}/{name}.json").unlink()
    (segment,) = archive.mailbox(archive.generation(), BERT).segments
    (copy / f"segments/{segment[:2]}/{segment}.tar").unlink()

    found = archive.verify(archive.generation(), read_messages=False)

    assert {p.mailbox for p in found} == {ANNA, BERT}
    assert {p.message for p in found if p.folder == "INBOX"} == {"1.empty", "2.short"}
