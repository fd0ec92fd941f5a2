"""A repository across a network, from the configuration to what a person sees: its own job, its bucket in `verify`, `doctor` and `status`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from failsafe.app import App
from failsafe.backup.report import BackupReport
from failsafe.backups import back_up
from failsafe.checkup.run import run_checkup
from failsafe.config.load import load_config
from failsafe.daemon.jobs import Jobs, verb_of
from failsafe.model import Result
from failsafe.repositories import begin_duty, end_duty, serve_repository
from failsafe.status.as_json import to_json
from failsafe.status.build import build_status, last_runs
from failsafe.status.roster import roster_of
from failsafe.status.values import Status
from failsafe.store.glance import glance_file
from failsafe.verification import check_repository
from tests.contract.configs import MAIL_HERE
from tests.contract.mailstore import Silent, Store
from tests.contract.restics import PASSWORD, programs, put_empty_repository
from tests.contract.s3_servers import S3Server, moto_server

pytestmark = pytest.mark.skipif(not programs(), reason="restic is not installed (Debian: restic)")
CONFIG = (
    MAIL_HERE
    + """[repository.nas]
url = "{folder}/nas"
password_file = "{folder}/password"
[repository.offsite]
url = "{url}"
password_file = "{folder}/password"
environment_file = "{folder}/environment"
"""
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with moto_server(tmp_path_factory.mktemp("moto")) as made:
        yield made


@pytest.fixture
def app(tmp_path: Path, gateway: S3Server) -> Iterator[App]:
    client = gateway.client()
    client.create_bucket(Bucket=tmp_path.name.replace("_", "-").lower())
    bucket = tmp_path.name.replace("_", "-").lower()
    put_empty_repository(tmp_path / "nas", PASSWORD)
    for path in (tmp_path / "nas").rglob("*"):
        if path.is_file():
            client.put_object(Bucket=bucket, Key=path.relative_to(tmp_path / "nas").as_posix(), Body=path.read_bytes())
    for name, text in (
        ("password", PASSWORD),
        ("environment", f"AWS_ACCESS_KEY_ID={gateway.key}\nAWS_SECRET_ACCESS_KEY={gateway.secret}\n"),
    ):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(text)
    (tmp_path / "failsafe.toml").write_text(CONFIG.format(folder=tmp_path, url=gateway.url(bucket)))
    store = Store(tmp_path)
    store.fill("anna@example.org", "", 3)
    store.calm()
    made = App(load_config(tmp_path / "failsafe.toml"), tmp_path / "failsafe.toml")
    yield made
    made.store.close()


def status_of(app: App) -> Status:
    return build_status(roster_of(app.config), glance_file(app.state_dir / "failsafe.sqlite"), app.clock.now())


def catch_up(app: App) -> BackupReport:
    begin_duty(app, "offsite")
    report = serve_repository(app, "offsite", "vps", Silent(), by_hand=False)
    end_duty(app, "offsite", [report])
    return report


def test_a_far_repository_has_a_job_of_its_own_and_its_bucket_is_shown(app: App) -> None:
    pulled = back_up(app, "vps", Silent(), lambda _text: None, by_hand=False)
    assert [one.repository for one in pulled.snapshots] == ["nas"], "the backup waits for nobody across a network"
    assert "snapshot:offsite" in {duty.name for duty in Jobs(app)._possible()}
    assert "snapshot:nas" not in {duty.name for duty in Jobs(app)._possible()}
    assert verb_of("snapshot:offsite") == ["backup", "--repository", "offsite", "--scheduled"]
    assert status_of(app).repositories[1].status == "never"

    first, second = catch_up(app), catch_up(app)

    assert [(one.repository, one.result) for one in first.snapshots] == [("offsite", Result.OK)]
    assert second.unchanged
    runs = last_runs(glance_file(app.state_dir / "failsafe.sqlite"))
    assert all(runs[f"snapshot:{name}"].ok_at is not None for name in ("nas", "offsite"))
    near, far = status_of(app).repositories
    assert (near.status, far.status, far.holds_at) == ("ok", "ok", near.holds_at)

    verdict, archives = check_repository(app, "offsite", Silent())

    assert (verdict.ok, [archive.ok for archive in archives]) == (True, [True])
    shown = to_json(status_of(app))["repositories"][1]["bucket"]
    assert (shown["versioning"], shown["lock"], shown["deleting"]) == ("off", False, "for-good")
    assert (shown["contents"]["snapshots"]["files"], shown["restic_snapshots"]) == (1, 1)
    found = {(each.code, each.severity) for each in run_checkup(app).findings if each.subject == "offsite"}
    assert {("bucket-lock", "warn"), ("bucket-delete", "warn"), ("bucket-contents", "ok")} <= found


def test_what_is_gone_from_the_bucket_is_damage_by_the_buckets_own_word(app: App, gateway: S3Server) -> None:
    back_up(app, "vps", Silent(), lambda _text: None, by_hand=True)
    bucket = app.config.repository["offsite"].url.rpartition("/")[2]
    client = gateway.client()
    for each in client.list_objects_v2(Bucket=bucket, Prefix="index/")["Contents"]:
        client.delete_object(Bucket=bucket, Key=each["Key"])

    verdict, _archives = check_repository(app, "offsite", Silent())

    assert not verdict.ok
    assert any("no data" in line for line in verdict.damaged), "the bucket's own word, beside restic's"
