"""How much of a folder must be read over IMAP: pure judgements over what is known of it and what the server says now."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from failsafe.ports import FolderState


class Way(StrEnum):
    UNCHANGED = "unchanged"  # nothing is read
    CHANGES = "changes"  # what came, and what changed since the known modseq
    ALL = "all"  # every UID and every flag, compared with what is known
    CHECK = "check"  # that, and whether each UID still stands for the message that it stood for
    ANEW = "anew"  # UIDs mean other messages than before


@dataclass(frozen=True, slots=True)
class Known:
    """A folder as the last pull left it. `state` is None where it was not read to its end; `lacking`: UIDs that could not be had."""

    id: int
    name: str
    uid_validity: int | None = None
    state: FolderState | None = None
    lacking: tuple[int, ...] = ()


def plan_reading(known: Known, now: FolderState, *, full: bool) -> Way:
    """A UIDNEXT that went back is a store rolled back: its UIDs are given out a second time, to other messages."""
    before = known.state
    if known.uid_validity is not None and known.uid_validity != now.uid_validity:
        return Way.ANEW
    if before is not None and before.uid_next is not None and now.uid_next is not None and now.uid_next < before.uid_next:
        return Way.ANEW
    if before is None or full:
        return Way.CHECK
    if before.modseq is None or now.modseq is None or before.uid_next is None or now.uid_next is None:
        return Way.ALL
    if now.modseq < before.modseq:
        return Way.CHECK
    return Way.CHANGES if now != before or known.lacking else Way.UNCHANGED


def may_hold_news(read: FolderState | None, now: FolderState) -> bool:
    """Whether messages may have come into a folder since it was read in this pull; None: it was not."""
    if read is None or read.uid_validity != now.uid_validity:
        return True
    if read.uid_next is None or now.uid_next is None:
        return read != now
    return now.uid_next != read.uid_next
