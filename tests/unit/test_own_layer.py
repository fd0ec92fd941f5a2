"""What is gone with a container, read from its list of mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from failsafe.own_layer import lost_there, what_is_lost

MOUNTS = r"""
600 500 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/a:/b,upperdir=/c,workdir=/d
601 600 0:51 / /proc rw - proc proc rw
602 600 0:52 / /tmp rw - tmpfs tmpfs rw
603 600 8:1 /volume1/state /state rw - ext4 /dev/sda1 rw
604 600 8:1 /volume1/my\040mail /my\040mail rw shared:1 - btrfs /dev/sda1 rw
605 603 0:53 / /state/fast rw - tmpfs tmpfs rw
606 600 0:54 / /kept rw - tmpfs tmpfs rw
607 606 8:1 /kept /kept rw - ext4 /dev/sda1 rw
broken line
"""


@pytest.mark.parametrize(
    ("path", "lies"),
    [
        ("/state/failsafe.sqlite", ""),
        ("/state", ""),
        ("/my mail/restored", ""),
        ("/kept/x", ""),
        ("/statement/x", "own layer"),
        ("/root/mail", "own layer"),
        ("/", "own layer"),
        ("/tmp/mail", "memory"),
        ("/state/fast/x", "memory"),
    ],
)
def test_what_lies_in_no_volume_is_gone_with_the_container(path: str, lies: str) -> None:
    lost = lost_there(Path(path), MOUNTS)

    assert lies in lost
    assert bool(lost) == bool(lies)


def test_where_there_is_no_container_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAILSAFE_CONTAINER", raising=False)
    monkeypatch.setattr("failsafe.own_layer.MARKS", ())

    assert what_is_lost(Path("/")) == ""


def test_who_knows_that_its_layer_stays_may_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("failsafe.own_layer.MARKS", (tmp_path,))
    monkeypatch.setattr("failsafe.own_layer._mount_of", lambda _path, _mounts: ("/", "overlay"))
    monkeypatch.delenv("FAILSAFE_CONTAINER", raising=False)
    assert "own layer" in what_is_lost(Path("/mail"))

    monkeypatch.setenv("FAILSAFE_CONTAINER", "0")

    assert what_is_lost(Path("/mail")) == ""


def test_a_mark_alone_makes_no_container_of_a_machine_whose_root_is_a_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FAILSAFE_CONTAINER", raising=False)
    monkeypatch.setattr("failsafe.own_layer.MARKS", (tmp_path,))
    monkeypatch.setattr("failsafe.own_layer.LAYERED", frozenset({"a kind that no machine has"}))

    assert what_is_lost(Path("/")) == ""
