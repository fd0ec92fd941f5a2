"""What a pull costs: each message crosses the wire once in its life, is stored once, and a change writes little anew."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from failsafe.mail.manifest import Generation
from tests.contract.mailstore import LONG_AGO, Store

ANNA, BERT = "anna@example.org", "bert@example.org"
SIZE = 40_000  # bytes of a message: far more than a listing takes


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    store.fill(ANNA, "", 5, size=SIZE)
    store.folder(BERT)
    store.pull()
    return store


def test_a_move_to_another_mailbox_crosses_no_byte_of_it(store: Store) -> None:
    source = store.folder(ANNA) / "cur" / "m1.host:2,S"
    source.rename(store.folder(BERT) / "cur" / source.name)

    report = store.pull()

    assert (report.moved, report.new, report.gone) == (1, 0, 0)
    assert report.bytes_pulled < SIZE / 4
    assert store.archived() == store.on_server()


def test_a_copy_in_another_mailbox_under_another_name_is_stored_once(store: Store) -> None:
    content = (store.folder(ANNA) / "cur" / "m1.host:2,S").read_bytes()
    store.put(BERT, "", "other.host:2,", content, date=LONG_AGO + 5)

    first, second = store.pull(), store.pull()

    assert (first.new, second.new) == (1, 0)
    assert SIZE < first.bytes_pulled < 2 * SIZE  # nothing about it is known: it is fetched once
    assert set(store.stored_ids().values()) == {1}
    assert store.archived() == store.on_server()


def test_a_hard_link_in_another_mailbox_under_another_name_crosses_no_byte(store: Store) -> None:
    source = store.folder(ANNA) / "cur" / "m1.host:2,S"
    os.link(source, store.folder(BERT) / "new" / "other.host")

    assert store.pull().bytes_pulled < SIZE / 4
    assert store.archived() == store.on_server()


def test_new_to_cur_with_flags_crosses_no_byte(store: Store) -> None:
    fresh = store.put(ANNA, "", "n1.host", os.urandom(SIZE), sub="new")
    store.pull()
    fresh.rename(fresh.parent.parent / "cur" / "n1.host:2,FS")

    report = store.pull()

    assert (report.reflagged, report.new) == (1, 0)
    assert report.bytes_pulled < SIZE / 4


def uidlist(store: Store, names: list[str], first: int = 1) -> None:
    lines = [f"{first + number * 7} :{name}\n" for number, name in enumerate(names)]
    (store.folder(ANNA) / "dovecot-uidlist").write_text(f"3 V1 N{first + 7 * len(names)} G{'ab' * 16}\n" + "".join(lines))


def shards(store: Store, generation: Generation) -> tuple[str, ...]:
    with store.open_staging() as staging:
        (folder,) = staging.archive.mailbox(generation, ANNA).folders
        return folder.shards


def test_a_change_writes_the_shards_that_hold_it_and_they_are_as_if_all_were_written(tmp_path: Path) -> None:
    store, source = Store(tmp_path), random.Random(4)
    store.fill(ANNA, "", 300, size=40)
    cur, names = store.folder(ANNA) / "cur", [f"m{number}.host" for number in range(300)]
    uidlist(store, names)  # UIDs 1 to 2,094: five shards
    before = store.pull().generation
    assert before is not None
    assert len(shards(store, before)) == 5

    for step in range(6):
        if step in {0, 3}:
            chosen = source.choice(sorted(cur.iterdir()))
            chosen.rename(cur / f"{chosen.name}F" if not chosen.name.endswith("F") else cur / chosen.name[:-1])
        elif step == 1:
            source.choice(sorted(cur.iterdir())).unlink()
        elif step == 2:
            store.fill(ANNA, "", 3, size=40, prefix="unnumbered")
        elif step == 4:
            (store.folder(ANNA) / "dovecot-keywords").write_text("0 work\n")
            chosen = source.choice(sorted(cur.iterdir()))
            chosen.rename(cur / f"{chosen.name}a")
        else:
            uidlist(store, names, first=3_000)
        after = store.pull().generation
        assert after is not None
        with store.open_staging() as staging:
            (folder,) = staging.archive.mailbox(after, ANNA).folders
            assert folder.shards == staging.write_shards(staging.archive.entries(folder))
        if step in {0, 1, 3}:
            assert len(set(shards(store, after)) - set(shards(store, before))) == 1
        before = after
        assert store.archived() == store.on_server()
