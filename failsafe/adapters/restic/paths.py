"""Paths of an archive in a snapshot, and as files that came out of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath


def arrived(path: Path, size: int) -> bool:
    try:
        return path.is_file() and not path.is_symlink() and path.stat().st_size == size
    except OSError:
        return False


def archive_paths(paths: Sequence[str]) -> dict[str, None]:
    """Each once, in order. Raises ValueError for one that could lead out of the archive."""
    for path in paths:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or str(PurePosixPath(path)) != path:
            raise ValueError(f"not a path of an archive: {path!r}")
    return dict.fromkeys(paths)
