"""What is kept of a backup: up to when each repository is proven to hold a server's mail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.backup.proofs import Proof, Proofs
from failsafe.backup.report import BackupReport, Counts, SnapshotReport, Trouble
from failsafe.backups import _keep
from failsafe.config.load import load_config
from failsafe.model import Result
from failsafe.repositories import proofs_file

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
    proofs = Proofs(proofs_file(made, "vps"))
    for name, generation in (("nas", 7), ("offsite", 5)):
        proofs.put(name, Proof("id", generation, "state", NOW - timedelta(hours=9 - generation), NOW))
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
    _keep(app, report(snapshots=(failed,)), NOW, {})
    assert app.duties.repositories()["nas"].last_result == "failed"
    _keep(app, report(), NOW, {})
    assert app.duties.repositories()["nas"].last_result == "ok"
