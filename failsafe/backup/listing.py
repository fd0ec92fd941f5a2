"""Is a listing of a folder complete? Pure rules over what the passes saw.

A single pass over a folder whose files are being renamed misses some (measured: 21 to 230 of 20,000), and two equal passes are no
proof either (2 of 20 at 300 renames a second). So a pass counts as exact only if the folder held still; without one, many passes are
joined and compared with the server's own list of names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from failsafe.backup.protocol import FolderFacts, FolderPass

QUIET_NS = 2 * 10**9  # a file system may count whole seconds (FAT: two), so a younger mtime can hide a second change
CALM = 3  # passes that add nothing before the server's list of names is asked
PASSES = 20  # a name that none of so many passes shows is gone
ROUNDS = 5  # attempts to find every folder holding still before its passes are joined


class Step(StrEnum):
    AGAIN = "again"
    COMPARE = "compare"  # read the uidlist and tell how many of its names were never seen
    PROVED = "proved"
    UNPROVED = "unproved"


@dataclass(frozen=True, slots=True)
class Passes:
    """The story of one restless folder. `unseen` is None until its uidlist was compared."""

    count: int = 0
    calm: int = 0
    exact: bool = False
    unseen: int | None = None
    uidlist: bool = True  # False: there is none to compare with

    def after(self, added: int, *, exact: bool, unseen: int | None = None) -> Passes:
        """One more pass, which showed `added` files that none before had shown."""
        return replace(self, count=self.count + 1, calm=0 if added else self.calm + 1, exact=exact, unseen=unseen)

    def compared(self, unseen: int | None) -> Passes:
        """`unseen` names of the uidlist were in no pass; None: there is no uidlist."""
        return replace(self, unseen=unseen, uidlist=unseen is not None)


def is_exact(seen: FolderPass) -> bool:
    """The folder held still from before the pass to after it, and long enough before that for its mtimes to tell."""
    return not seen.error and seen.before == seen.after and seen.now - max(seen.before) >= QUIET_NS


def is_unchanged(facts: FolderFacts, stamps: tuple[int, int] | None) -> bool:
    """`stamps` are those of the last exact listing, None where there was none."""
    return stamps is not None and facts.stamps == stamps


def next_step(passes: Passes) -> Step:
    """What to do with a folder that is never found holding still."""
    if passes.exact or passes.unseen == 0:
        return Step.PROVED
    if (
        passes.count >= PASSES
    ):  # names that the uidlist has and none of these showed are expunged ones, which it keeps for a while
        return Step.PROVED if passes.unseen is not None and passes.calm else Step.UNPROVED
    if passes.calm >= CALM and passes.unseen is None and passes.uidlist:
        return Step.COMPARE
    return Step.AGAIN
