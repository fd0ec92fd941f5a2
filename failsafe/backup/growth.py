"""What goes on vanishing while a guard stands is told again: whoever accepts a loss must have been told how large it is."""

from __future__ import annotations

import json

from failsafe.backup.guards import KINDS, Standing
from failsafe.backup.inventory import Inventory, mailbox_name, shown, text
from failsafe.backup.losses import FEW

KEY = "gone-since"  # of the inventory's table `meta`: {"CODE PLACE": [raised at, gone when it was raised, more when it was told last]}
SINCE = "; since then "


def has_grown(told: int, more: int) -> bool:
    """Twice as much as was told: a store that is emptied all day is told a dozen times, not with each pull."""
    return more > max(FEW, 2 * told)


def note_growth(inventory: Inventory) -> None:
    """After a pull has marked what vanished: a guard's words say how much more it is than when it was raised, and so are told anew."""
    standing = [one for one in inventory.standing() if one.code in KINDS["loss"]]
    if not standing:
        return
    known, kept = json.loads(inventory.get(KEY) or "{}"), {}
    marked = _marked(inventory)
    for one in standing:
        key, raised_at = f"{one.code} {one.place}", one.raised_at.isoformat()
        at, first, told = known.get(key, ("", 0, 0))
        if at != raised_at:
            first, told = _of(one, marked), 0
        elif has_grown(told, _of(one, marked) - first) and has_grown(told, more := _of(one, _lost(inventory)) - first):
            told = more
            _reword(inventory, one, f"{one.text.partition(SINCE)[0]}{SINCE}{more} more")
        kept[key] = [raised_at, first, told]
    inventory.put(KEY, json.dumps(kept, sort_keys=True))


def _of(one: Standing, counts: dict[str, int]) -> int:
    return counts.get(one.place, 0) if one.place else sum(counts.values())


def _marked(inventory: Inventory) -> dict[str, int]:
    """By mailbox, as `shown`. What only moved within it is marked as well where it left."""
    return _by_name(
        inventory,
        "SELECT m.path, COUNT(*) FROM entry e JOIN folder f ON f.id = e.folder JOIN mailbox m ON m.id = f.mailbox "
        "WHERE e.gone_at IS NOT NULL GROUP BY m.id",
    )


def _lost(inventory: Inventory) -> dict[str, int]:
    """The same without those whose content is still there. One walk over all entries: asked for only where it may be news."""
    db = inventory.db
    db.execute("CREATE TEMP TABLE IF NOT EXISTS lost_content (mailbox INTEGER, content BLOB, PRIMARY KEY (mailbox, content))")
    db.execute("DELETE FROM lost_content")
    db.execute(
        "INSERT OR IGNORE INTO lost_content SELECT f.mailbox, e.content FROM entry e JOIN folder f ON f.id = e.folder "
        "WHERE e.gone_at IS NOT NULL"
    )
    db.execute(
        "DELETE FROM lost_content WHERE (mailbox, content) IN (SELECT f.mailbox, e.content FROM entry e JOIN folder f ON f.id = e.folder "
        "WHERE e.gone_at IS NULL AND e.content IN (SELECT content FROM lost_content))"
    )
    return _by_name(inventory, "SELECT m.path, COUNT(*) FROM lost_content l JOIN mailbox m ON m.id = l.mailbox GROUP BY m.id")


def _by_name(inventory: Inventory, query: str) -> dict[str, int]:
    return {shown(mailbox_name(text(path))): count for path, count in inventory.rows(query)}


def _reword(inventory: Inventory, one: Standing, words: str) -> None:
    inventory.db.execute("UPDATE guard SET text = ? WHERE mailbox = ? AND code = ?", (words, one.place, one.code))
    inventory.has_news = True
