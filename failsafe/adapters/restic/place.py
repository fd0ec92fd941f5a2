"""Where a repository is a folder of this machine: what must be true of that folder before restic may create anything in it."""

from __future__ import annotations

import re
from pathlib import Path

from failsafe.errors import ResticError

_SCHEME = re.compile(r"^[a-z0-9]+:", re.IGNORECASE)
_FOLDERS = frozenset(("data", "index", "keys", "locks", "snapshots", "tmp"))  # of restic's repository layout
_LEFTOVERS_LIMIT = 8  # files that an interrupted `restic init` can leave: one key, one unfinished config, never more


def local_folder(url: str) -> Path | None:
    """The folder of a local repository; None for sftp:, s3:, rest: and the like."""
    if url.startswith("local:"):
        return Path(url.removeprefix("local:"))
    return None if _SCHEME.match(url) else Path(url)


def demand_place(folder: Path) -> None:
    """The parent folder must be there: where it is not, a disk is probably not mounted, and a new repository would go astray.

    Raises ResticError(kind="no-repository").
    """
    if not folder.parent.is_dir():
        raise ResticError(
            f"there is no repository at {folder}, and {folder.parent} does not exist either: is its disk mounted?",
            kind="no-repository",
            mend=f"mount the disk; if this is a new place: mkdir -p {folder.parent}",
        )
    if folder.exists() and not folder.is_dir():
        raise ResticError(f"{folder} is not a folder", mend="give the repository a folder of its own", transient=False)


def clear_unfinished_init(folder: Path) -> None:
    """Makes way for `restic init`: removes what an interrupted one left (a key without a repository), and nothing else ever.

    Raises ResticError where the folder holds anything more: a repository that lost its config file is for a person to look at.
    """
    try:
        files = [path for path in folder.rglob("*") if not path.is_dir() or path.is_symlink()] if folder.is_dir() else []
    except OSError as error:
        raise ResticError(f"cannot look into {folder}: {error.strerror}") from error
    strange = [path for path in files if not _is_leftover(path.relative_to(folder))]
    if strange or len(files) > _LEFTOVERS_LIMIT:
        example = (strange or files)[0]
        raise ResticError(
            f"{folder} is not empty and holds no readable repository ({example} is there); nothing was created",
            mend="give the repository an empty folder; if this was a repository, bring its file `config` back from the recovery kit",
            transient=False,
        )
    for path in files:
        path.unlink(missing_ok=True)


def _is_leftover(path: Path) -> bool:
    top = path.parts[0]
    return (top == "keys" and len(path.parts) == 2) or (len(path.parts) == 1 and top.startswith("config-tmp-"))
