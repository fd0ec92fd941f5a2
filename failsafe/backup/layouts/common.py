"""What layouts in containers share: compose files beside a folder, mail queues, words for what was found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from failsafe.backup.layouts.values import Container, Mount, Sight
from failsafe.backup.reach import Tree
from failsafe.mail.manifest import Missing

COMPOSE = ("compose*.y*ml", "docker-compose*.y*ml", "*.env", ".env")
DAILY = 86400
# of a Postfix queue: messages are below incoming, active, deferred, hold, maildrop and corrupt
QUEUE_LEFT_OUT = ("pid", "private", "public", "dev", "etc", "lib*", "usr", "var", "bin", "run", "flush", "saved")
REDIS_LEFT_OUT = ("temp-*", "*.tmp", "*.sock")
RSPAMD_LEFT_OUT = ("*.hs", "*.hsmp", "*.hs.*", "*.unser", "*.map", "*.rrd", "*.sock", "*.shm")  # caches, graphs
CLAMAV_LEFT_OUT = ("*.cvd", "*.cld", "*.cdiff", "*.cud", "freshclam.dat", "mirrors.dat", "tmp.*")  # fetched anew


def compose_patterns(folders: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{folder.rstrip('/')}/{name}" for folder in folders for name in COMPOSE)


def found_files(sight: Sight, folders: Iterable[str]) -> tuple[Tree, ...]:
    """Compose and environment files that were found in these folders."""
    wanted = {folder.rstrip("/") or "/" for folder in folders}
    files = (path for path, is_folder in sight.paths.items() if not is_folder and str(PurePosixPath(path).parent) in wanted)
    return tuple(Tree(path, optional=True) for path in sorted(files))


def compose_files(containers: Iterable[Container]) -> tuple[Tree, ...]:
    """Those that the containers themselves say they were made from."""
    return tuple(Tree(path, optional=True) for path in sorted({path for one in containers for path in one.files}))


def above(path: str, levels: int) -> tuple[str, ...]:
    """The folder and those above it, never the root of the file system."""
    parents = (PurePosixPath(path), *PurePosixPath(path).parents)[: levels + 1]
    return tuple(str(parent) for parent in parents if str(parent) != "/")


def tell(container: Container, mounts: Sequence[Mount]) -> list[str]:
    """One line for each mount that is read."""
    head = f"container {container.name} ({container.status})"
    return [f"{head}: {mount.destination} is {_place(mount)}" for mount in mounts]


def missing(path: str, why: str) -> Missing:
    return Missing("", "", path, why)


def no_container(name: str, sight: Sight) -> tuple[str, str]:
    """(fault, mend) where a container could not be looked at."""
    said = sight.trouble or "there is no such container"
    return f"container {name} cannot be looked at: {said}", mend_of(said)


def mend_of(said: str) -> str:
    low = said.lower()
    if "permission denied" in low:
        return "log in there as root, let the user run docker (which is as good as root), or set path and leave container out"
    if "neither docker nor podman" in low or "daemon" in low:
        return "start the container engine there, or set path to the folder on the server and leave container out"
    return "`docker ps --all` on the server shows the names; correct container in the configuration"


def _place(mount: Mount) -> str:
    return f"volume {mount.volume}: {mount.source}" if mount.kind == "volume" else mount.source


def distinct(trees: Iterable[Tree]) -> tuple[Tree, ...]:
    """Each path once, the first one's way of reading it; what lies below another one's folder is in that already."""
    kept: dict[str, Tree] = {}
    for tree in trees:
        if not any(tree.path == path or (tree.path.startswith(f"{path}/") and not kept[path].leave_out) for path in kept):
            kept[tree.path] = tree
    return tuple(kept.values())
