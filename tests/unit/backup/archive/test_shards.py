"""How a folder's entries are cut into shards."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from failsafe.backup.archive import shards
from failsafe.mail.manifest import Entry, decode_entry

ENTRY = Entry(1, "a" * 64, "b" * 64, "", (), 1_700_000_000, "name", 10)


def numbered(count: int) -> list[Entry]:
    return [replace(ENTRY, uid=uid, id=f"{uid:064x}", name=f"n{uid}") for uid in range(1, count + 1)]


def unnumbered(count: int) -> list[Entry]:
    return [replace(entry, uid=None) for entry in numbered(count)]


def cut(entries: list[Entry], folder: Path) -> list[bytes]:
    return list(shards.shards_of(map(shards.line_of, entries), folder))


def uids(shard: bytes) -> list[int | None]:
    return [json.loads(line).get("uid") for line in shard.splitlines()]


def test_five_hundred_uids_share_a_shard(tmp_path: Path) -> None:
    made = cut(numbered(1200), tmp_path)

    assert [(uids(shard)[0], uids(shard)[-1]) for shard in made] == [(1, 499), (500, 999), (1000, 1200)]


def test_the_order_of_the_entries_does_not_matter(tmp_path: Path) -> None:
    entries = numbered(3000) + unnumbered(50)
    mixed = random.Random(1).sample(entries, len(entries))

    assert cut(mixed, tmp_path) == cut(entries, tmp_path)


def test_a_changed_flag_changes_one_shard(tmp_path: Path) -> None:
    entries = numbered(5000)
    changed = [replace(entry, flags="S") if entry.uid == 2345 else entry for entry in entries]

    before, after = cut(entries, tmp_path), cut(changed, tmp_path)

    assert [number for number, (old, new) in enumerate(zip(before, after, strict=True)) if old != new] == [4]


def test_messages_without_a_uid_come_last_in_a_shard_of_their_own(tmp_path: Path) -> None:
    made = cut(unnumbered(3) + numbered(2), tmp_path)

    assert [uids(shard) for shard in made] == [[1, 2], [None, None, None]]


@pytest.mark.parametrize("count", [501, 5000])
def test_many_messages_without_a_uid_are_cut_small_too(tmp_path: Path, count: int) -> None:
    made = cut(unnumbered(count), tmp_path)

    assert len(made) == 16
    assert sum(len(uids(shard)) for shard in made) == count


def test_a_new_message_without_a_uid_changes_one_shard(tmp_path: Path) -> None:
    before, after = cut(unnumbered(5000), tmp_path), cut(unnumbered(5001), tmp_path)

    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1


def test_more_entries_than_memory_should_hold_give_the_same_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = random.Random(2).sample(numbered(2500) + unnumbered(700), 3200)
    whole = cut(entries, tmp_path)

    monkeypatch.setattr(shards, "RUN", 100)

    assert cut(entries, tmp_path) == whole
    assert {decode_entry(line) for shard in whole for line in shard.splitlines()} == set(entries)


def test_no_entries_make_no_shards(tmp_path: Path) -> None:
    assert cut([], tmp_path) == []
