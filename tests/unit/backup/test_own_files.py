"""failsafe's own files of a generation: how they are cut, and when they make one."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.backup.archive import Staging
from failsafe.backup.own_files import (
    STATE,
    TENS,
    Carried,
    OwnFiles,
    carry,
    cut,
    encode_rows,
    is_due,
    read_carried,
    read_knowledge,
    store_own_files,
)
from failsafe.errors import ArchiveError
from failsafe.mail.manifest import GenerationDraft
from failsafe.model import Result

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
ROWS = [{"table": "event", "id": number, "text": f"number {number}"} for number in range(1, 2_345)]
HEAD = {"controller": "nas", "schema": "0001"}


def own(pressing: str = "a", news: str = "a", **files: bytes) -> OwnFiles:
    return OwnFiles(pressing, news, lambda: {"failsafe.toml": b"[controller]\n", **files}, HEAD)


def test_every_row_lies_in_one_place_and_few_are_left_for_the_state() -> None:
    files, rest = cut("events", ROWS, TENS, 2_344)

    found = [json.loads(line)["id"] for content in files.values() for line in content.splitlines()]
    assert sorted([*found, *(row["id"] for row in rest)]) == [row["id"] for row in ROWS]
    assert [row["id"] for row in rest] == [2340, 2341, 2342, 2343, 2344]
    assert len(files) == 2 + 3 + 4


def test_of_what_is_older_only_the_lasting_is_kept() -> None:
    files, rest = cut("events", ROWS, TENS, 2_344, lasting=lambda row: row["id"] % 500 == 0)

    found = sorted(json.loads(line)["id"] for content in files.values() for line in content.splitlines())
    assert found == [500, 1000, 1500, *range(2_000, 2_340)]
    assert len(rest) == 5


def test_a_file_never_changes_and_a_number_is_written_at_most_once_for_each_size() -> None:
    written: dict[str, bytes] = {}
    for last in range(7, 1_250, 7):
        files, rest = cut("events", ROWS[:last], TENS, last)
        assert len(rest) <= 10
        assert all(written.setdefault(path, content) == content for path, content in files.items())
    for number in (5, 777, 1_005):
        holding = [path for path in written if int(path[7:16]) <= number <= int(path[17:26])]
        assert len(holding) <= len(TENS)


@pytest.mark.parametrize(
    ("carried", "expected"),
    [
        (None, True),
        (Carried(NOW, "a", "a"), False),
        (Carried(NOW, "b", "a"), True),
        (Carried(NOW - timedelta(hours=1), "a", "b"), False),
        (Carried(NOW - timedelta(days=1), "a", "b"), True),
        (Carried(NOW - timedelta(days=9), "a", "a"), False),
        (Carried(NOW + timedelta(hours=1), "a", "b"), True),
    ],
)
def test_what_presses_is_carried_at_once_and_other_news_within_a_day(carried: Carried | None, *, expected: bool) -> None:
    assert is_due(carried, own(), NOW) is expected


def test_files_alone_never_make_a_generation() -> None:
    assert not is_due(None, OwnFiles.fixed({"failsafe.toml": b""}), NOW)


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    made = Staging.open(tmp_path / "staging", "vps")
    file = made.store_file("etc/hosts", b"127.0.0.1 localhost\n")
    made.commit(GenerationDraft(NOW, Result.OK, 0, {}, [file], store_own_files(made, own(), NOW), notes={"left_out": ["x"]}))
    return made


def test_a_repetition_is_the_same_mail_with_own_files_of_today(staging: Staging) -> None:
    later = NOW + timedelta(hours=3)

    made = carry(staging, own("b", **{STATE: encode_rows([{"table": "duty", "name": "backup:vps"}])}), later)

    assert made is not None
    before, after = made
    assert (after.number, after.at, after.result) == (before.number + 1, NOW + timedelta(seconds=1), Result.OK)
    assert (after.files, after.mailboxes, after.notes) == (before.files, before.mailboxes, before.notes)
    assert staging.archive.verify(after, read_messages=True) == []
    assert read_carried(staging.archive, after) == Carried(later, "b", "a")
    assert carry(staging, own("b"), later) is None


def test_without_a_generation_there_is_nothing_to_repeat(tmp_path: Path) -> None:
    assert carry(Staging.open(tmp_path / "empty", "vps"), own(), NOW) is None


def test_what_was_written_is_read_back(staging: Staging) -> None:
    newest = staging.newest()
    assert newest is not None

    known = read_knowledge(staging.archive, newest)

    assert known is not None
    assert (known.controller, known.schema, known.at, known.configuration) == ("nas", "0001", NOW, b"[controller]\n")


@pytest.mark.parametrize("content", [b"not JSON\n", b"[1]\n", b'{"table":"controller","format":2}\n', b'{"table":"duty"}\n'])
def test_a_state_that_nobody_can_read_is_said_so_and_written_anew(staging: Staging, content: bytes) -> None:
    files = [staging.store_file(STATE, content)]
    broken = staging.commit(GenerationDraft(NOW, Result.OK, 0, {}, controller=files))

    with pytest.raises(ArchiveError):
        read_knowledge(staging.archive, broken)
    assert read_carried(staging.archive, broken) is None


def test_an_older_archive_has_no_knowledge_and_that_is_no_fault(staging: Staging) -> None:
    older = staging.commit(GenerationDraft(NOW, Result.OK, 0, {}))

    assert read_knowledge(staging.archive, older) is None
