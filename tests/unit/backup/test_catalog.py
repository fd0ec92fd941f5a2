"""The catalog over real archives: what is seen, what is gone, what is found."""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from failsafe.backup.archive import Archive
from failsafe.backup.catalog import Catalog, open_current, rebuild_from
from failsafe.backup.catalog_search import Found, Query, search
from tests.unit.backup.mailboxes import Mail, World, mail, moment

ANN = "ann@example.org"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "staging")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "catalog.sqlite") as catalog:
        yield catalog


def seen(catalog: Catalog, world: World, **query: object) -> list[Found]:
    catalog.catch_up(world.staging.archive, "vps")
    return list(search(catalog, Query(**query)))  # type: ignore[arg-type]


def places(rows: list[Found]) -> set[tuple[str, str]]:
    return {(row.folder, row.subject) for row in rows}


def test_a_message_is_found_by_each_of_its_headers_in_any_case(world: World, catalog: Catalog) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [mail(1, subject="Rechnung Übergröße", sender="Jörg <j@shop.example>"), mail(2)]}})
    for query in (
        {"subject": "übergrösse"},
        {"sender": "JÖRG"},
        {"message_id": "<1@test>"},
        {"words": ("shop.EXAMPLE", "rechnung")},
    ):
        assert places(seen(catalog, world, **query)) == {("INBOX", "Rechnung Übergröße")}


def test_words_shorter_than_the_index_are_found_too(world: World, catalog: Catalog) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [mail(1, subject="Nr. 7"), mail(2, subject="other")]}})
    assert places(seen(catalog, world, subject="7")) == {("INBOX", "Nr. 7")}


def test_query_language_in_a_word_is_only_text(world: World, catalog: Catalog) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [mail(1, subject='say "hello" OR 100% NOT*'), mail(2)]}})
    assert places(seen(catalog, world, words=('"hello" OR', "100%", "NOT*"))) == {("INBOX", 'say "hello" OR 100% NOT*')}


def test_folders_are_asked_for_by_name_or_pattern(world: World, catalog: Catalog) -> None:
    world.commit(
        moment(8), {ANN: {"INBOX": [mail(1)], "Archive/2025": [mail(2)], "[Gmail]/Sent": [mail(3)], "Entwürfe": [mail(4)]}}
    )
    assert places(seen(catalog, world, folder="inbox")) == {("INBOX", "message 1")}
    assert places(seen(catalog, world, folder="Archive/*")) == {("Archive/2025", "message 2")}
    assert places(seen(catalog, world, folder="[Gmail]/*")) == {("[Gmail]/Sent", "message 3")}
    assert places(seen(catalog, world, folder="Entwürfe")) == {("Entwürfe", "message 4")}


def test_since_and_until_look_at_the_internal_date(world: World, catalog: Catalog) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [mail(1), mail(2), mail(3)]}})
    from datetime import UTC, datetime

    since, until = (datetime.fromtimestamp(1_700_000_000 + second, UTC) for second in (2, 3))
    assert places(seen(catalog, world, since=since, until=until)) == {("INBOX", "message 2")}


def test_what_vanished_is_gone_since_the_first_generation_without_it(world: World, catalog: Catalog) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [mail(1), mail(2)]}})
    world.commit(moment(9), {ANN: {"INBOX": [mail(1), mail(2), mail(3)]}})
    world.commit(moment(10), {ANN: {"INBOX": [mail(1), mail(3)]}})
    (row,) = seen(catalog, world, gone=True)
    assert (row.subject, row.first_seen_at, row.last_seen_at, row.gone_at) == ("message 2", moment(8), moment(9), moment(10))
    assert row.last_generation == 2
    assert seen(catalog, world, gone_since=moment(10, 1)) == []


def test_a_vanished_folder_and_a_vanished_mailbox_take_their_messages_with_them(world: World, catalog: Catalog) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [mail(1)], "Old": [mail(2)]}, "bob@example.org": {"INBOX": [mail(3)]}})
    world.commit(moment(9), {ANN: {"INBOX": [mail(1)]}})
    assert places(seen(catalog, world, gone=True)) == {("Old", "message 2"), ("INBOX", "message 3")}


def test_a_moved_message_is_not_gone_and_is_shown_where_it_is(world: World, catalog: Catalog) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [mail(1)], "Archive": []}})
    world.commit(moment(9), {ANN: {"INBOX": [], "Archive": [mail(1)]}})
    assert places(seen(catalog, world, gone=True)) == set()
    assert places(seen(catalog, world)) == {("Archive", "message 1")}


def test_a_message_that_left_by_way_of_the_trash_is_still_found_in_its_own_folder(world: World, catalog: Catalog) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [mail(1)], "Trash": []}})
    world.commit(moment(9), {ANN: {"INBOX": [], "Trash": [mail(1)]}})
    world.commit(moment(10), {ANN: {"INBOX": [], "Trash": []}})
    assert places(seen(catalog, world, gone=True)) == {("Trash", "message 1")}
    assert places(seen(catalog, world, gone=True, folder="INBOX")) == {("INBOX", "message 1")}


@pytest.mark.parametrize("seed", range(3))
def test_through_changes_in_many_shards_every_past_state_stays_as_it_was(world: World, catalog: Catalog, seed: int) -> None:
    chance = random.Random(seed)
    uids: dict[int, int | None] = {}
    states: list[set[tuple[str, str]]] = []
    for hour in range(1, 16):
        for number in range(12):
            deed = chance.random()
            if deed < 0.2:
                uids.pop(number, None)
            elif deed < 0.5:  # four shards, and the one for messages without a UID
                uids[number] = chance.choice([None, 1 + number, 501 + number, 1001 + number, 1501 + number])
        held = [mail(number, uid=uid, flags=chance.choice(["", "S"])) for number, uid in uids.items()]
        world.commit(moment(hour), {ANN: {"INBOX": held}})
        catalog.catch_up(world.staging.archive, "vps")
        states.append({("INBOX", f"message {number}") for number in uids})

    for hour, state in enumerate(states, 1):
        assert places(seen(catalog, world, at=moment(hour, 30))) == state
    assert places(seen(catalog, world, gone=True)) == set().union(*states) - states[-1]


def test_an_update_that_is_cut_short_is_gone_on_with(tmp_path: Path, world: World, catalog: Catalog) -> None:
    for hour in range(1, 4):  # a segment each
        world.commit(moment(hour), {ANN: {"INBOX": [mail(number) for number in range(hour)]}})
    archive = world.staging.archive
    asked = itertools.count()

    catalog.catch_up(archive, "vps", lambda: next(asked) > 0)
    learnt = catalog.connection.execute("SELECT COUNT(*) FROM message").fetchone()[0]
    catalog.catch_up(archive, "vps")

    assert learnt == 1
    with open_current(tmp_path / "whole.sqlite", [("vps", archive)]) as whole:
        assert list(search(catalog, Query())) == list(search(whole, Query()))


def test_the_past_is_shown_as_it_was(world: World, catalog: Catalog) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [mail(1)], "Archive": []}})
    world.commit(moment(9), {ANN: {"INBOX": [], "Archive": [mail(1)]}})
    world.commit(moment(10), {ANN: {"INBOX": [mail(1)], "Archive": []}})
    for hour, folder in ((8, "INBOX"), (9, "Archive"), (10, "INBOX")):
        assert places(seen(catalog, world, at=moment(hour, 30))) == {(folder, "message 1")}
    assert seen(catalog, world, at=moment(7)) == []


def test_a_message_that_came_back_is_not_gone_and_was_first_seen_when_it_first_was(world: World, catalog: Catalog) -> None:
    for hour, held in ((8, [mail(1)]), (9, []), (10, [mail(1)])):
        world.commit(moment(hour), {ANN: {"INBOX": held}})
    (row,) = seen(catalog, world)
    assert (row.first_seen_at, row.last_seen_at, row.gone_at) == (moment(8), moment(10), None)


def test_new_flags_are_shown_without_reading_the_message_again(world: World, catalog: Catalog) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [mail(1, uid=1), mail(2, uid=2)]}})
    seen(catalog, world)
    flagged = dataclasses.replace(mail(1, uid=1), flags="FS", keywords=("$Work", "späte"))
    world.commit(moment(9), {ANN: {"INBOX": [flagged, mail(2, uid=2)]}})
    for segment in (world.staging.folder / "segments").rglob("*.tar"):
        segment.unlink()
    rows = {row.subject: row for row in seen(catalog, world)}
    assert (rows["message 1"].flags, rows["message 1"].keywords) == ("FS", ("$Work", "späte"))
    assert (rows["message 2"].gone_at, rows["message 2"].last_seen_at) == (None, moment(9))


def test_what_a_guard_keeps_in_the_manifests_is_gone_and_its_bytes_are_in_the_newest_generation(
    world: World, catalog: Catalog
) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [mail(1)]}})
    guarded = dataclasses.replace(mail(1), gone_at="2026-11-20T09:00:00Z")
    world.commit(moment(9), {ANN: {"INBOX": [guarded]}})
    world.commit(moment(10), {ANN: {"INBOX": [guarded, mail(2)]}})
    (row,) = seen(catalog, world, gone=True)
    assert (row.gone_at, row.last_seen_at, row.last_generation) == (moment(9), moment(8), 3)
    world.commit(moment(11), {ANN: {"INBOX": [mail(2)]}})  # the guard is lifted
    (row,) = seen(catalog, world, gone=True)
    assert (row.gone_at, row.last_seen_at, row.last_generation) == (moment(9), moment(8), 3)


def test_names_that_are_no_text_survive(world: World, catalog: Catalog) -> None:
    odd = dataclasses.replace(mail(1), name="caf\udce9.host", keywords=("\udcff",))
    world.commit(moment(8), {ANN: {"INBOX": [odd], "b\udcfcro": [mail(2)]}})
    rows = seen(catalog, world)
    assert {row.folder for row in rows} == {"INBOX", "b\udcfcro"}
    assert {row.keywords for row in rows} == {("\udcff",), ()}


def test_an_encrypted_message_is_listed_by_place_and_date(world: World, catalog: Catalog) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [Mail(b"CRYPTED\x03\x07 secret", "1.x")]}})
    (row,) = seen(catalog, world, mailbox=ANN, folder="INBOX")
    assert (row.opaque, row.subject, row.internal_date) == (True, "", 1_700_000_000)


def test_two_files_with_equal_bytes_are_two_rows_of_one_message(world: World, catalog: Catalog) -> None:
    twin = dataclasses.replace(mail(1), name="other.host")
    world.commit(moment(8), {ANN: {"INBOX": [mail(1), twin]}})
    assert len({row.id for row in seen(catalog, world)}) == 1
    assert len(seen(catalog, world)) == 2


def test_a_generation_that_was_never_seen_in_between_does_no_harm(world: World, catalog: Catalog) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [mail(1), mail(2)]}})
    seen(catalog, world)
    world.commit(moment(9), {ANN: {"INBOX": [mail(1)]}})
    world.commit(moment(10), {ANN: {"INBOX": [mail(1), mail(3)]}})
    world.staging.collect(keep=())
    assert {(row.subject, row.gone_at) for row in seen(catalog, world)} == {
        ("message 1", None),
        ("message 2", moment(10)),
        ("message 3", None),
    }


def test_a_damaged_file_is_put_aside_and_made_anew(world: World, tmp_path: Path) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [mail(1)]}})
    path = tmp_path / "c.sqlite"
    path.write_bytes(b"this is no database" * 500)
    with open_current(path, [("vps", world.staging.archive)]) as catalog:
        assert places(list(search(catalog, Query()))) == {("INBOX", "message 1")}
    assert (tmp_path / "c.sqlite.damaged").exists()


def test_damage_inside_the_file_is_mended_from_the_archive(world: World, tmp_path: Path) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [mail(number) for number in range(300)]}})
    path = tmp_path / "c.sqlite"
    open_current(path, [("vps", world.staging.archive)]).close()
    data = bytearray(path.read_bytes())
    data[4096 * 3 :] = b"\xff" * (len(data) - 4096 * 3)
    path.write_bytes(data)
    world.commit(moment(9), {ANN: {"INBOX": [mail(number) for number in range(301)]}})
    with open_current(path, [("vps", world.staging.archive)]) as catalog:
        assert len(list(search(catalog, Query()))) == 301


def test_a_rebuilt_catalog_says_the_same(world: World, catalog: Catalog, tmp_path: Path) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [mail(1), mail(2)]}})
    world.commit(moment(9), {ANN: {"INBOX": [mail(2), mail(3)]}})
    before = seen(catalog, world)
    with rebuild_from(tmp_path / "new.sqlite", [("vps", world.staging.archive)]) as anew:
        assert list(search(anew, Query())) == before


def test_the_file_is_for_its_owner_alone(catalog: Catalog) -> None:
    assert catalog.path.stat().st_mode & 0o777 == 0o600


UPDATER = """
import sys
from pathlib import Path
from failsafe.backup.archive import Archive
from failsafe.backup import catalog
catalog.PARSED_AT_ONCE = 20
print("go", flush=True)
catalog.open_current(Path(sys.argv[1]), [("vps", Archive(Path(sys.argv[2])))]).close()
"""


def test_a_kill_at_any_moment_costs_nothing_but_time(world: World, tmp_path: Path) -> None:
    for hour in range(4):
        held = [mail(number) for number in range(hour * 50, hour * 50 + 300)]
        world.commit(moment(hour), {ANN: {"INBOX": held, "Copy": held[:100]}, f"m{hour}@example.org": {"INBOX": held[:50]}})
    with open_current(tmp_path / "whole.sqlite", [("vps", world.staging.archive)]) as whole:
        expected = list(search(whole, Query()))
    path = tmp_path / "killed.sqlite"
    kills = 0
    for round_ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", UPDATER, str(path), str(world.staging.folder)], stdout=subprocess.PIPE, env=dict(os.environ)
        ) as child:
            assert child.stdout is not None
            child.stdout.readline()
            try:
                child.wait(timeout=0.01 + 0.02 * round_)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                kills += 1
    assert kills > 0
    with open_current(path, [("vps", Archive(world.staging.folder))]) as catalog:
        assert {_facts(row) for row in search(catalog, Query())} == {_facts(row) for row in expected}


def _facts(row: Found) -> Found:
    return dataclasses.replace(row, first_generation=0)


def test_an_erased_mailbox_leaves_the_catalog_to_the_last_byte_and_what_others_hold_stays(world: World, tmp_path: Path) -> None:
    from failsafe.backup.catalog_erase import erase_mailboxes, mailboxes_in

    hers, shared = mail(1, subject="only-hers", sender="only-hers@x.example"), mail(2, subject="for both", sender="x@y.example")
    world.commit(moment(8), {ANN: {"INBOX": [hers, shared], "only-hers": [mail(4)]}, "bob@example.org": {"INBOX": [shared]}})
    with Catalog.open(tmp_path / "catalog.sqlite") as catalog:
        catalog.catch_up(world.staging.archive, "vps")
        assert erase_mailboxes(catalog, "vps", lambda mailbox: mailbox == ANN) == 2
        assert mailboxes_in(catalog, "vps") == ("bob@example.org",)
        assert [row.subject for row in search(catalog, Query(words=("both",)))] == ["for both"]
        assert list(search(catalog, Query(words=("only-hers",)))) == []
        assert erase_mailboxes(catalog, "vps", lambda mailbox: mailbox == ANN) == 0

        left = b"".join(path.read_bytes() for path in tmp_path.glob("catalog.sqlite*"))

    assert b"only-hers" not in left
    assert ANN.encode() not in left


def test_a_catalog_made_anew_from_staging_leaves_out_what_was_erased(world: World, tmp_path: Path) -> None:
    world.commit(moment(8), {ANN: {"INBOX": [mail(1)]}, "bob@example.org": {"INBOX": [mail(2)]}})

    with rebuild_from(
        tmp_path / "c.sqlite", [("vps", world.staging.archive)], lambda server, box: (server, box) == ("vps", ANN)
    ) as catalog:
        assert [row.mailbox for row in search(catalog, Query())] == ["bob@example.org"]
