"""Notes that a duty has begun, written without SQLAlchemy."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.store import beginnings, schema
from failsafe.store.beginnings import note_started
from failsafe.store.duties import DutyRecord, DutyStore
from failsafe.store.engine import Store
from failsafe.store.file_systems import file_system_of

NOW = datetime(2026, 3, 1, 12, 30, 15, 250, tzinfo=UTC)


def test_a_beginning_noted_by_plain_sql_is_what_the_store_would_have_written(tmp_path: Path) -> None:
    noted, written = (_database(tmp_path / name) for name in ("noted.sqlite", "written.sqlite"))
    for at in (NOW, NOW + timedelta(hours=1)):
        connection = note_started(tmp_path / "noted.sqlite", "backup:vps", at)
        assert connection is not None
        connection.close()
        written.started("backup:vps", at)
        assert noted.all() == written.all() == {"backup:vps": DutyRecord("backup:vps", started_at=at)}


def test_a_beginning_leaves_what_is_known_of_earlier_runs(tmp_path: Path) -> None:
    duties = _database(tmp_path / "failsafe.sqlite")
    duties.ended("backup:vps", NOW, ok=True, result="ok", details={"a": 1})
    before = duties.all()["backup:vps"]
    assert note_started(tmp_path / "failsafe.sqlite", "backup:vps", NOW + timedelta(hours=1)) is not None
    after = duties.all()["backup:vps"]
    assert after == DutyRecord("backup:vps", NOW + timedelta(hours=1), before.ended_at, before.ok_at, "ok", {"a": 1})


def test_nothing_is_written_where_there_is_no_database_or_one_of_another_version(tmp_path: Path) -> None:
    assert note_started(tmp_path / "none.sqlite", "backup:vps", NOW) is None
    assert not (tmp_path / "none.sqlite").exists()
    duties = _database(tmp_path / "failsafe.sqlite")
    with sqlite3.connect(tmp_path / "failsafe.sqlite") as other:
        other.execute("update alembic_version set version_num = 'another'")
    other.close()
    assert note_started(tmp_path / "failsafe.sqlite", "backup:vps", NOW) is None
    assert duties.all() == {}
    (tmp_path / "damaged.sqlite").write_bytes(b"no database at all" * 100)
    assert note_started(tmp_path / "damaged.sqlite", "backup:vps", NOW) is None


def test_nothing_is_written_on_a_network_share_which_the_store_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    duties = _database(tmp_path / "failsafe.sqlite")
    monkeypatch.setattr(beginnings, "NETWORK_FILE_SYSTEMS", {file_system_of(tmp_path)})
    assert note_started(tmp_path / "failsafe.sqlite", "backup:vps", NOW) is None
    assert duties.all() == {}


def test_instants_are_written_in_the_format_of_the_schema() -> None:
    assert beginnings.INSTANT_FORMAT == schema.INSTANT_FORMAT


def _database(file: Path) -> DutyStore:
    store = Store.sqlite(file)
    store.upgrade(NOW)
    return DutyStore(store)
