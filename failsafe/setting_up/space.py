"""How much room a backup needs, from how much mail there is. Pure, and on the safe side."""

from __future__ import annotations

from dataclasses import dataclass

from failsafe.setting_up.sight import Disk, Size, shown_size

STAGING = 1.2  # of the mail: staging holds every message once, packed, and its catalog
REPOSITORY = 1.3  # the first snapshot, and what restic keeps beside it
CACHE = 0.05  # restic's own, in the state folder
LEAST = 200 * 10**6


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes, for the first year of a mailbox that hardly grows."""

    state: int
    repository: int


def estimate(size: Size) -> Need:
    return Need(max(LEAST, int(size.bytes * (STAGING + CACHE))), max(LEAST, int(size.bytes * REPOSITORY)))


def tell_need(size: Size | None) -> tuple[str, ...]:
    if size is None:
        return (
            "How much mail there is, is not known: reckon with two and a half times its size, half of it for each of the two folders.",
        )
    need, more = estimate(size), "" if size.whole else " (there is more: counting it would have taken too long)"
    rough = f"about {shown_size(need.state)} for the state folder and {shown_size(need.repository)} for the repository, at first"
    return (f"There are {shown_size(size.bytes)} of mail{more}: {rough}.",)


def tell_disk(disk: Disk, needed: int) -> str:
    """A line for a folder, with the fault where there is not room enough."""
    text = (
        f"{disk.path}: {shown_size(disk.free)} free of {shown_size(disk.total)} on {disk.place} ({disk.kind or 'a file system'})"
    )
    return f"{text}; TOO LITTLE, {shown_size(needed)} are needed" if needed > disk.free else text


def both_needed(state: Disk, repository: Disk, size: Size | None) -> tuple[str, ...]:
    """What the two folders need together, where they share a file system."""
    if size is None:
        return ()
    need = estimate(size)
    if state.place == repository.place:
        lines = [tell_disk(repository, need.state + need.repository)]
        lines.append(
            "State folder and repository share one file system: one disk that dies takes both. A second repository elsewhere mends that."
        )
        return tuple(lines)
    return tell_disk(repository, need.repository), tell_disk(state, need.state)


EXPOSURE = (
    "Who could read your mail here: staging and catalog below the state folder hold messages and their subjects in clear; both belong to the user that",
    "failsafe runs as, with mode 0700, and so are open to that user, to root, and to every administrator of this machine. Repositories are encrypted.",
    "Put the state folder on an encrypted volume where the machine offers one, and keep it out of shared folders and of the machine's own indexing.",
)
