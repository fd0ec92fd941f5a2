"""Format 1 is a promise: archives written years ago are read, and the same mail makes the same bytes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from failsafe.backup.archive import Archive, Staging, readme
from tests.unit.backup.archive.sample import ANNA, WORLD, contents, store
from tests.unit.backup.archive.test_rebuild import expected, rebuild, written

GOLDEN = Path(__file__).parents[3] / "golden" / "archive-1"
HELPERS = ("README.txt", "rebuild.py")  # these may get better without a new format


def of_the_format(folder: Path) -> dict[str, bytes]:
    return {path: data for path, data in contents(folder).items() if path not in HELPERS and not path.startswith(".failsafe")}


def test_the_same_mail_makes_the_same_bytes(tmp_path: Path) -> None:
    with Staging.open(tmp_path / "staging", "vps") as staging:
        store(staging, WORLD)
    if os.environ.get("FAILSAFE_WRITE_GOLDEN"):  # once for each new format
        shutil.copytree(
            staging.folder, GOLDEN, dirs_exist_ok=True, ignore=lambda *_: [*HELPERS, ".failsafe-lock", ".failsafe-unfinished"]
        )

    assert of_the_format(tmp_path / "staging") == of_the_format(GOLDEN)


def test_an_old_archive_is_whole(tmp_path: Path) -> None:
    archive = Archive(shutil.copytree(GOLDEN, tmp_path / "copy"))
    (archive.folder / "README.txt").write_bytes(readme.readme("vps"))
    (archive.folder / "rebuild.py").write_bytes(readme.rebuild())

    assert archive.verify(archive.generation(), read_messages=True) == []


def test_todays_rebuild_reads_an_old_archive(tmp_path: Path) -> None:
    folder = shutil.copytree(GOLDEN, tmp_path / "copy")
    (folder / "rebuild.py").write_bytes(readme.rebuild())

    outcome = rebuild(folder, tmp_path / "out")

    assert outcome.returncode == 0, outcome.stderr
    assert written(tmp_path / "out/example.org/anna") == expected(WORLD[ANNA][1])
