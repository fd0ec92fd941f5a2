"""Is a listing of a folder complete? Pure rules over what the passes saw.

A single pass over a folder whose files are being renamed misses some (measured: 21 to 230 of 20,000), and two equal passes are no
proof either (2 of 20 at 300 renames a second). So a pass counts as exact only if the folder held still; without one, passes are joined
and compared with the server's own list of names, and what they lack is looked for on the server, name by name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from failsafe.backup.protocol import FolderFacts, FolderPass

QUIET_NS = 2 * 10**9  # a file system may count whole seconds (FAT: two), so a younger mtime can hide a second change
LOOKS = 3  # passes that are joined before the server's list of names is asked
CALM = 3  # passes that add nothing before a list that lacks names is believed to lack no others
PASSES = 20  # of which none shows a name that once was there: it is gone
ROUNDS = 5  # attempts to find a folder holding still before its passes are joined
PATIENT = 3  # the same where the server keeps a list of names: that proves as much


class Step(StrEnum):
    AGAIN = "again"
    COMPARE = "compare"  # read the server's list of names, and look for every one that no pass showed
    PROVED = "proved"
    UNPROVED = "unproved"


@dataclass(frozen=True, slots=True)
class Passes:
    """The story of one restless folder.

    `lag`: files that are there and not in the server's list (a delivery that no mail server looked at yet); None: not compared since
    the last pass. Where it is above zero the list is not the whole truth, and passes have to do.
    """

    count: int = 0
    calm: int = 0
    exact: bool = False
    lag: int | None = None
    listed: bool = True  # False: the server keeps no list of names

    def after(self, added: int, *, exact: bool) -> Passes:
        """One more pass, which showed `added` files that none before had shown and that are older than this pull."""
        return replace(self, count=self.count + 1, calm=0 if added else self.calm + 1, exact=exact, lag=None)

    def compared(self, lag: int | None) -> Passes:
        """Every name of the list was seen or looked for; `lag` None: there is no list."""
        return replace(self, lag=lag, listed=lag is not None)


def is_exact(seen: FolderPass) -> bool:
    """The folder held still from before the pass to after it, and long enough before that for its mtimes to tell."""
    return not seen.error and seen.before == seen.after and seen.now - max(seen.before) >= QUIET_NS


def is_unchanged(facts: FolderFacts, stamps: tuple[int, int] | None) -> bool:
    """`stamps` are those of the last exact listing, None where there was none."""
    return stamps is not None and facts.stamps == stamps


def next_step(passes: Passes) -> Step:
    """What to do with a folder that is not found holding still."""
    if passes.exact or passes.lag == 0:
        return Step.PROVED
    if not passes.listed:
        return Step.UNPROVED
    if passes.lag is None:
        return Step.AGAIN if passes.count < LOOKS else Step.COMPARE
    if passes.calm >= CALM:
        return Step.PROVED
    return Step.AGAIN if passes.count < PASSES else Step.UNPROVED
