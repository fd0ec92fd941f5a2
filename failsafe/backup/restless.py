"""Folders that do not hold still: their passes are joined until nothing is missing from the server's own list of names, and messages
that left one while it was looked at are followed to where they went.
"""
# ruff: noqa: S608 - the parts put into queries are our own constants

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from failsafe.backup.inventory import text
from failsafe.backup.inventory_schema import index_seen
from failsafe.backup.listing import CALM, PASSES, Passes, Step, next_step

if TYPE_CHECKING:
    from failsafe.backup.gather import Gatherer, Target

ASKED = 2000  # files that a list lacks and that are asked for one by one; with more of them it is no list to go by

LACKS = "NOT EXISTS (SELECT 1 FROM seen s WHERE s.folder = {0}.folder AND s.base = {0}.base)"
NOWHERE = "NOT EXISTS (SELECT 1 FROM seen s JOIN folder g ON g.id = s.folder WHERE s.base = x.base AND g.mailbox = x.mailbox)"
LOST = "CREATE TEMP TABLE lost (mailbox INTEGER, base BLOB, settled INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (mailbox, base)) WITHOUT ROWID"
OF_FOLDER = "SELECT f.mailbox, {0}.base FROM {0} JOIN folder f ON f.id = {0}.folder WHERE {0}.folder = ?"


class Restless:
    """Works for one Gatherer during one pull."""

    def __init__(self, gatherer: Gatherer) -> None:
        self.gatherer, self.inventory, self.db = gatherer, gatherer.inventory, gatherer.inventory.db
        self.db.execute(
            "DROP TABLE IF EXISTS temp.lost"
        )  # names that left the folder where they were: gone, or to be found elsewhere
        self.db.execute(LOST)

    def run(self, waiting: Sequence[Target]) -> None:
        """Judges the folders that are `waiting`, and those that change while it does."""
        whys: dict[int, str] = {}
        for _ in range(PASSES):
            fresh = [target for target in waiting if target.id not in whys]
            if not fresh:
                break
            whys |= self._watch(fresh)
            waiting = self.gatherer.survey()
        if whys:
            whys |= self._follow(whys)
        for number, why in whys.items():
            target = self.gatherer.world.targets.get(number)
            if target is not None and not target.proved:
                target.why = why

    def lose(self, folder: int, bases: Iterable[bytes] | None = None) -> None:
        """These names (None: all that were seen) are no longer in this folder; what is there is about to be listed anew."""
        if bases is None:
            self.db.execute(f"INSERT OR REPLACE INTO lost (mailbox, base) {OF_FOLDER.format('seen')}", (folder,))
            self.db.execute("DELETE FROM seen WHERE folder = ?", (folder,))
            return
        for base in bases:
            self.db.execute(
                "INSERT OR REPLACE INTO lost (mailbox, base) SELECT mailbox, ? FROM folder WHERE id = ?", (base, folder)
            )
            self.db.execute("DELETE FROM seen WHERE folder = ? AND base = ?", (folder, base))

    def leave_folders(self, targets: Mapping[int, Target]) -> None:
        """What was seen in folders that are there no longer: renamed, or deleted."""
        for (folder,) in self.inventory.rows("SELECT id FROM folder WHERE EXISTS (SELECT 1 FROM seen s WHERE s.folder = id)"):
            if folder not in targets:
                self.lose(folder)

    # ------------------------------------------------------------ watching

    def _watch(self, targets: Sequence[Target]) -> dict[int, str]:
        """Why each could not be proved complete; "" where it was. All are listed in turn, as messages move between them."""
        story = {target.id: Passes() for target in targets}
        whys: dict[int, str] = {}
        left = list(targets)
        while left:
            added = self.gatherer.list(left)
            for target in left:
                passes = story[target.id].after(added[target.id], exact=target.proved)
                if next_step(passes) is Step.COMPARE and not target.why:
                    passes = passes.compared(self._lag(target) if self.gatherer.read_uidlist(target) else None)
                story[target.id] = passes
                step = next_step(passes)
                if target.why or step in (Step.PROVED, Step.UNPROVED):
                    whys[target.id] = target.why or ("" if step is Step.PROVED else _why(passes))
            left = [target for target in left if target.id not in whys]
        return whys

    def _lag(self, target: Target) -> int:
        """How many files are there that the list, read just now, lacks. Looks for what no pass showed, by asking for each name."""
        unseen = self._names(target, "uid", "entry")
        self._ask(target, unseen)
        lacking = self._lacking(target)
        if (
            lacking and len(lacking) <= ASKED and self.gatherer.read_uidlist(target)
        ):  # it is written a moment after the file is there
            lacking = self._lacking(target)
        return len(lacking) if len(lacking) > ASKED else self._ask(target, lacking)

    def _names(self, target: Target, *tables: str) -> list[bytes]:
        found: set[bytes] = set()
        for table in tables:
            found.update(
                row[0]
                for row in self.inventory.rows(f"SELECT base FROM {table} WHERE folder = ? AND {LACKS.format(table)}", target.id)
            )
        return sorted(found)

    def _lacking(self, target: Target) -> list[bytes]:
        query = "SELECT DISTINCT base FROM seen WHERE folder = ? AND NOT EXISTS (SELECT 1 FROM uid u WHERE u.folder = seen.folder AND u.base = seen.base)"
        return [row[0] for row in self.inventory.rows(query, target.id)]

    def _ask(self, target: Target, bases: Sequence[bytes]) -> int:
        """The server looks for each name until it is found, or proved not to be there. Gives how many are there."""
        answers = self.gatherer.session.find_messages(target.box.path, target.path, [f"cur/{text(base)}:2," for base in bases])
        gone, found = [], 0
        for base, answer in zip(bases, answers, strict=True):
            if answer.status == "gone":
                gone.append(base)
                continue
            found += 1
            if answer.facts is not None:
                self.gatherer.see(target, answer.name, answer.facts)
        self.lose(target.id, gone)
        return found

    # ------------------------------------------------------------ following

    def _follow(self, watched: Mapping[int, str]) -> dict[int, str]:
        """While a folder was watched, messages may have left it for folders that had been listed before: those are listed again.

        Ends when every name turned up, when nothing has changed any more, or when listings no longer find a missing one: it was deleted.
        """
        whys: dict[int, str] = {}
        index_seen(self.db)
        calm, lost = 0, self._nowhere()
        for _ in range(PASSES):
            changed = self.gatherer.survey() if lost and calm < CALM else []
            if not changed:
                break
            fresh = [target for target in changed if target.id not in watched and target.id not in whys]
            whys |= self._watch(fresh)
            self.gatherer.list([target for target in changed if target not in fresh])
            left = self._nowhere()
            calm, lost = (calm + 1 if left >= lost else 0), left
        self.db.execute(f"UPDATE lost AS x SET settled = 1 WHERE {NOWHERE}")
        self.db.execute("DELETE FROM lost WHERE settled = 0")
        return whys

    def _nowhere(self) -> int:
        """Names that the last pull or an earlier pass of this one had, and that are in no folder of their mailbox now."""
        touched = ",".join(str(int(folder)) for folder in self.gatherer.world.touched) or "-1"
        self.db.execute(
            f"INSERT OR IGNORE INTO lost (mailbox, base) SELECT f.mailbox, e.base FROM entry e JOIN folder f ON f.id = e.folder "
            f"WHERE e.gone_at IS NULL AND e.folder IN ({touched}) AND {LACKS.format('e')}"
        )
        return self.inventory.count(f"lost AS x WHERE settled = 0 AND {NOWHERE}")


def _why(passes: Passes) -> str:
    if not passes.listed:
        return "the folder never held still, and it has no dovecot-uidlist to compare with"
    return "the folder never held still, new messages kept coming, and its dovecot-uidlist lacks some of them"
