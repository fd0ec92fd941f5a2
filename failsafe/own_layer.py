"""Whether a folder vanishes with the container that failsafe runs in: its own layer, or memory, is no place for mail."""

from __future__ import annotations

import os
import re
from pathlib import Path

MARKS = (
    Path("/.dockerenv"),
    Path("/run/.containerenv"),
)  # of Docker and of Podman; our own image sets FAILSAFE_CONTAINER as well
OWN = "FAILSAFE_CONTAINER"  # "1": our own image; "0": not one whose layer is lost, whatever it looks like
LAYERED = frozenset({"overlay", "aufs", "fuse.fuse-overlayfs", "fuse-overlayfs"})
IN_MEMORY = frozenset({"tmpfs", "ramfs"})
VOLUMES = "/config, /state and /backup are volumes of the image; deploy/container/compose.yaml shows how more are added"


def what_is_lost(path: Path) -> str:
    """Why what is written to `path` is gone with the container, as the end of a sentence; "" where it stays, or there is no container.

    In our own image every root is a layer. Elsewhere only one of a layered kind is: a virtual machine that was made from an image carries such a mark too.
    """
    said = os.environ.get(OWN, "")
    ours = said not in ("", "0")
    if said == "0" or (not ours and not any(mark.exists() for mark in MARKS)):
        return ""
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    if not ours and _mount_of(Path("/"), mounts)[1] not in LAYERED:
        return ""
    return lost_there(path.expanduser().resolve(), mounts)


def lost_there(path: Path, mountinfo: str) -> str:
    """`path` is absolute and without links; `mountinfo` as proc(5) describes it, of a container."""
    place, kind = _mount_of(path, mountinfo)
    if place == "/":
        return "lies in the container's own layer, which is gone with the container"
    if kind in IN_MEMORY:
        return "lies in memory, which is gone with the container"
    return ""


def _mount_of(path: Path, mountinfo: str) -> tuple[str, str]:
    """(where it is mounted, the kind of file system). A later line hides an earlier one of the same place."""
    best, kind = "", ""
    for line in mountinfo.splitlines():
        fields, _, more = line.partition(" - ")
        place = _unescaped(fields.split()[4]) if len(fields.split()) > 4 else ""
        if place and more and path.is_relative_to(place) and len(place) >= len(best):
            best, kind = place, more.split()[0]
    return best, kind


def _unescaped(text: str) -> str:
    """proc(5) writes blanks and backslashes as \\040 and so on."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
