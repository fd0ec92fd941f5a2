"""Many files made durable together, on kernels that tell of a failed write and on those that do not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from failsafe.backup.archive import durable

MANY = durable.FEW + 5


@pytest.fixture(params=[True, False], ids=["one call is sure", "one by one"])
def tells(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(durable, "_is_sure", lambda _path: request.param)
    return bool(request.param)


def finished(folder: Path, count: int) -> durable.Together:
    together = durable.Together()
    for number in range(count):
        file = durable.open_temporary(folder)
        file.write(b"%d" % number)
        together.add(file, folder / "sub" / f"{number}.txt")
    return together


@pytest.mark.parametrize("count", [0, 1, MANY])
@pytest.mark.usefixtures("tells")
def test_files_have_their_names_after_they_were_settled_and_not_before(count: int, tmp_path: Path) -> None:
    together = finished(tmp_path, count)
    assert not (tmp_path / "sub").exists()
    together.settle()
    assert [(tmp_path / "sub" / f"{number}.txt").read_bytes() for number in range(count)] == [
        b"%d" % number for number in range(count)
    ]
    assert [path.name for path in tmp_path.iterdir()] == (["sub"] if count else [])


def test_a_disk_that_fails_gives_no_file_its_name(tells: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    together = finished(tmp_path, MANY)
    monkeypatch.setattr(*((durable, "_sync_disk") if tells else (os, "fsync")), fail)
    with pytest.raises(OSError, match="Input/output"):
        together.settle()
    assert not (tmp_path / "sub").exists()


def test_after_a_fault_the_rest_can_still_be_put_in_place(tmp_path: Path) -> None:
    together = finished(tmp_path, 3)
    (tmp_path / "sub" / "1.txt" / "in the way").mkdir(parents=True)
    with pytest.raises(OSError):
        together.settle()
    (tmp_path / "sub" / "1.txt" / "in the way").rmdir()
    (tmp_path / "sub" / "1.txt").rmdir()
    together.settle()
    assert sorted(path.read_bytes() for path in (tmp_path / "sub").iterdir()) == [b"0", b"1", b"2"]


def test_a_file_system_that_is_told_of_fsync_alone_is_not_trusted_with_one_call() -> None:
    device = os.stat("/proc").st_dev  # noqa: PTH116
    assert durable._file_system(os.major(device), os.minor(device)) == "proc"
    assert not durable._is_sure("/proc/self/status")
