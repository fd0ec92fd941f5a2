"""What is kept of a backup: up to when each repository is proven to hold a server's mail."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.backup.proofs import Proof, Proofs
from failsafe.backup.report import BackupReport, Counts, SnapshotReport, Trouble
from failsafe.backups import _keep
from failsafe.config.load import load_config
from failsafe.model import Result
from failsafe.repositories import keep_snapshots
from failsafe.status.build import build_status
from failsafe.status.roster import roster_of
from failsafe.store.duties import DutyRecord
from failsafe.store.glance import glance_file

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
CONFIG = """
[controller]
id = "nas"
state_dir = "{folder}/state"
[mail_server.vps]
layout = "maildir"
path = "{folder}/mail"
[repository.nas]
url = "{folder}/nas"
password_file = "{folder}/password"
[repository.offsite]
url = "{folder}/offsite"
password_file = "{folder}/password"
"""


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "password").write_text("secret")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "failsafe.toml").write_text(CONFIG.format(folder=tmp_path))
    made = App(load_config(tmp_path / "failsafe.toml"), tmp_path / "failsafe.toml")
    proofs = Proofs(made.proofs_file("vps"))
    for name, generation in (("nas", 7), ("offsite", 5)):
        proofs.put(name, Proof("id", generation, "state", NOW - timedelta(hours=9 - generation), NOW, NOW))
    return made


def holds(app: App) -> dict[str, str]:
    return {name: state.details["holds"]["vps"] for name, state in app.duties.repositories().items()}


def report(**changed: object) -> BackupReport:
    values = {"pulled": Result.OK, "messages": Counts(total=3), "unchanged": False, "generation": 7, **changed}
    return BackupReport("vps", **values)  # type: ignore[arg-type]


def test_a_repository_that_holds_the_newest_state_is_up_to_date_and_one_that_waits_is_not(app: App) -> None:
    _keep(app, report(), NOW, {})
    assert holds(app) == {"nas": NOW.isoformat(), "offsite": (NOW - timedelta(hours=4)).isoformat()}


def test_a_pull_that_failed_makes_nothing_fresher(app: App) -> None:
    _keep(app, report(pulled=Result.FAILED, troubles=(Trouble("the server is down"),)), NOW, {})
    assert holds(app)["nas"] == (NOW - timedelta(hours=2)).isoformat()


def test_a_repository_that_was_called_failed_and_holds_everything_is_well_again(app: App) -> None:
    failed = SnapshotReport("nas", Result.FAILED, trouble=Trouble("no answer"))
    _keep(app, report(snapshots=(failed,)), NOW, {"nas": ""})
    assert app.duties.repositories()["nas"].last_result == "failed"
    _keep(app, report(), NOW, {"nas": ""})
    assert app.duties.repositories()["nas"].last_result == "ok"


def test_a_repository_with_a_job_of_its_own_is_not_called_well_by_a_backup_that_did_not_serve_it(app: App) -> None:
    """Another server's mail may be what it fails on."""
    app.duties.change_repository("offsite", last_result="failed", last_error="no answer")
    app.duties.ended("snapshot:offsite", NOW, ok=False, result="failed", details={"failures": 3})

    _keep(app, report(generation=5), NOW, {"nas": ""})

    assert app.duties.repositories()["offsite"].last_result == "failed"
    assert app.duties.all()["snapshot:offsite"].details == {"failures": 3}


def test_a_snapshot_duty_is_done_by_a_snapshot_and_by_one_that_is_there_already_and_by_nothing_else(app: App) -> None:
    def ok() -> bool:
        return app.duties.all().get("snapshot:nas", DutyRecord("")).ok_at is not None

    _keep(app, report(generation=8), NOW, {"nas": ""})
    assert not ok(), "it holds generation 7, and its time has not come"
    _keep(app, report(generation=8, snapshots=(SnapshotReport("nas", Result.FAILED, trouble=Trouble("full")),)), NOW, {"nas": ""})
    assert not ok()
    _keep(app, report(pulled=Result.FAILED, troubles=(Trouble("the server is down"),)), NOW, {"nas": ""})
    assert ok(), "what staging holds is there, whatever the pull"


def test_a_part_of_a_first_pull_is_no_failure_of_the_repository_that_took_it(app: App) -> None:
    part = SnapshotReport("nas", Result.INCOMPLETE, "ab12", 1)
    keep_snapshots(app, (part,), {"nas": "id"})
    glance = glance_file(app.state_dir / "failsafe.sqlite")
    (nas,) = [one for one in build_status(roster_of(app.config), glance, NOW).repositories if one.repository == "nas"]
    assert (nas.status != "failed", nas.error) == (True, "")
    keep_snapshots(app, (replace(part, trouble=Trouble("files are missing", kind="incomplete")),), {"nas": "id"})
    assert app.duties.repositories()["nas"].last_result == "incomplete"
