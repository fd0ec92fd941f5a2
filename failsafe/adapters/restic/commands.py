"""restic's command lines, as pure functions. No URL, password or credential is ever among them: those go by environment and file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from failsafe.adapters.restic.capabilities import Capabilities

BATCH_BYTES = 96 * 1024  # of `--include` patterns on one command line; Linux allows 128 KiB an argument and about 2 MiB in all
BATCH_PATHS = 1000  # restic compares every file with every pattern
MAXIMUM_PARTS = 256  # restic chooses a part by the first byte of a pack's name
BATCH_SNAPSHOTS = 300  # on one command line: 20 KB
_ID = re.compile(r"[0-9a-f]{64}")
_MAGIC = re.compile(r"([\\*?\[\]])")


def options(*, cache_dir: str, limit_upload: int | None, limit_download: int | None) -> tuple[str, ...]:
    """Global options; limits come in bytes a second, and restic takes whole KiB a second, of which 0 is no limit."""
    limits = (("--limit-upload", limit_upload), ("--limit-download", limit_download))
    return (
        *(f"{name}={max(1, rate // 1024)}" for name, rate in limits if rate is not None),
        f"--cache-dir={cache_dir}",
    )


def locking(capabilities: Capabilities, wait: timedelta) -> tuple[str, ...]:
    """Lets restic wait for a lock itself where it can: it then opens the repository only once."""
    seconds = int(wait.total_seconds())
    return (f"--retry-lock={seconds}s",) if capabilities.has_retry_lock and seconds > 0 else ()


def config() -> tuple[str, ...]:
    """Shows the repository's own id; reads two small files and writes nothing."""
    return ("cat", "config", "--no-lock")


def init() -> tuple[str, ...]:
    return ("init",)


def backup(host: str, tags: Sequence[str], excludes: Sequence[str], at: datetime | None) -> tuple[str, ...]:
    """A snapshot of the current folder: with source "." the paths in the tree are the same wherever staging lies."""
    assert all("," not in tag for tag in tags), "restic splits tags at commas"
    when = () if at is None else ("--time", at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"))  # we run it with TZ=UTC
    return (
        "backup",
        "--json",
        "--verbose=2",  # names every file that it took
        f"--host={host}",
        *(f"--tag={tag}" for tag in tags),
        *(f"--exclude={pattern}" for pattern in excludes),
        *when,
        ".",
    )


def tag(snapshot_id: str, tags: Sequence[str]) -> tuple[str, ...]:
    """These tags instead of those it has; without an id, restic would change every snapshot."""
    assert _ID.fullmatch(snapshot_id), snapshot_id
    assert all("," not in each for each in tags), "restic splits tags at commas"
    return ("tag", f"--set={','.join(tags)}", snapshot_id)


def snapshots(host: str | None = None, snapshot_id: str | None = None) -> tuple[str, ...]:
    return (
        "snapshots",
        "--json",
        "--no-lock",
        *(() if host is None else (f"--host={host}",)),
        *(() if snapshot_id is None else (snapshot_id,)),
    )


def ls(snapshot_id: str, folder: str = "") -> tuple[str, ...]:
    """All files of a snapshot, or those below a folder of it."""
    return ("ls", "--json", "--no-lock", snapshot_id, *(("--recursive", f"/{folder}") if folder else ()))


def restore(snapshot_id: str, target: str, paths: Sequence[str]) -> tuple[str, ...]:
    """Exactly these files; without paths, everything."""
    return ("restore", snapshot_id, "--no-lock", f"--target={target}", *(f"--include={pattern(path)}" for path in paths))


def check(part: int, parts: int) -> tuple[str, ...]:
    """Without a lock: a locking check makes backups fail. Our own forget and prune are kept away by failsafe's job lock."""
    assert 0 <= parts <= MAXIMUM_PARTS, parts
    assert parts == 0 or 1 <= part <= parts, (part, parts)
    return ("check", "--no-lock", *((f"--read-data-subset={part}/{parts}",) if parts else ()))


def forget(snapshot_ids: Sequence[str]) -> tuple[str, ...]:
    """By whole ids alone: which ones is decided by us. Never with `--prune`, whose words restic mixes with those of forget."""
    assert snapshot_ids, "without an id, restic forgets by rules"
    assert all(_ID.fullmatch(each) for each in snapshot_ids), snapshot_ids
    return ("forget", *snapshot_ids)


def prune(*, whole: bool) -> tuple[str, ...]:
    """restic leaves up to 5 % of what nobody needs, where it lies among what is needed; with `whole`, nothing of it."""
    return ("prune", *(("--max-unused=0",) if whole else ()))


def unlock() -> tuple[str, ...]:
    """Stale locks only. Never `--remove-all`: taking a living prune's lock away can cost data."""
    return ("unlock",)


def pattern(path: str) -> str:
    """A restic pattern that matches this path alone: anchored at the snapshot's root, with every wildcard taken literally."""
    return "/" + _MAGIC.sub(r"\\\1", path)


def batches(paths: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """The paths in portions that fit a command line."""
    portion: list[str] = []
    size = 0
    for path in paths:
        length = len(pattern(path).encode("utf-8", "surrogateescape")) + len("--include=") + 1
        if portion and (size + length > BATCH_BYTES or len(portion) >= BATCH_PATHS):
            yield tuple(portion)
            portion, size = [], 0
        portion.append(path)
        size += length
    if portion:
        yield tuple(portion)
