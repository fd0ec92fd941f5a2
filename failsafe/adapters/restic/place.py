"""The place of a repository, looked at without restic: what must be true before restic may create anything, and what is gone when it cannot open it."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from failsafe.adapters.restic.parse import Failure
from failsafe.errors import ExternalError, ResticError

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


def demand_writable(folder: Path) -> None:
    """restic 0.14 tries a folder that it may not write for 43 s, newer ones one that is mounted read-only for 15 minutes; then they say less."""
    for place in (folder, *(folder / kind for kind in ("locks", "snapshots", "index", "data"))):
        if not place.is_dir() or os.access(place, os.W_OK | os.X_OK):
            continue
        if os.statvfs(place).f_flag & os.ST_RDONLY:
            raise ResticError(
                f"{place} lies on a read-only file system: nothing can be written there",
                mend=f"look for disk errors, then mount {folder} writable again",
            )
        user = _user()
        raise ResticError(
            f"{user} may not write in {place}: permission denied",
            mend=f"give {user} the right to read and write in {folder} and in every folder below it",
            transient=False,
        )


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


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


Counter = Callable[[str], int]  # how many files of a kind of restic's layout (config, keys, snapshots, data) lie there


def counter_of(folder: Path) -> Counter:
    """For a folder of this machine. One file is enough: nobody counts a million packs here."""

    def count(kind: str) -> int:
        try:
            place = folder / kind
            return int(place.is_file() or any(path.is_file() for path in place.rglob("*")))
        except OSError as error:
            raise ResticError(f"cannot look into {folder}: {error.strerror}") from error

    return count


def name_failure(failure: Failure, count: Counter | None, password_file: str) -> Failure:
    """restic says "wrong password" where the keys are gone, and "no repository" where only the config is; the place itself knows better."""
    kit = "bring it back from the recovery kit or from a copy; nothing was created or changed"
    try:
        if failure.kind == "wrong-password":
            if count is not None and count("keys") == 0:
                text = f"its keys are gone: the folder keys/ is empty, and no password opens what is there\n{failure.text}"
                return replace(failure, kind="keys-gone", text=text, mend=kit.replace("it", "keys/", 1))
            mend = f"put the password that the repository was made with into its password_file{f' {password_file}' if password_file else ''}"
            unseen = "" if count is not None else "; or its folder keys/ is gone, which restic does not tell apart"
            return replace(failure, mend=f"{mend} (a new one opens nothing; `restic key passwd` changes it){unseen}")
        if failure.kind == "no-repository" and count is not None and (count("snapshots") or count("data")):
            text = f"its file config is gone, and its data is still there; nothing was created\n{failure.text}"
            return replace(failure, kind="config-gone", text=text, mend=kit.replace("it", "the file `config`", 1))
    except ExternalError:
        return failure  # the place cannot be looked at just now; restic's word stands
    return failure
