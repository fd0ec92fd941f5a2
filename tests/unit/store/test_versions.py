"""From schema to schema, up and down, with rows in every table; and what an older version says of a newer database."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, inspect, select

from failsafe.errors import SchemaMismatch, UsageError
from failsafe.store.copies import put_back
from failsafe.store.engine import COPIES_KEPT, HEAD, Store, migrations_folder
from failsafe.store.schema import evidence, metadata
from failsafe.store.versions import known_revisions

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
KNOWN = known_revisions(migrations_folder())
VALUES: dict[str, Any] = {"TEXT": "x", "INTEGER": 1, "BIGINTEGER": 1, "FLOAT": 0.5, "BOOLEAN": True}


def fill(store: Store) -> dict[str, list[Any]]:
    """A row in every table; gives what the database says they are, without the columns that a step takes away."""
    with store.begin() as connection:
        for table in metadata.sorted_tables:
            row = {column.name: _value(column) for column in table.columns}
            connection.execute(insert(table).values(**row))
    return rows(store)


def _value(column: Any) -> Any:
    kind = type(column.type).__name__
    return {"Instant": NOW, "Json": {"a": [1, "ż"]}}.get(kind) or VALUES[kind.upper()]


def rows(store: Store) -> dict[str, list[Any]]:
    with store.read() as connection:
        here = set(inspect(connection).get_table_names())
        return {
            table.name: list(connection.execute(select(table)).all()) for table in metadata.sorted_tables if table.name in here
        }


def test_every_schema_is_reached_from_every_other_with_its_rows_kept(store: Store) -> None:
    before = fill(store)
    for revision in reversed(KNOWN[:-1]):
        store.downgrade(revision, NOW)
        assert store.revision() == revision
    with store.read() as connection:
        oldest = set(inspect(connection).get_table_names()) - {"alembic_version"}

    for revision in KNOWN[1:]:
        store.downgrade(revision, NOW)  # the same way up
        assert store.revision() == revision

    after = rows(store)
    assert len(oldest) >= 11
    for name in sorted(oldest - {evidence.name}):
        assert after[name] == before[name]
    assert [row.text for row in after["evidence"]] == ["x"]
    assert [name for name in after if name not in oldest and after[name]] == []  # they were dropped on the way down


def test_what_an_older_schema_has_no_place_for_is_known_before_anything_is_changed(store: Store) -> None:
    before = fill(store)

    lost = store.lost_by(KNOWN[0])

    assert lost == {"drill_run": 1, "vital": 1, "homecoming": 1}
    assert (rows(store), store.revision()) == (before, HEAD)


KILLED_BEFORE_THE_COMMIT = """
import os, sys
from datetime import datetime, UTC
from pathlib import Path
from failsafe.store import engine

real = engine.migrate_to

def dies(*given):
    real(*given)
    os._exit(9)

engine.migrate_to = dies
engine.Store.sqlite(Path(sys.argv[1])).upgrade(datetime(2026, 11, 22, tzinfo=UTC))
"""


def test_an_upgrade_that_is_killed_leaves_the_schema_before(store: Store, tmp_path: Path) -> None:
    store.downgrade(KNOWN[0], NOW)

    killed = subprocess.run(
        [sys.executable, "-c", KILLED_BEFORE_THE_COMMIT, str(tmp_path / "failsafe.sqlite")], timeout=60, check=False
    )

    assert killed.returncode == 9
    assert store.revision() == KNOWN[0]
    assert store.upgrade(NOW) is True


def test_a_newer_database_is_left_alone_and_the_way_out_names_the_copy_of_this_version(store: Store, tmp_path: Path) -> None:
    future(store)
    copies = [tmp_path / f"failsafe.sqlite.before-9999-from-{HEAD}-20261122T1{hour}0000Z" for hour in (1, 3, 2)]
    for copy in copies:
        copy.write_bytes(b"")

    with pytest.raises(SchemaMismatch, match="9999") as caught:
        store.upgrade(NOW)

    assert f"failsafe db downgrade --to {HEAD}" in caught.value.mend
    assert f"failsafe db put-back {copies[1]}" in caught.value.mend
    assert sorted(tmp_path.glob("failsafe.sqlite.before-*")) == sorted(copies), (
        "each start would push out the copy that is needed"
    )


def test_without_a_copy_the_way_out_is_the_newer_version(store: Store) -> None:
    future(store)

    with pytest.raises(SchemaMismatch) as caught:
        store.require_current()

    assert "newer version of failsafe" in caught.value.mend
    assert "put-back" not in caught.value.mend


def test_the_newest_copies_are_kept_whatever_schemas_they_are_from(store: Store, tmp_path: Path) -> None:
    for hour in range(COPIES_KEPT + 2):
        store.downgrade(KNOWN[-1 - hour % 2], NOW + timedelta(hours=hour))

    kept = [copy.name[-16:] for copy in tmp_path.glob("failsafe.sqlite.before-*")]
    assert sorted(kept) == [f"20261122T1{hour + 2}0000Z" for hour in range(2, COPIES_KEPT + 2)]


def test_a_copy_that_is_put_back_is_the_database_and_the_one_in_use_stays_aside(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "failsafe.sqlite"
    before = fill(store)
    store.downgrade(KNOWN[0], NOW)
    (copy,) = tmp_path.glob("failsafe.sqlite.before-*")
    store.close()

    aside = put_back(file, copy, NOW)

    with_copy, with_aside = Store.sqlite(file), Store.sqlite(aside)
    assert rows(with_copy) == before
    assert with_aside.revision() == KNOWN[0]
    assert [each.stat().st_mode & 0o777 for each in (file, aside, copy)] == [0o600] * 3
    with_copy.close()
    with_aside.close()


@pytest.mark.parametrize("content", [None, b"", b"SQLite format 3\0 and no more"])
def test_what_is_no_copy_is_not_put_back(store: Store, tmp_path: Path, content: bytes | None) -> None:
    copy = tmp_path / "copy"
    if content is not None:
        copy.write_bytes(content)

    with pytest.raises(UsageError):
        put_back(tmp_path / "failsafe.sqlite", copy, NOW)

    assert store.revision() == HEAD


def future(store: Store) -> None:
    with store.begin() as connection:
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")


@pytest.fixture
def failsafe(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    config = tmp_path / "failsafe.toml"
    config.write_text(f'[controller]\nid = "nas"\nstate_dir = "{tmp_path}"\n')
    program = [sys.executable, "-m", "failsafe", "--config", str(config), "db"]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*program, *words], capture_output=True, text=True, timeout=60, check=False)

    return run


def test_the_verbs_lead_down_and_up_again(
    store: Store, tmp_path: Path, failsafe: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    fill(store)
    asked = failsafe("downgrade", "--to", KNOWN[0])
    assert (asked.returncode, store.revision()) == (2, HEAD)
    assert "homecoming (1 rows)" in asked.stderr

    down = failsafe("downgrade", "--to", KNOWN[0], "--yes", "--json")
    assert json.loads(down.stdout)["lost"] == {"drill_run": 1, "vital": 1, "homecoming": 1}
    assert store.revision() == KNOWN[0]

    up = failsafe("upgrade", "--json")
    assert json.loads(up.stdout) == {"changed": True, "schema": HEAD}
    (copy,) = tmp_path.glob(f"failsafe.sqlite.before-{KNOWN[0]}-from-{HEAD}-*")
    assert failsafe("put-back", str(copy), "--yes").returncode == 0
    assert len(rows(Store.sqlite(tmp_path / "failsafe.sqlite"))["homecoming"]) == 1
    assert failsafe("downgrade", "--to", "9999").returncode == 2
