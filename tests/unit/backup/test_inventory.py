"""The inventory's file: what an earlier version made is brought up to date, and questions are answered by an index."""

from __future__ import annotations

from pathlib import Path

import pytest

from failsafe.backup import fetch
from failsafe.backup.inventory import MANY, Inventory
from failsafe.backup.inventory_schema import INDEXES, OUTDATED
from failsafe.backup.shard_book import ShardBook

OF_EARLIER = (
    "DROP INDEX entry_facts",
    "CREATE INDEX entry_base ON entry (base, size, mtime)",
    "CREATE INDEX entry_inode ON entry (inode, size, mtime)",
    "CREATE INDEX imap_entry_uid ON entry (folder, uid)",
)


def test_a_file_of_an_earlier_version_gets_the_indexes_of_this_one(tmp_path: Path) -> None:
    file = tmp_path / "vps.sqlite"
    with Inventory.open(file) as earlier:
        for statement in OF_EARLIER:
            earlier.db.execute(statement)
        earlier.db.commit()
    with Inventory.open(file) as opened:
        there = {name for (name,) in opened.rows("SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'entry'")}

    assert there.issuperset(INDEXES)
    assert not there.intersection(OUTDATED)


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (fetch.NEW, (1, *fetch.BEGINNING, *fetch.EVERYTHING, 1)),
        (fetch.SAME_FILE, (1, 2, 3, 4, b"m")),
        (fetch.VANISHING, (b"", 1, 2, b"m", 3, 4)),
    ],
    ids=["new", "same file", "vanishing"],
)
def test_no_question_about_a_message_walks_over_all_entries(query: str, values: tuple[object, ...], tmp_path: Path) -> None:
    with Inventory.open(tmp_path / "vps.sqlite") as inventory:
        inventory.db.execute("CREATE TEMP TABLE touched (folder INTEGER PRIMARY KEY)")
        plan = [row[3] for row in inventory.rows(f"EXPLAIN QUERY PLAN {query}", *values)]

    assert any("entry_facts" in step for step in plan)
    assert not [step for step in plan if step.startswith("SCAN e")]


def test_contents_are_known_before_and_after_it_is_asked_for_many(tmp_path: Path) -> None:
    first, second, stranger = (f"{number:064x}" for number in (1 << 240, 2 << 240, 3 << 240))
    many = [f"{number:064x}" for number in range(1, MANY + 1)]
    with Inventory.open(tmp_path / "vps.sqlite") as inventory:
        inventory.learn_segment("one", [(first, first)])
        assert inventory.known_contents([first, stranger]) == {first}
        for start in range(0, MANY, 500):
            assert inventory.known_contents(many[start : start + 500]) == set()
        inventory.learn_segment("two", [(second, second)])

        assert inventory.known_contents([first, second, stranger]) == {first, second}


def test_living_entries_are_counted_rightly_whether_their_shards_are_current_or_not(tmp_path: Path) -> None:
    put = "INSERT INTO entry VALUES (?, ?, 1, 1, 0, 0, '', ?, x'00', NULL)"
    with Inventory.open(tmp_path / "vps.sqlite") as inventory:
        mailbox = inventory.mailbox_id("example.org/anna", "maildir++")
        folders = [inventory.folder_id(mailbox, name) for name in ("", ".Sent")]
        inventory.db.executemany(put, [(folder, b"m%d" % number, number) for folder in folders for number in (1, 2, 3)])
        assert inventory.living() == {mailbox: 6}
        for folder in folders:  # as the keeper leaves them when it has written their shards
            list(ShardBook(inventory.db).names(folder))
            inventory.db.execute("UPDATE folder SET messages = 3, dirty = 0 WHERE id = ?", (folder,))
        assert inventory.living() == {mailbox: 6}

        inventory.db.execute(put, (folders[0], b"m4", 4))
        assert inventory.living() == {mailbox: 7}
        inventory.db.execute("DELETE FROM entry WHERE folder = ? AND base IN (x'6d31', x'6d32')", (folders[1],))
        assert inventory.living() == {mailbox: 5}
        inventory.db.execute("UPDATE entry SET gone_at = '2026-01-01' WHERE folder = ?", (folders[1],))
        assert inventory.living() == {mailbox: 4}
