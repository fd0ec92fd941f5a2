"""The quick read of the database sees what the store wrote."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from failsafe.errors import SchemaMismatch
from failsafe.events import Event
from failsafe.model import Notice
from failsafe.store.duties import BackupRun, DoctorRun, DutyStore
from failsafe.store.engine import Store
from failsafe.store.events import EventStore
from failsafe.store.glance import Glance, glance_file, glance_store
from failsafe.store.lease import LeaseStore

NOW = datetime(2026, 11, 22, 17, 0, 0, 250000, tzinfo=UTC)


def filled(file: Path) -> Store:
    store = Store.sqlite(file)
    store.upgrade(NOW)
    duties, events = DutyStore(store), EventStore(store)
    for result in ("ok", "incomplete"):
        duties.add_backup_run(BackupRun("vps", NOW, NOW + timedelta(seconds=5), result, {"messages": {"total": 7}}))
    duties.started("backup:vps", NOW)
    duties.ended("backup:vps", NOW, ok=False, result="incomplete", details={"failures": 1})
    duties.change_repository("nas", snapshots=3, last_snapshot_at=NOW, last_result="ok")
    duties.add_doctor_run(DoctorRun(NOW, [{"code": "disk", "severity": "ok"}], {"example.org": True}))
    events.record(Event("backup.failed", "vps", "text", NOW, notice=Notice("s", "", "", "", NOW, "t")))
    LeaseStore(store).acquire("nas", NOW)
    return store


def test_both_ways_of_reading_see_the_same(tmp_path: Path) -> None:
    store = filled(tmp_path / "failsafe.sqlite")
    quick = glance_file(tmp_path / "failsafe.sqlite")
    assert quick.rows == glance_store(store).rows
    assert quick.by("backup_run", "server")["vps"]["result"] == "incomplete"
    assert quick.by("good_run", "server")["vps"]["started_at"] == NOW
    assert quick.by("duty", "name")["backup:vps"]["details"] == {"failures": 1}
    assert quick.by("repository_state", "repository")["nas"]["snapshots"] == 3
    assert quick.one("lease") is not None
    assert quick.one("notice") == {"waiting": 1, "oldest_at": NOW}
    assert [row["text"] for row in quick.all("event")] == ["text"]


def test_it_reads_a_database_that_nobody_has_open(tmp_path: Path) -> None:
    filled(tmp_path / "failsafe.sqlite").close()
    assert len(glance_file(tmp_path / "failsafe.sqlite").all("event")) == 1


def test_no_database_yet_is_empty_not_an_error(tmp_path: Path) -> None:
    assert glance_file(tmp_path / "none.sqlite") == Glance()
    assert not (tmp_path / "none.sqlite").exists()


def test_another_schema_is_said_with_its_mend(tmp_path: Path) -> None:
    store = filled(tmp_path / "failsafe.sqlite")
    with store.begin() as connection:
        connection.execute(text("update alembic_version set version_num = '9999'"))
    with pytest.raises(SchemaMismatch, match="9999"):
        glance_file(tmp_path / "failsafe.sqlite")
