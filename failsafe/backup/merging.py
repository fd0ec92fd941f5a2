"""Merges small segments: with a recovery point of a minute every new message is a segment of its own, and nobody wants tens of thousands.

By size alone: below SMALL a segment is fresh, from SMALL to LARGE it was merged once, from LARGE on it is left for ever. Fresh ones are
merged when together they are no longer small, then those when together they are large. So a byte is written at most three times in its
life (once fresh, twice merged). A mailbox has at most 250 fresh segments (of the smallest messages) and 31 of the middle size waiting.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from failsafe.backup.archive.layout import SEGMENT_LIMIT, path_of
from failsafe.backup.archive.segment import Sealed
from failsafe.backup.archive.staging import Staging
from failsafe.backup.inventory import Inventory, mailbox_name, raw, text
from failsafe.errors import ArchiveError

SMALL = 256_000  # bytes of a tar file
LARGE = SEGMENT_LIMIT // 2 - 100_000  # two that are smaller fit into one segment
AT_ONCE = 256_000_000  # bytes merged in one run: the rest waits for the next


@dataclass(frozen=True, slots=True)
class Small:
    """A segment that may be merged."""

    name: str
    size: int


def plan_merges(segments: Sequence[Small]) -> tuple[tuple[str, ...], ...]:
    """Which segments of one mailbox become one, oldest first. Every group's sum has reached the next size and fits into a segment."""
    groups: list[tuple[str, ...]] = []
    for floor, ceiling in ((0, SMALL), (SMALL, LARGE)):
        group: list[str] = []
        total = 0
        for segment in segments:
            if not floor <= segment.size < ceiling:
                continue
            group.append(segment.name)
            total += segment.size
            if total >= _enough(len(group), ceiling):
                groups.append(tuple(group))
                group, total = [], 0
    return tuple(groups)


def _enough(count: int, ceiling: int) -> int:
    """The merged file lacks the end marks of all but one of its parts, and must reach the next size all the same."""
    return ceiling + 1024 * count


class Merger:
    """Runs in a pull, before manifests are written: they then name the merged segments, and the old ones go when no generation names them."""

    def __init__(self, inventory: Inventory, staging: Staging) -> None:
        self.inventory, self.staging, self._db = inventory, staging, inventory.db
        self.damaged: list[str] = []  # files of staging that no merge could read: they are left out, and wait for their repair

    def run(self) -> str:
        """Merges what is due; says what it cost, "" where nothing was. A kill at any moment costs repeated work: contents are where they were."""
        self.own_strangers()
        merged: set[str] = set()
        sizes = 0
        for mailbox, group in self._due():
            if sizes < AT_ONCE:
                left, made = self._merge_sound(mailbox, group)
                sizes += sum(sealed.size for sealed in made)
                merged.update(left)
        if not merged:
            return ""
        self.rewrite_manifests(merged)
        return f"{len(merged)} small segments were merged: {sizes / 1e6:.1f} MB will be stored anew"

    def _merge_sound(self, mailbox: str, group: Sequence[str]) -> tuple[Sequence[str], tuple[Sealed, ...]]:
        """Without those that are damaged: no pull fails for them. Gives which were merged, and into what."""
        left = list(group)
        while len(left) > 1:
            try:
                return left, self._merge(mailbox, left)
            except ArchiveError as error:
                segment = PurePosixPath(error.damaged).stem
                if segment not in left:
                    raise
                self.damaged.append(error.damaged)
                left.remove(segment)
        return (), ()

    def _merge(self, mailbox: str, group: Sequence[str]) -> tuple[Sealed, ...]:
        made = self.staging.rewrite_segments(mailbox, group, lambda _: True)
        self.note(group, made, mailbox)
        return made

    def note(self, old: Sequence[str], made: Sequence[Sealed], mailbox: str) -> None:
        """What lay in `old` lies in `made` now. It is as old as it was: a loss within a day is counted of what came before that day."""
        window = json.loads(self.inventory.get("window") or "{}")
        if window:
            merged = set(window.get("merged", ()))
            numbers = (self._db.execute("SELECT id FROM segment WHERE name = ?", (name,)).fetchone() for name in old)
            if not merged.isdisjoint(old) or any(row is not None and row[0] <= window["segment"] for row in numbers):
                window["merged"] = sorted(merged | {sealed.name for sealed in made})
                self.inventory.put("window", json.dumps(window))
        for sealed in made:
            self.inventory.sealed(sealed, mailbox)

    def _due(self) -> list[tuple[str, tuple[str, ...]]]:
        """(mailbox, group) of every group that is due: segments that were merged or let go before are not looked at again."""
        owned: dict[str, list[tuple[int, Small]]] = {}
        for number, name, mailbox in self._db.execute(
            "SELECT s.id, s.name, o.mailbox FROM segment s JOIN owned o ON o.segment = s.id ORDER BY s.id"
        ):
            if 0 < (size := self._size(name)) < LARGE:
                owned.setdefault(text(mailbox), []).append((number, Small(name, size)))
        if not any(plan_merges([small for _, small in segments]) for segments in owned.values()):
            return []
        living = {row[0] for row in self._db.execute("SELECT DISTINCT segment FROM content")}
        return [
            (mailbox, group)
            for mailbox, segments in owned.items()
            for group in plan_merges([small for number, small in segments if number in living])
        ]

    def _size(self, name: str) -> int:
        try:
            return (self.staging.folder / path_of("segments", name)).stat().st_size
        except FileNotFoundError:
            return 0

    def own_strangers(self) -> None:
        """Segments of a killed run, or of an inventory made anew: they belong to the first mailbox that names them."""
        strangers = dict(self._db.execute("SELECT name, id FROM segment WHERE id NOT IN (SELECT segment FROM owned)"))
        if not strangers:
            return
        for mailbox, segments in self._manifests():
            rows = [(strangers.pop(name), raw(mailbox)) for name in segments if name in strangers]
            self._db.executemany("INSERT OR IGNORE INTO owned VALUES (?, ?)", rows)

    def _manifests(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        newest = self.staging.newest()
        for mailbox, name in newest.mailboxes.items() if newest else ():
            yield mailbox, self.staging.archive.manifest(name).segments

    def rewrite_manifests(self, merged: set[str]) -> None:
        """Of every mailbox that names one of them: identical content is stored once, whoever holds it."""
        hit = {mailbox for mailbox, segments in self._manifests() if not merged.isdisjoint(segments)}
        for number, path in self.inventory.rows("SELECT id, path FROM mailbox"):
            if mailbox_name(text(path)) in hit:
                self._db.execute("UPDATE mailbox SET dirty = 1 WHERE id = ?", (number,))
